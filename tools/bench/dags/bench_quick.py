"""One wide DAG. Every task does nothing, so that what is measured is Airflow."""

from __future__ import annotations

from airflow.sdk import Param, dag, get_current_context, task


# The slots are the limit, and neither the default of a DAG nor that of a pool.
@dag(
    dag_id="bench_quick",
    schedule=None,
    catchup=False,
    max_active_tasks=1000,
    tags=["bench"],
    params={"tasks": Param(200, type="integer", minimum=1, maximum=1000)},
)
def quick() -> None:
    """One task, and then as many as the run asks for."""

    @task
    def numbers() -> list[int]:
        """Return one number for each task."""
        return list(range(get_current_context()["params"]["tasks"]))

    @task
    def wide(number: int) -> None:
        """Do nothing."""

    wide.expand(number=numbers())


quick()
