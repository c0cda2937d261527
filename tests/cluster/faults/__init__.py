"""Fault tests: break a running cluster under load, and prove that no task was lost and that none ran twice at once.

The proof is a ledger outside Airflow, which the tasks keep on their workers' own disks.
"""
