"""One of many small DAGs: two tasks between a first and a last one. The benchmark makes a file for each of them."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import dag, task


@dag(dag_id=Path(__file__).stem, schedule=None, catchup=False, max_active_tasks=1000, tags=["bench"])
def small() -> None:
    """Tasks that do nothing."""

    @task
    def nothing() -> None:
        """Do nothing."""

    first, left, right, last = (nothing.override(task_id=name)() for name in ("first", "left", "right", "last"))
    first.set_downstream([left, right])
    last.set_upstream([left, right])


small()
