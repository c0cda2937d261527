"""How long a rotation waits for the tasks that hold an old token, without waiting for it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace

import pytest
from airflow_celery_cluster import task_tokens

CHANGED = 1_000_000.0
LIFETIMES = [(600.0, 600.0), (1200.0, 600.0), (600.0, 6000.0)]


@pytest.fixture(params=LIFETIMES, ids=str)
def longest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Airflow's configuration with the lifetimes of the tokens of queued and of running tasks; the longer one."""
    queued, running = request.param
    values = {("scheduler", "task_queued_timeout"): queued, ("execution_api", "jwt_expiration_time"): running}
    module = ModuleType("airflow.configuration")
    module.__dict__["conf"] = SimpleNamespace(getfloat=lambda section, key: values[section, key])
    monkeypatch.setitem(sys.modules, "airflow.configuration", module)
    return max(queued, running)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a sleep moves on; the seconds that were slept."""
    slept: list[float] = []
    monkeypatch.setattr(task_tokens.time, "time", lambda: CHANGED + 5 + sum(slept))
    monkeypatch.setattr(task_tokens.time, "monotonic", lambda: sum(slept))
    monkeypatch.setattr(task_tokens.time, "sleep", slept.append)
    monkeypatch.setattr(sys, "argv", ["task_tokens", "--signed-before", str(CHANGED)])
    return slept


def test_the_wait_ends_with_the_last_task_however_late(
    longest: float, waited: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = longest - 20

    def holders(before: datetime) -> int:
        assert before == datetime.fromtimestamp(CHANGED, UTC)
        return 2 if sum(waited) < late else 0

    monkeypatch.setattr(task_tokens, "holders", holders)
    task_tokens.main()
    assert json.loads(capsys.readouterr().out) == {"waited": late, "holders": 0}


def test_the_wait_is_over_when_the_last_token_is(
    longest: float, waited: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(task_tokens, "holders", lambda _: 1)
    task_tokens.main()
    found = json.loads(capsys.readouterr().out)
    assert found["holders"] == 0
    # A token is valid for some seconds more, and it may have been signed just before the change.
    assert longest < found["waited"] + 5 <= longest + task_tokens.LEEWAY + task_tokens.PAUSE
