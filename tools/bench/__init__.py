"""The benchmark: this cluster against stock Airflow, on machines of its own. ``make bench``, or ``python -m bench``."""
