"""Messages that no task waits for."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
from airflow_celery_cluster import broker_messages  # noqa: E402


def message(task: str, workload: Any = None, tag: str = "1", **headers: Any) -> bytes:
    """Return a message as kombu writes it into Redis."""
    arguments = [[json.dumps({"ti": {"id": "x"}} if workload is None else workload)], {}, {"chord": None}]
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(arguments).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": "execute_workload", "id": task, **headers},
            "properties": {"delivery_tag": tag, "body_encoding": "base64"},
        }
    ).encode()


def test_a_message_names_the_task_that_it_starts() -> None:
    assert broker_messages.task_of(json.loads(message("a"))) == "a"


@pytest.mark.parametrize(
    "raw",
    [
        message("a", {"callback": {"id": "x"}}),
        message("a", "ti"),
        message("a", ["no", "workload"]),
        b'{"body": "bm90IEpTT04=", "headers": {"id": "a"}}',
        b'{"body": "W10=", "headers": {"id": "a"}}',
        b'{"body": 1, "headers": {"id": "a"}}',
        b'{"headers": {"id": "a"}}',
        b"[]",
        b"1",
        b"null",
    ],
)
def test_any_other_message_is_left_alone(raw: bytes) -> None:
    assert broker_messages.task_of(json.loads(raw)) is None
    assert list(broker_messages.superfluous([raw], {})) == []


def test_messages_are_bounded_by_the_tasks_that_wait_for_them() -> None:
    old, new, copy = message("old"), message("new"), message("new", tag="2", redelivered=True)
    other = message("callback", {"callback": {}})
    messages = [old, new, other, copy, new]
    # The same message twice is one that moved while the list was read.
    assert list(broker_messages.superfluous(messages, {"new": "default"})) == [old, copy]
    assert list(broker_messages.superfluous(messages, {})) == [old, new, copy, new]


def test_another_airflow_is_refused() -> None:
    class Scheduler:
        def requeue(self, *, ti: Any, session: Any) -> None:
            """Another release."""

    assert broker_messages.wrapping(Scheduler.requeue, "ti", "session")
    with pytest.raises(TypeError, match=r"requeue.*expected"):
        broker_messages.wrapping(Scheduler.requeue, "ti", "session", "executor")


class Runner:
    """The part of Airflow's scheduler that counts how often a task was stuck."""

    def __init__(self, limit: int) -> None:
        self._num_stuck_queued_retries = limit
        self.rows = 0
        self.requeued = 0

    def _get_num_times_stuck_in_queued(self, ti: Any, *, session: Any) -> int:
        return self.rows

    def _reschedule_stuck_task(self, ti: Any, session: Any) -> None:
        self.requeued += 1

    def _maybe_requeue_stuck_ti(self, *, ti: Any, session: Any, executor: Any) -> None:
        if self.rows < self._num_stuck_queued_retries:
            self.rows += 1
            self._reschedule_stuck_task(ti, session)


@pytest.mark.parametrize(
    ("limit", "rows", "requeued"),
    [(broker_messages.NO_LIMIT, broker_messages.AUDIT_ROWS, 50), (2, 2, 2), (10, 10, 10)],
)
def test_a_waiting_task_adds_no_row_for_ever(limit: int, rows: int, requeued: int) -> None:
    class Patched(Runner):
        def _maybe_requeue_stuck_ti(self, *, ti: Any, session: Any, executor: Any) -> None:
            super()._maybe_requeue_stuck_ti(ti=ti, session=session, executor=executor)

    broker_messages.limit_audit_rows(Patched)
    runner = Patched(limit)
    for _ in range(50):
        runner._maybe_requeue_stuck_ti(ti="ti", session=None, executor=None)
    assert (runner.rows, runner.requeued) == (rows, requeued)


def test_the_limit_of_retries_is_the_one_that_the_deployment_sets() -> None:
    from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import failover

    retries = failover.Failover(20).config()["scheduler"]["num_stuck_in_queued_retries"]
    assert retries == broker_messages.NO_LIMIT
