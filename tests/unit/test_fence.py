"""The lease of a running task, on real processes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "roles/airflow_runtime/files/runtime/airflow_celery_cluster/fence.py"
spec = importlib.util.spec_from_file_location("fence", SOURCE)
assert spec and spec.loader
fence = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fence)

COOPERATIVE = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + COOPERATIVE
# As BashOperator does: the work is in a child with a session of its own.
WITH_CHILD = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); "
    "print(child.pid, flush=True); time.sleep(60)"
)
TERMINATE_AFTER, KILL_AFTER = 0.4, 0.8

Start = Callable[[str], tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a task process, in a process group of its own as the supervisor does; return it and its first line."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout
        return process, process.stdout.readline().strip()

    yield begin
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def alive(pid: int) -> bool:
    """Whether a process runs: a zombie, which nobody reads the end of here, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_task_without_heartbeat_is_told_to_end(start: Start) -> None:
    task, _ = start(COOPERATIVE)
    lease = fence.Lease(task.pid, TERMINATE_AFTER, KILL_AFTER)
    assert task.wait(timeout=10) == -signal.SIGTERM
    lease.join()


def test_a_task_that_does_not_end_is_killed(start: Start) -> None:
    task, _ = start(STUBBORN)
    lease = fence.Lease(task.pid, TERMINATE_AFTER, KILL_AFTER)
    assert task.wait(timeout=10) == -signal.SIGKILL
    lease.join()


def test_a_renewed_lease_lets_the_task_run(start: Start) -> None:
    task, _ = start(COOPERATIVE)
    lease = fence.Lease(task.pid, TERMINATE_AFTER, KILL_AFTER)
    until = time.monotonic() + 3 * KILL_AFTER
    while time.monotonic() < until:
        lease.renew(time.monotonic())
        time.sleep(TERMINATE_AFTER / 8)  # the heartbeat
    assert task.poll() is None
    task.kill()
    lease.join()


def test_the_lease_counts_from_the_moment_the_heartbeat_was_sent(start: Start) -> None:
    task, _ = start(COOPERATIVE)
    keeper = fence.Fence(TERMINATE_AFTER, 60)
    keeper.renew(task.pid, time.monotonic() - 2 * TERMINATE_AFTER)
    assert task.wait(timeout=10) == -signal.SIGTERM
    keeper.release()


def test_a_worker_that_wakes_up_kills_at_once(start: Start) -> None:
    task, _ = start(STUBBORN)
    code = (
        f"import sys, time; sys.path.insert(0, {str(SOURCE.parents[1])!r}); "
        "from airflow_celery_cluster import fence; "
        f"lease = fence.Lease({task.pid}, 1, 2); print('up', flush=True); lease.join(); time.sleep(60)"
    )
    supervisor, _ = start(code)
    for process in (task, supervisor):
        process.send_signal(signal.SIGSTOP)
    time.sleep(2.2)  # the freeze itself: longer than the lease
    assert alive(task.pid)
    supervisor.send_signal(signal.SIGCONT)
    # The task itself sleeps on: what kills it needs nothing of it.
    assert task.wait(timeout=10) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("terminate_after", "number"), [(0.1, signal.SIGTERM), (-1, signal.SIGKILL)], ids=["told to end", "killed"]
)
def test_children_in_sessions_of_their_own_end_too(start: Start, terminate_after: float, number: int) -> None:
    task, child = start(WITH_CHILD)
    assert alive(int(child))
    fence.Lease(task.pid, terminate_after, 10 if number == signal.SIGTERM else -0.5).join()
    assert task.wait(timeout=10) == -number
    deadline = time.monotonic() + 10
    while alive(int(child)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(child))


class Client:
    """Has the requests of Airflow's client that matter here."""

    def __init__(self) -> None:
        self.broken = False

    def start(self, id: str, pid: int, when: str) -> str:
        return f"started {id} at {when}"

    def heartbeat(self, id: str, pid: int) -> None:
        if self.broken:
            raise ConnectionError(id)


def test_only_a_request_that_succeeded_renews(start: Start) -> None:
    task, _ = start(COOPERATIVE)
    keeper = fence.Fence(TERMINATE_AFTER, KILL_AFTER)
    client = Client()
    begin, beat = keeper.renewing(Client.start), keeper.renewing(Client.heartbeat)
    assert begin(client, "ti", task.pid, "now") == "started ti at now"
    client.broken = True
    deadline = time.monotonic() + 10
    while task.poll() is None and time.monotonic() < deadline:
        with pytest.raises(ConnectionError):
            beat(client, "ti", pid=task.pid)
        time.sleep(0.02)
    assert task.returncode == -signal.SIGTERM
    keeper.release()


