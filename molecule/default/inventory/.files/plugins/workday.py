"""A timetable that leaves out the weekends, as in docs/operations.md."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.trigger import CronTriggerTimetable


class WorkdayTimetable(CronTriggerTimetable):
    """At six o'clock on each day from Monday to Friday."""

    def __init__(self) -> None:
        super().__init__("0 6 * * 1-5", timezone="UTC")

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> WorkdayTimetable:
        """Return the timetable of a serialized DAG."""
        return cls()


class WorkdayPlugin(AirflowPlugin):
    """Registers the timetable."""

    name = "workday"
    timetables = [WorkdayTimetable]
