"""A drain: which processes are tasks, what a person reads meanwhile, and what may not be drained."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_celery_cluster import worker_queues
from ansible_collections.airflow_celery.cluster.plugins.filter.workers import chosen_workers, orphaned_queues
from ansible_collections.airflow_celery.cluster.plugins.module_utils import worker_processes
from ansible_collections.airflow_celery.cluster.plugins.modules import worker_tasks
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.drain import Progress, is_over, pace

TASK = "import time; time.sleep(60)"
# The pool's process has a task, which leads a process group, and a child that does not, as the log server has.
POOL = (
    "import subprocess, sys, time; "
    f"subprocess.Popen([sys.executable, '-c', {TASK!r}], start_new_session=True); "
    f"subprocess.Popen([sys.executable, '-c', {TASK!r}]); time.sleep(60)"
)
WORKER = (
    "import subprocess, sys, time; "
    f"children = [subprocess.Popen([sys.executable, '-c', {POOL!r}]) for _ in range(2)]; time.sleep(60)"
)


@pytest.fixture
def worker() -> Iterator[int]:
    """A process with two supervisors, each with a task and with a child that is none."""
    process = subprocess.Popen([sys.executable, "-c", WORKER], start_new_session=True)
    yield process.pid
    table = {one.pid: one for one in worker_processes.processes()}
    family = {process.pid}
    for _ in range(3):
        family |= {pid for pid, one in table.items() if one.parent in family}
    for pid in family:
        subprocess.run(["kill", "-KILL", str(pid)], check=False, capture_output=True)
    process.wait()


def test_tasks_are_the_group_leaders_below_the_pool(worker: int) -> None:
    deadline = time.monotonic() + 30
    found: list[worker_processes.Process] = []
    while len(found) < 2 and time.monotonic() < deadline:
        found = worker_processes.task_processes(worker, worker_processes.processes())
        time.sleep(0.05)  # paces the looking
    assert len(found) == 2
    assert all(one.group == one.pid for one in found)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert all(-1 < now - one.started < 30 for one in found)


def test_a_worker_that_is_not_there_has_no_tasks() -> None:
    assert worker_processes.task_processes(0, worker_processes.processes()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {}),
        ("", {"since": "", "by": "", "why": ""}),
        ("[1]", {"since": "", "by": "", "why": ""}),
        ('{"by": "patch"}', {"since": "", "by": "patch", "why": ""}),
    ],
    ids=["none", "made by hand", "nonsense", "ours"],
)
def test_a_marker_counts_by_being_there(tmp_path: Path, text: str | None, expected: dict[str, str]) -> None:
    path = tmp_path / "drained"
    if text is not None:
        path.write_text(text)
    assert worker_tasks.marker_of(str(path)) == expected


# --- Progress ---------------------------------------------------------------------------------------------------------
def test_a_line_for_each_change_and_one_every_half_minute() -> None:
    progress = Progress("worker2", 600)
    assert progress.line(3, 45.2, "active", 0) == "worker2: 3 tasks run, the oldest for 45 s, 600 s left"
    assert progress.line(3, 50.2, "active", 5) == ""
    assert progress.line(1, 12, "active", 10) == "worker2: 1 task runs, the oldest for 12 s, 590 s left"
    assert progress.line(1, 41, "active", 39) == ""
    assert progress.line(1, 42, "active", 40) == "worker2: 1 task runs, the oldest for 42 s, 560 s left"
    # Taken, and not begun yet
    assert progress.line(2, 0, "active", 41) == "worker2: 2 tasks run, 559 s left"
    assert progress.line(0, 0, "active", 42) == "worker2: no task runs"


def test_a_unit_that_has_stopped_has_no_tasks() -> None:
    progress = Progress("worker2", 600)
    assert progress.is_done(0, "active")
    assert progress.is_done(1, "inactive")
    assert progress.is_done(1, "failed")
    assert not progress.is_done(1, "deactivating")


def test_a_lost_connection_is_told_once() -> None:
    progress = Progress("worker2", 600)
    assert progress.lost("timed out", 3) == "worker2: no connection, trying again: timed out"
    assert progress.lost("timed out", 8) == ""
    assert progress.line(1, 1, "active", 9) != ""


def test_the_last_question_comes_when_the_time_is_over() -> None:
    elapsed, asked = 0.0, 0
    while not is_over(elapsed, 20):
        elapsed += pace(elapsed, 20)
        asked += 1
    assert 20 <= elapsed < 20.5
    assert asked < 20
    assert is_over(0, 0)


# --- Queues -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("active", "wanted", "missing", "surplus"),
    [
        ({"default", "b"}, set(), [], ["b", "default"]),
        (set(), {"default", "b"}, ["b", "default"], []),
        ({"default", "by_hand"}, {"default"}, [], []),
        (set(), set(), [], []),
    ],
    ids=["drain", "undrain", "added by hand", "drained"],
)
def test_which_queues_change(active: set[str], wanted: set[str], missing: list[str], surplus: list[str]) -> None:
    assert worker_queues.to_change(frozenset(active), frozenset(wanted)) == (missing, surplus)


def test_a_condition_is_looked_at_once_at_least() -> None:
    assert worker_queues.until(lambda: True, 0)
    assert not worker_queues.until(lambda: False, 0)


# --- Which workers ----------------------------------------------------------------------------------------------------
GROUPS = {
    "all": ["control1", "worker1", "worker2", "worker3"],
    "control_plane": ["control1"],
    "airflow_worker": ["worker1", "worker2", "worker3"],
    "reports": ["worker3", "worker2"],
}


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("worker2", ["worker2"]),
        ("worker3, worker1", ["worker1", "worker3"]),
        ("reports", ["worker2", "worker3"]),
        ("reports,worker1,worker2", ["worker1", "worker2", "worker3"]),
        ("all", ["worker1", "worker2", "worker3"]),
    ],
)
def test_workers_are_named_one_by_one_or_by_group(text: str, hosts: list[str]) -> None:
    assert chosen_workers(text, GROUPS) == {"hosts": hosts, "problem": ""}


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("", "-e cluster_worker=NAME"),
        (" , ", "-e cluster_worker=NAME"),
        (None, "-e cluster_worker=NAME"),
        ("worker9", "worker9 is neither"),
        ("worker1,control1", "control1 is neither"),
        ("control_plane", "control_plane is neither"),
    ],
)
def test_a_wrong_name_chooses_nobody(text: str | None, piece: str) -> None:
    found = chosen_workers(text, GROUPS)
    assert found["hosts"] == []
    assert piece in found["problem"]
    assert "worker1, worker2, worker3" in found["problem"]


def seen(active: str = "active", queues: list[str] | None = None, drained: bool = False) -> dict[str, Any]:
    own = {} if queues is None else {"airflow_worker_queues": queues}
    return own | {"seen": {"active": active, "marker": {"by": "patch"} if drained else {}}}


@pytest.mark.parametrize(
    ("leaving", "changes", "orphaned"),
    [
        (["worker1"], {}, []),
        (["worker3"], {}, ["gpu"]),
        (["worker1", "worker2"], {"worker3": seen(queues=["gpu"])}, ["default"]),
        (["worker1"], {"worker2": seen(drained=True), "worker3": seen("inactive")}, ["default"]),
        (["worker1"], {"worker2": {"seen": {"unreachable": True}}, "worker3": {}}, ["default"]),
        (["worker3"], {"worker3": seen(queues=["gpu"], drained=True)}, []),
    ],
    ids=["others stay", "the only one", "a whole group", "drained and stopped", "out of reach", "is drained already"],
)
def test_a_queue_must_not_be_left_alone(
    leaving: list[str], changes: dict[str, dict[str, Any]], orphaned: list[str]
) -> None:
    hosts = {"worker1": seen(), "worker2": seen(), "worker3": seen(queues=["default", "gpu"])} | changes
    assert orphaned_queues(leaving, GROUPS, hosts, "seen") == orphaned
