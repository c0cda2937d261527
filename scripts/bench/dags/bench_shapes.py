"""The load shapes of the benchmark. Every task does nothing, so that what is measured is Airflow."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseSensorOperator, Param, dag, get_current_context, task

CHAIN = 20
DAGS = 50
DEFERRED = 100
PAIRS = 25
MEGABYTE = 1_000_000
# The slots are the limit, and neither the default of a DAG nor that of a pool.
SETTINGS: dict[str, Any] = {"schedule": None, "catchup": False, "max_active_tasks": 1000, "tags": ["bench"]}


@task
def nothing() -> None:
    """Do nothing."""


class ShortWait(BaseSensorOperator):
    """A deferrable sensor that waits for a second in the triggerer."""

    def execute(self, context: Any) -> None:
        """Hand over to the triggerer."""
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> None:
        """End."""


@dag(dag_id="bench_quick", params={"tasks": Param(200, type="integer", minimum=1, maximum=1000)}, **SETTINGS)
def quick() -> None:
    """One wide DAG."""

    @task
    def numbers() -> list[int]:
        """Return one number for each task."""
        return list(range(get_current_context()["params"]["tasks"]))

    @task
    def wide(number: int) -> None:
        """Do nothing."""

    wide.expand(number=numbers())


@dag(dag_id="bench_chain", **SETTINGS)
def chain() -> None:
    """One long DAG."""
    steps = [nothing.override(task_id=f"step_{number:02}")() for number in range(CHAIN)]
    for before, after in pairwise(steps):
        before.set_downstream(after)


def many(number: int) -> None:
    """Make one of many small DAGs: two tasks between a first and a last one."""

    @dag(dag_id=f"bench_many_{number:02}", **SETTINGS)
    def small() -> None:
        first, left, right, last = (nothing.override(task_id=name)() for name in ("first", "left", "right", "last"))
        first.set_downstream([left, right])
        last.set_upstream([left, right])

    small()


@dag(dag_id="bench_deferred", **SETTINGS)
def deferred() -> None:
    """Tasks that wait in the triggerer."""
    for number in range(DEFERRED):
        ShortWait(task_id=f"wait_{number:02}")


@dag(dag_id="bench_xcom", **SETTINGS)
def xcom() -> None:
    """Pairs of tasks of which one hands a megabyte to the other."""

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


quick()
chain()
for one in range(DAGS):
    many(one)
deferred()
xcom()
