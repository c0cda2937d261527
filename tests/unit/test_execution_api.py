"""A task waits for the Execution API, on a real HTTP server."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

SOURCE = Path(__file__).parents[2] / "roles/airflow_runtime/files/runtime/airflow_celery_cluster/execution_api.py"
spec = importlib.util.spec_from_file_location("execution_api", SOURCE)
assert spec and spec.loader
execution_api = importlib.util.module_from_spec(spec)
spec.loader.exec_module(execution_api)


class FrontDoor(ThreadingHTTPServer):
    """Answers as HAProxy does: 503 as long as it has no server, else what the server says."""

    def __init__(self, refusals: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refusals = refusals
        self.refusal: int | None = None
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/execution/"


class Handler(BaseHTTPRequestHandler):
    server: FrontDoor

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(self.server.refusal or (503 if len(self.server.paths) <= self.server.refusals else 200))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def front_door(request: pytest.FixtureRequest) -> Iterator[FrontDoor]:
    server = FrontDoor(request.param)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("front_door", [0], indirect=True)
def test_an_api_that_answers_is_asked_once(front_door: FrontDoor) -> None:
    assert execution_api.wait(front_door.url, 0)
    assert front_door.paths == ["/execution/health"]


@pytest.mark.parametrize("front_door", [3], indirect=True)
def test_a_task_waits_for_an_api_that_is_still_starting(front_door: FrontDoor) -> None:
    assert execution_api.wait(front_door.url, 60)
    assert len(front_door.paths) == 4


@pytest.mark.parametrize("front_door", [0], indirect=True)
def test_nobody_there_is_waited_for_until_the_time_is_over(front_door: FrontDoor) -> None:
    url = front_door.url
    front_door.server_close()
    begun = time.monotonic()
    assert not execution_api.wait(url, 1)
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("front_door", [10_000], indirect=True)
def test_a_front_door_without_a_server_is_no_answer(front_door: FrontDoor) -> None:
    assert not execution_api.wait(front_door.url, 1)
    assert len(front_door.paths) > 1


def begin(front_door: FrontDoor, seconds: float) -> str:
    """Send the request that begins a task, as the client of a supervisor does."""

    def start(task: str) -> str:
        httpx.get(f"{front_door.url}{task}", trust_env=False).raise_for_status()
        return task

    return str(execution_api.repeating(start, front_door.url, seconds)("task"))


@pytest.mark.parametrize("front_door", [0], indirect=True)
def test_a_task_begins_with_one_request(front_door: FrontDoor) -> None:
    assert begin(front_door, 60) == "task"
    assert front_door.paths == ["/execution/task"]


@pytest.mark.parametrize("front_door", [3], indirect=True)
def test_the_request_that_begins_a_task_is_repeated(front_door: FrontDoor) -> None:
    assert begin(front_door, 60) == "task"
    assert front_door.paths == ["/execution/task", *["/execution/health"] * 3, "/execution/task"]


@pytest.mark.parametrize("front_door", [10_000], indirect=True)
def test_a_request_without_an_answer_fails_when_the_time_is_over(front_door: FrontDoor) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        begin(front_door, 1)


@pytest.mark.parametrize("front_door", [0], indirect=True)
@pytest.mark.parametrize("seconds", [0, 1])
def test_a_request_without_a_server_fails_when_the_time_is_over(front_door: FrontDoor, seconds: float) -> None:
    front_door.server_close()
    with pytest.raises(httpx.RequestError):
        begin(front_door, seconds)


@pytest.mark.parametrize("front_door", [0], indirect=True)
def test_a_refusal_is_not_repeated(front_door: FrontDoor) -> None:
    front_door.refusal = 409
    with pytest.raises(httpx.HTTPStatusError):
        begin(front_door, 60)
    assert front_door.paths == ["/execution/task"]
