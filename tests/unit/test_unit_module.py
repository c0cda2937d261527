"""When a unit is started, restarted, reloaded or left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.module_utils.systemd_times import seconds_of
from ansible_collections.airflow_celery.cluster.plugins.modules import unit
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.unit_progress import UnitProgress

STARTED = "Sun 2026-11-22 20:49:14.500000 UTC"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "airflow.cfg"
    path.touch()
    return path


def state(**changes: str) -> dict[str, str]:
    return {
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "StateChangeTimestamp": STARTED,
        "NeedDaemonReload": "no",
        "FragmentPath": "/nonexistent/unit.service",
    } | changes


def touch(path: Path, seconds_after_start: float) -> str:
    since = seconds_of(STARTED)
    assert since is not None
    os.utime(path, (since + seconds_after_start, since + seconds_after_start))
    return str(path)


def test_a_unit_with_old_files_is_left_alone(file: Path) -> None:
    assert unit.plan(state(), [touch(file, -1)], []) == ([], [])


def test_a_newer_file_restarts(file: Path) -> None:
    path = touch(file, 1)
    assert unit.plan(state(), [path], []) == (["restart"], [path])


def test_a_newer_unit_file_restarts(file: Path) -> None:
    path = touch(file, 1)
    assert unit.plan(state(FragmentPath=path), [], [])[0] == ["restart"]


def test_a_newer_reload_file_reloads(file: Path) -> None:
    assert unit.plan(state(), [], [touch(file, 1)])[0] == ["reload"]


def test_a_restart_makes_a_reload_needless(file: Path) -> None:
    path = touch(file, 1)
    assert unit.plan(state(), [path], [path])[0] == ["restart"]


@pytest.mark.parametrize("active", ["inactive", "failed", "deactivating"])
def test_a_unit_that_is_down_is_started(active: str) -> None:
    assert unit.plan(state(ActiveState=active, UnitFileState="disabled"), [], [])[0] == ["enable", "start"]


@pytest.mark.parametrize("active", ["active", "inactive"])
def test_a_unit_that_is_held_is_enabled_and_left_as_it_is(file: Path, active: str) -> None:
    held = unit.plan(state(ActiveState=active, UnitFileState="disabled"), [touch(file, 1)], [], held=True)
    assert held == (["enable"], [])


def test_a_missing_file_is_not_newer() -> None:
    assert unit.plan(state(), ["/nonexistent"], []) == ([], [])


def test_instances_that_are_not_wanted_are_found() -> None:
    listed = (
        "airflow-api-server@8081.service loaded active running Airflow API server on port 8081\n"
        "airflow-api-server@8082.service loaded active running Airflow API server on port 8082\n"
    )
    name = "airflow-api-server@8081"
    assert unit.unwanted_instances(name, ["8081"], listed) == ["airflow-api-server@8082.service"]
    assert unit.unwanted_instances(name, ["8081", "8082"], listed) == []
    assert unit.unwanted_instances(name, ["8081"], "") == []


def test_the_journal_of_a_failure_has_the_cause_and_not_the_questions() -> None:
    journal = (
        "AirflowConfigException: Failed to convert value\nrequest finished path=/execution/health status_code=503\n"
    )
    kept = unit.without_health_checks(journal, "http://127.0.0.1:8091/execution/health")
    assert kept == ["AirflowConfigException: Failed to convert value"]
    assert unit.without_health_checks("a line\n", "") == ["a line"]


def test_drop_ins_are_read_before_a_start() -> None:
    drop_in = "/etc/systemd/system/haproxy.service.d/airflow-sandbox.conf"
    assert unit.reads_drop_ins(["enable", "start"], [drop_in])
    assert unit.reads_drop_ins(["restart"], ["/etc/redis/redis.conf", drop_in])
    assert not unit.reads_drop_ins(["restart"], ["/etc/redis/redis.conf"])
    assert not unit.reads_drop_ins(["enable"], [drop_in])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h", 3600), ("1min 30s", 90), ("1h 1min 500ms", 3660.5), ("infinity", None), ("", None), ("2w 1d", 15 * 86_400)],
)
def test_a_time_span_of_systemd_is_read(text: str, seconds: float | None) -> None:
    assert unit.span_of(text) == seconds


@pytest.mark.parametrize(
    ("changes", "begun", "wants_health", "stage"),
    [
        ({"ActiveState": "deactivating", "Job": "17"}, True, True, "stop"),
        ({"ActiveState": "activating", "Job": "17"}, True, False, "start"),
        ({"ActiveState": "active"}, True, True, "healthy"),
        # Its restarts are counted while it is not healthy.
        ({"ActiveState": "activating"}, True, True, "healthy"),
        ({"ActiveState": "failed"}, True, False, "failed"),
        ({"ActiveState": "active"}, True, False, ""),
        # Nothing was asked of it: it is drained, or a reload was enough.
        ({"ActiveState": "inactive"}, False, False, ""),
    ],
)
def test_what_a_unit_is_waited_for(changes: dict[str, str], begun: bool, wants_health: bool, stage: str) -> None:
    assert unit.stage_of(state(**changes), begun, wants_health) == stage


def test_each_stage_has_its_own_limit() -> None:
    limits = state(TimeoutStopUSec="1h", TimeoutStartUSec="15min")
    assert [unit.limit_of(limits, stage, 120) for stage in ("stop", "start", "healthy")] == [3600, 900, 120]
    assert unit.limit_of(state(TimeoutStopUSec="infinity"), "stop", 120) is None


def test_a_wait_shows_what_changes_and_its_limit() -> None:
    def seen(stage: str, tasks: int = 0, limit: float | None = 3600) -> dict[str, object]:
        return {"stage": stage, "tasks": tasks, "oldest": 59.6, "limit": limit}

    progress = UnitProgress("worker1", "airflow-worker")
    told = [
        progress.line(seen("stop", 2), 100),
        progress.line(seen("stop", 2), 110),
        progress.line(seen("stop", 1), 120),
        progress.line(seen("stop", 1), 150),
        progress.lost("timed out", 151),
        progress.line(seen("stop"), 160),
        progress.line(seen("start", limit=900), 170),
        progress.line(seen("healthy", limit=None), 180),
    ]
    assert told == [
        "worker1: airflow-worker stops: 2 tasks run, the oldest for 60 s, 3600 s left",
        "",
        "worker1: airflow-worker stops: 1 task runs, the oldest for 60 s, 3580 s left",
        "worker1: airflow-worker stops: 1 task runs, the oldest for 60 s, 3550 s left",
        "worker1: airflow-worker: no connection, trying again: timed out",
        "worker1: airflow-worker stops, 3540 s left",
        "worker1: airflow-worker starts, 900 s left",
        "worker1: airflow-worker is not healthy yet, without a limit",
    ]


@pytest.mark.parametrize(
    ("active", "enabled", "actions"),
    [
        ("active", "enabled", ["disable", "stop"]),
        ("activating", "disabled", ["stop"]),
        ("failed", "enabled", ["disable"]),
        ("inactive", "static", []),
    ],
)
def test_a_unit_that_is_to_be_stopped_does_not_start_at_boot(active: str, enabled: str, actions: list[str]) -> None:
    assert unit.plan_stop(state(ActiveState=active, UnitFileState=enabled)) == actions
