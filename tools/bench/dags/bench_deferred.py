"""Tasks that wait in the triggerer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseSensorOperator, dag

DEFERRED = 100


class ShortWait(BaseSensorOperator):
    """A deferrable sensor that waits for a second in the triggerer."""

    def execute(self, context: Any) -> None:
        """Hand over to the triggerer."""
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> None:
        """End."""


@dag(dag_id="bench_deferred", schedule=None, catchup=False, max_active_tasks=1000, tags=["bench"])
def deferred() -> None:
    """Tasks that depend on nothing."""
    for number in range(DEFERRED):
        ShortWait(task_id=f"wait_{number:02}")


deferred()
