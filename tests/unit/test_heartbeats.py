"""Heartbeats that are answered together, and those that Airflow answers."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "roles/airflow_runtime/files/runtime/airflow_celery_cluster/heartbeats.py"
spec = importlib.util.spec_from_file_location("heartbeats", SOURCE)
assert spec and spec.loader
heartbeats = importlib.util.module_from_spec(spec)
sys.modules["heartbeats"] = heartbeats
spec.loader.exec_module(heartbeats)

TASK = "01980000-0000-7000-8000-00000000000{}"
VERSION = "2026-01-01"


def claims_of(task: str, **changed: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": task, "iat": now - 10, "exp": now + 590, "scope": "execution"} | changed


class Server:
    """The application under test between a client, a database and Airflow's application."""

    def __init__(self, running: Sequence[int] = range(10)) -> None:
        self.running = {(TASK.format(number), "worker1", 100 + number) for number in running}
        self.batches: list[list[Any]] = []
        self.airflow: list[tuple[str, bytes]] = []
        self.claims: dict[str, dict[str, Any]] = {}
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error: Exception | None = None
        self.application = heartbeats.Heartbeats(self._airflow, self._claims, self._renew, VERSION)

    async def _claims(self, token: str) -> dict[str, Any]:
        return self.claims[token]

    def _renew(self, batch: Sequence[Any]) -> set[str]:
        self.batches.append(list(batch))
        assert self.may_go_on.wait(60)
        if self.error:
            raise self.error
        return {beat.task for beat in batch if (beat.task, beat.hostname, beat.pid) in self.running}

    async def _airflow(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message["body"]
            more = message.get("more_body", False)
        self.airflow.append((scope["path"], body))
        await send({"type": "http.response.start", "status": 409, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def beat(self, number: int = 1, **changed: Any) -> int:
        """Send a heartbeat, with something changed; return the status of the answer."""
        task = TASK.format(number)
        self.claims[task] = claims_of(task, **changed.get("claims", {}))
        body = changed.get("body", json.dumps({"hostname": "worker1", "pid": 100 + number}).encode())
        parts = [body[:5], body[5:]]
        headers = {
            b"authorization": f"Bearer {task}".encode(),
            b"airflow-api-version": VERSION.encode(),
            b"content-length": str(len(body)).encode(),
        } | changed.get("headers", {})
        scope = {
            "type": "http",
            "method": changed.get("method", "PUT"),
            "path": changed.get("path", f"/execution/task-instances/{task}/heartbeat"),
            "headers": list(headers.items()),
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.application(scope, receive, send)
        return int(sent[0]["status"])


def test_a_heartbeat_is_renewed() -> None:
    server = Server()
    assert asyncio.run(server.beat()) == 204
    assert server.batches == [[heartbeats.Heartbeat(TASK.format(1), "worker1", 101)]]
    assert server.airflow == []


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "GET"},
        {"path": "/execution/task-instances/1/heartbeat"},
        {"path": f"/execution/task-instances/{TASK.format(1)}/state"},
        {"path": f"/execution/task-instances/{TASK.format(2)}/heartbeat"},
        {"headers": {b"airflow-api-version": b"2025-01-01"}},
        {"headers": {b"authorization": b""}},
        {"headers": {b"authorization": b"Basic x"}},
        {"headers": {b"authorization": b"Bearer forged"}},
        {"headers": {b"content-length": b""}},
        {"headers": {b"content-length": b"1000000"}},
        {"claims": {"sub": TASK.format(2)}},
        {"claims": {"scope": "workload"}},
        {"claims": {"iat": int(time.time()) - 490, "exp": int(time.time()) + 110}},
        {"claims": {"iat": int(time.time()), "exp": int(time.time()) + 20}},
        {"body": b"no JSON"},
        {"body": b'{"hostname": "worker1", "pid": "101"}'},
        {"body": b'{"hostname": "worker1", "pid": true}'},
        {"body": b'{"hostname": "worker1", "pid": 101, "more": 1}'},
        {"body": b'{"hostname": "worker2", "pid": 101}'},
        {"body": b'{"hostname": "worker1", "pid": 102}'},
    ],
)
def test_airflow_answers_what_is_no_ordinary_heartbeat(changed: dict[str, Any]) -> None:
    server = Server()
    assert asyncio.run(server.beat(**changed)) == 409
    body = changed.get("body", b'{"hostname": "worker1", "pid": 101}')
    assert server.airflow == [(changed.get("path", f"/execution/task-instances/{TASK.format(1)}/heartbeat"), body)]


def test_heartbeats_share_transactions_and_each_has_its_own_answer() -> None:
    server = Server(running=range(5))
    server.may_go_on.clear()

    async def beats() -> list[int]:
        first = asyncio.create_task(server.beat(0))
        while not server.batches:
            await asyncio.sleep(0.01)
        others = [asyncio.create_task(server.beat(number)) for number in range(1, 8)]
        while len(server.application._batches._waiting) < len(others):
            await asyncio.sleep(0.01)
        server.may_go_on.set()
        return [await task for task in (first, *others)]

    assert asyncio.run(beats()) == [204] * 5 + [409] * 3
    assert [len(batch) for batch in server.batches] == [1, 7]


def test_a_client_that_gives_up_takes_no_answer_from_others() -> None:
    server = Server()
    server.may_go_on.clear()

    async def beats() -> list[int]:
        first = asyncio.create_task(server.beat(0))
        while not server.batches:
            await asyncio.sleep(0.01)
        impatient, patient = (asyncio.create_task(server.beat(number)) for number in (1, 2))
        while len(server.application._batches._waiting) < 2:
            await asyncio.sleep(0.01)
        impatient.cancel()
        server.may_go_on.set()
        return [await first, await patient]

    assert asyncio.run(beats()) == [204, 204]


def test_airflow_answers_when_the_database_does_not() -> None:
    server = Server()
    server.error = OSError("no database")
    assert asyncio.run(server.beat()) == 409
    server.error = None
    assert asyncio.run(server.beat()) == 204
