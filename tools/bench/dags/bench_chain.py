"""One long DAG: each task after the one before."""

from __future__ import annotations

from itertools import pairwise

from airflow.sdk import dag, task

CHAIN = 20


@dag(dag_id="bench_chain", schedule=None, catchup=False, max_active_tasks=1000, tags=["bench"])
def chain() -> None:
    """Tasks that do nothing."""

    @task
    def nothing() -> None:
        """Do nothing."""

    steps = [nothing.override(task_id=f"step_{number:02}")() for number in range(CHAIN)]
    for before, after in pairwise(steps):
        before.set_downstream(after)


chain()
