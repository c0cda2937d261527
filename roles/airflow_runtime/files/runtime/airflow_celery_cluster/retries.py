"""A policy for tasks that leave their retries to the cluster: each further retry waits twice as long as the one before.

Airflow has a default for the number of retries and for the first delay, but none for the backoff.
A task that says anything of its own about retries is left as it is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.configuration import conf
from airflow.policies import hookimpl

BACKOFF = 2.0


@hookimpl
def task_policy(task: Any) -> None:
    """Airflow calls this for every task of a DAG file that it has read."""
    if (
        task.retries == conf.getint("core", "default_task_retries")
        and task.retry_delay == timedelta(seconds=conf.getint("core", "default_task_retry_delay"))
        and not task.retry_exponential_backoff
    ):
        task.retry_exponential_backoff = BACKOFF
