"""When the worker's watchdog acts, and when it must not."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

SOURCE = (
    Path(__file__).resolve().parents[2]
    / "roles/airflow_runtime/files/runtime/airflow_celery_cluster/worker_watchdog.py"
)


@pytest.fixture(scope="module")
def watchdog() -> types.ModuleType:
    """The module of the hosts' Python."""
    spec = importlib.util.spec_from_file_location("worker_watchdog", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("pings", "failures"),
    [
        ([(False, True)] * 4, 4),
        ([(False, True), (True, True)], 0),
        ([(False, True), (False, True), (False, False), (False, True)], 1),
        ([(False, False)] * 9, 0),
    ],
    ids=["silent", "answers again", "broker away in between", "broker away"],
)
def test_only_unanswered_pings_of_a_healthy_broker_count(
    watchdog: types.ModuleType, pings: list[tuple[bool, bool]], failures: int
) -> None:
    count = 0
    for answered, healthy in pings:
        count = watchdog.count_failures(count, answered=answered, broker_healthy=healthy)
    assert count == failures


@pytest.mark.parametrize(
    ("failures", "active", "pid", "age", "catatonic"),
    [
        (4, "active", 7, 500, True),
        (3, "active", 7, 500, False),
        (4, "deactivating", 7, 500, False),
        (4, "activating", 0, 500, False),
        (4, "active", 8, 60, False),
        (4, "active", 8, 121, True),
        (4, "active", 7, 60, True),
    ],
    ids=["silent", "too few", "draining", "between two starts", "starting", "start too long", "has answered before"],
)
def test_a_catatonic_worker_is_told_from_one_that_starts_or_stops(
    watchdog: types.ModuleType, failures: int, active: str, pid: int, age: float, catatonic: bool
) -> None:
    assert watchdog.is_catatonic(failures, watchdog.Unit(active, pid, age), known_pid=7, grace=120) is catatonic


@pytest.mark.parametrize(
    ("idle_since", "now", "sent"),
    [(None, 900.0, None), (890.0, 900.0, None), (880.0, 900.0, signal.SIGKILL), (None, 1001.0, signal.SIGKILL)],
    ids=["tasks run", "just idle", "idle and still there", "out of time"],
)
def test_a_main_process_is_killed_only_without_tasks_or_out_of_time(
    watchdog: types.ModuleType, idle_since: float | None, now: float, sent: signal.Signals | None
) -> None:
    assert watchdog.next_signal(now, idle_since, 1000.0) == sent


@pytest.mark.parametrize(
    ("free_mb", "inodes", "was_full", "full"),
    [
        (511, 9999, False, True),
        (513, 9999, False, False),
        (513, 9999, True, True),
        (641, 9999, True, False),
        (9999, 999, False, True),
        (9999, 1100, False, False),
        (9999, 1100, True, True),
        (9999, None, False, False),
    ],
)
def test_a_disk_is_full_early_and_has_room_late(
    watchdog: types.ModuleType, free_mb: float, inodes: int | None, was_full: bool, full: bool
) -> None:
    assert bool(watchdog.shortage(watchdog.Space(free_mb, inodes), 512, was_full)) is full


def test_the_unit_is_read_from_systemctl(watchdog: types.ModuleType) -> None:
    shown = "ActiveState=active\nMainPID=42\nActiveEnterTimestampMonotonic=100000000\n"
    assert watchdog.parse_unit(shown, 130.0) == watchdog.Unit("active", 42, 30.0)
    assert watchdog.parse_unit("ActiveState=inactive\nMainPID=0\n", 5.0).main_pid == 0


def test_a_task_is_a_grandchild_of_the_main_process(watchdog: types.ModuleType) -> None:
    with subprocess.Popen(["sh", "-c", "read go"], stdin=subprocess.PIPE) as child:
        table = watchdog.process_table()
        assert table[child.pid] == os.getpid()
        assert watchdog.children({table[os.getpid()]}, table) >= {os.getpid()}
        assert watchdog.runs_tasks(table[os.getpid()])
        assert not watchdog.runs_tasks(child.pid)
        assert child.stdin
        child.stdin.write(b"\n")
