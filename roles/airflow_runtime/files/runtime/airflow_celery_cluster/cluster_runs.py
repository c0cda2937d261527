"""Runs of the DAGs that the cluster brings itself, through the metadata database.

An operation that runs a task needs no user of Airflow: a person may change a password or remove a user at any time.
Airflow is imported where it is used, as importing it takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

# What an operation is called where Airflow shows who has triggered a run.
NAME = "cluster"


class Late(Exception):
    """Something did not come true in time."""


class Runs:
    """The runs of one DAG.

    :param dag: its id.
    """

    def __init__(self, dag: str) -> None:
        self.dag = dag

    def known(self) -> dict[str, Any] | None:
        """Return ``is_paused`` of a DAG that can be run; None while the DAG processor has not read its file."""
        from airflow.models.dag import DagModel
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.utils.session import create_session

        with create_session() as session:
            model = session.get(DagModel, self.dag)
            if model is None or model.is_stale or not SerializedDagModel.has_dag(self.dag, session=session):
                return None
            return {"is_paused": bool(model.is_paused)}

    def pause(self, paused: bool) -> None:
        """Pause or unpause the DAG."""
        from airflow.models.dag import DagModel
        from airflow.utils.session import create_session

        with create_session() as session:
            model = session.get(DagModel, self.dag)
            if model is not None:
                model.is_paused = paused

    def trigger(self, conf: dict[str, Any]) -> str:
        """Start a run and return its id."""
        from airflow.api.common.trigger_dag import trigger_dag
        from airflow.utils.types import DagRunTriggeredByType

        run = trigger_dag(self.dag, triggered_by=DagRunTriggeredByType.CLI, triggering_user_name=NAME, conf=conf)
        if run is None:
            raise RuntimeError(f"Airflow did not create a run of {self.dag}")
        return str(run.run_id)

    def state(self, run_id: str) -> str:
        """Return the state of a run; "" for a run that is not there."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            query = select(DagRun.state).where(DagRun.dag_id == self.dag, DagRun.run_id == run_id)
            return str(session.scalar(query) or "")

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """Return task, index, state and host of each task instance of a run."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        columns = (TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state, TaskInstance.hostname)
        with create_session() as session:
            rows = session.execute(
                select(*columns).where(TaskInstance.dag_id == self.dag, TaskInstance.run_id == run_id)
            ).all()
        return [
            {"task_id": task, "map_index": index, "state": state and str(state), "hostname": host or ""}
            for task, index, state, host in rows
        ]

    def returned(self, run_id: str, task: str) -> Any:
        """Return what a task has returned; None for nothing."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            query = XComModel.get_many(run_id=run_id, key="return_value", task_ids=task, dag_ids=self.dag, limit=1)
            found = session.scalars(query).first()
            return None if found is None else XComModel.deserialize_value(found)

    def abandon(self, run_id: str) -> None:
        """End a run and its tasks."""
        from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
        from airflow.models.dagbag import DBDagBag
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            run = session.scalar(select(DagRun).where(DagRun.dag_id == self.dag, DagRun.run_id == run_id))
            dag = None if run is None else DBDagBag().get_dag_for_run(run, session=session)
            if dag is not None:
                set_dag_run_state_to_failed(dag=dag, run_id=run_id, commit=True, session=session)


def wait(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """Return what the condition returns once it is true; raise Late, with the last error, when the time is over."""
    from sqlalchemy.exc import OperationalError

    deadline = time.monotonic() + seconds
    while True:
        error = ""
        try:
            if seen := condition():
                return seen
        except OperationalError as lost:  # PostgreSQL is restarting
            error = f": {lost.orig}"
        if time.monotonic() > deadline:
            raise Late(f"{what}: not within {seconds:g} s{error}")
        time.sleep(0.5)  # paces the asking; what is waited for is the condition
