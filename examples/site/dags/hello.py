"""A DAG of a user."""

from __future__ import annotations

import socket

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False)
def hello() -> None:
    """Run one task."""

    @task
    def greet() -> str:
        """Return the name of the machine."""
        return f"Hello from {socket.gethostname()}"

    greet()


hello()