class Refusal(Exception):
    """An answer of the Execution API, as its client raises it."""

    def __init__(self, status: int, detail: object = None) -> None:
        super().__init__(status)
        self.response = type("Response", (), {"status_code": status})()
        self.detail = detail


RUN = "manual__2026-01-01"


class States:
    """The client of the Execution API, as far as the fence uses it: answers with the states of the tasks of a run."""

    def __init__(self, states: object) -> None:
        self.states = states
        self.client = self

    def build_request(self, method: str, url: str, params: dict[str, Any], timeout: float) -> None:
        assert (method, url) == ("GET", "task-instances/states")
        assert params["dag_id"] == "dag"
        assert 2 * timeout < fence.GIVEN_AWAY_GRACE

    def send(self, request: None) -> States:
        if isinstance(self.states, Exception):
            raise self.states
        return self

    def json(self) -> dict[str, Any]:
        return {"task_states": self.states}


@pytest.mark.parametrize("map_index", [-1, 2])
@pytest.mark.parametrize(
    ("answer", "state", "given_away"),
    [
        # Lost: it is retried, now or soon. None is the state of a task that the scheduler has not looked at.
        *((Refusal(410), state, True) for state in ("up_for_retry", "scheduled", "queued", "running", "success", None)),
        (Refusal(404), "up_for_retry", True),
        # Cleared, or deleted.
        (Refusal(410), "restarting", False),
        (Refusal(410), "deleted", False),
        (Refusal(404), "deleted", False),
        (Refusal(410), "unknown", True),
        (Refusal(409, {"reason": "running_elsewhere"}), "restarting", True),
        (Refusal(409, {"reason": "not_running", "current_state": "up_for_retry"}), "up_for_retry", True),
        (Refusal(409, {"reason": "not_running", "current_state": "failed"}), "failed", False),
        (Refusal(500), "running", False),
        (ConnectionError("refused"), "running", False),
    ],
    ids=str,
)
def test_only_a_task_that_was_given_away_ends_at_once(
    start: Start, answer: Exception, state: str | None, given_away: bool, map_index: int
) -> None:
    task, _ = start(STUBBORN)
    keeper = fence.Fence(60, 90)
    keeper.expect(
        json.dumps({"ti": {"id": "1", "dag_id": "dag", "run_id": RUN, "task_id": "t", "map_index": map_index}})
    )
    # Another task of the run never counts.
    states: dict[str, str | None] = {"u": "restarting", "t_1": "restarting"}
    if state != "deleted":
        states["t" if map_index < 0 else f"t_{map_index}"] = state
    operations = States(ConnectionError("reset") if state == "unknown" else {RUN: states})

    def heartbeat(self: States, pid: int) -> None:
        raise answer

    keeper.renew(task.pid, time.monotonic())
    begun = time.monotonic()
    with pytest.raises(type(answer)):
        keeper.renewing(heartbeat)(operations, task.pid)
    assert time.monotonic() - begun < fence.GIVEN_AWAY_GRACE + 2
    assert (not alive(task.pid)) == given_away
    task.kill()
    task.wait()
    keeper.release()


def test_a_task_that_nobody_described_ends_at_once(start: Start) -> None:
    task, _ = start(STUBBORN)
    keeper = fence.Fence(60, 90)

    def heartbeat(self: States, pid: int) -> None:
        raise Refusal(410)

    keeper.renew(task.pid, time.monotonic())
    with pytest.raises(Refusal):
        keeper.renewing(heartbeat)(States({}), task.pid)
    assert not alive(task.pid)
    keeper.release()


def test_a_cleared_task_is_not_told_twice_and_never_outlives_its_lease(start: Start) -> None:
    task, _ = start(COOPERATIVE)
    lease = fence.Lease(task.pid, TERMINATE_AFTER, KILL_AFTER)
    lease.leave()
    # SIGTERM would have ended it.
    assert task.wait(timeout=10) == -signal.SIGKILL
    lease.join()


def test_a_cleared_task_leaves_no_child_behind(start: Start) -> None:
    task, child = start(WITH_CHILD)
    lease = fence.Lease(task.pid, 60, 90)
    lease.leave()
    task.terminate()  # the supervisor's part
    assert task.wait(timeout=10) == -signal.SIGTERM
    lease.join()
    deadline = time.monotonic() + 10
    while alive(int(child)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(child))


