"""What an Airflow process of the cluster needs beyond Airflow itself.

Part of every runtime release; imported by name from ``airflow.cfg`` and run by
the roles with ``python -m airflow_celery_cluster.<module>``.
"""
