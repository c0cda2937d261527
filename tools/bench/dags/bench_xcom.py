"""Pairs of tasks of which one hands a megabyte to the other."""

from __future__ import annotations

from airflow.sdk import dag, task

PAIRS = 25
MEGABYTE = 1_000_000


@dag(dag_id="bench_xcom", schedule=None, catchup=False, max_active_tasks=1000, tags=["bench"])
def xcom() -> None:
    """Pairs that do not depend on each other."""

    @task
    def produce() -> str:
        """Return a megabyte."""
        return "x" * MEGABYTE

    @task
    def consume(text: str) -> None:
        """Read it."""
        if len(text) != MEGABYTE:
            raise ValueError(f"{len(text)} bytes came of {MEGABYTE}")

    for number in range(PAIRS):
        consume.override(task_id=f"consume_{number:02}")(produce.override(task_id=f"produce_{number:02}")())


xcom()