def test_a_stopped_worker_ends_its_tasks(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "HAND_OVER_GRACE", 0.5)
    # A worker, its supervisors, and their tasks: one that ends when told, one that does not.
    supervisor = (
        "import subprocess, sys, time; "
        "task = subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True); "
        "task.wait(); time.sleep(60)"
    )
    worker, line = start(
        "import subprocess, sys, time, psutil, os\n"
        f"for code in ({COOPERATIVE!r}, {STUBBORN!r}):\n"
        f"    subprocess.Popen([sys.executable, '-c', {supervisor!r}, code], stdout=subprocess.PIPE)\n"
        "def tasks():\n"
        "    found = [task.pid for child in psutil.Process().children() for task in child.children()]\n"
        "    return [pid for pid in found if os.getpgid(pid) == pid]\n"
        "while len(tasks()) < 2:\n"
        "    time.sleep(0.05)\n"
        "time.sleep(0.5)\n"
        "print(*tasks(), flush=True)\n"
        "time.sleep(60)"
    )
    tasks = [int(pid) for pid in line.split()]
    assert list(fence.running_tasks(worker.pid)) == tasks
    fence.hand_over(worker.pid)
    assert not any(alive(pid) for pid in tasks)


def test_a_request_of_another_shape_is_refused() -> None:
    def heartbeat(self: Any, id: str) -> None: ...

    with pytest.raises(TypeError, match="has no parameter pid"):
        fence.Fence(1, 2).renewing(heartbeat)


@pytest.mark.parametrize(("terminate", "kill"), [(0, 1), (2, 2), (3, 2)])
def test_a_fence_that_makes_no_sense_is_refused(terminate: float, kill: float) -> None:
    with pytest.raises(ValueError, match="below kill_after"):
        fence.Fence(terminate, kill)


def test_a_task_dies_with_its_supervisor(start: Start) -> None:
    code = (
        f"import os, sys, time; sys.path.insert(0, {str(SOURCE.parents[1])!r}); "
        "from airflow_celery_cluster import fence; "
        "fence.bind_tasks_to_supervisor(); pid = os.fork(); "
        "print(pid, flush=True) if pid else None; time.sleep(60)"
    )
    supervisor, line = start(code)
    task = int(line.split()[0])
    assert alive(task)
    os.kill(supervisor.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(task) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(task)


def test_a_task_has_no_secrets_of_its_worker_and_hides_its_memory(start: Start) -> None:
    code = (
        f"import ctypes, os, sys, time; sys.path.insert(0, {str(SOURCE.parents[1])!r}); "
        "from airflow_celery_cluster import fence, memory; memory.hide(); "
        "os.environ.update({name: 'secret' for name in fence.WORKER_SECRETS}); fence.bind_tasks_to_supervisor()\n"
        "if os.fork() == 0:\n"
        "    held = sum(name in os.environ for name in fence.WORKER_SECRETS)\n"
        "    dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"  # PR_GET_DUMPABLE
        "    print(held, dumpable, flush=True)\n"
        "time.sleep(60)"
    )
    _, line = start(code)
    assert line.split() == ["0", "0"]


# A supervisor that forks tasks, and a neighbour that tries to look into each of them from its fork on.
NEIGHBOUR = """
import os, sys
sys.path.insert(0, sys.argv[1])
from airflow_celery_cluster import fence, memory
if os.getuid() == 0:  # nothing is hidden from root
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
supervisor = os.fork()
if supervisor == 0:
    memory.hide()
    fence.bind_tasks_to_supervisor()
    for _ in range(200):
        task = os.fork()
        if task == 0:
            os._exit(0)
        os.waitpid(task, 0)
    os._exit(0)
looks = shown = 0
while os.waitpid(supervisor, os.WNOHANG) == (0, 0):
    try:
        with open(f"/proc/{supervisor}/task/{supervisor}/children") as file:
            task = file.read().strip()
        looks += bool(task)
        with open(f"/proc/{task}/mem", "rb"):
            shown += 1
    except OSError:
        pass
print(looks, shown)
"""


def test_a_task_is_never_shown() -> None:
    """It has the memory of its supervisor, and so the tokens of tasks."""
    command = [sys.executable, "-c", NEIGHBOUR, str(SOURCE.parents[1])]
    looks, shown = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert looks > 0
    assert shown == 0
