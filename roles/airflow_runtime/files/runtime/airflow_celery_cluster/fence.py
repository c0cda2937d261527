"""End a task that may have been given to another worker: the lease of a running task, kept on its own worker.

The scheduler calls a task lost when it has not heard of it for ``[scheduler] task_instance_heartbeat_timeout`` seconds,
and then another worker runs it. Whatever kept the heartbeats away (a cut cable, a frozen machine, a name
server that does not answer, an API server that accepts and says nothing), this worker must have ended its
own execution by then. Airflow's supervisor does so after a number of failed heartbeats, if it gets to count
them; a machine that was frozen for a minute wakes up with none.

So every task process holds a lease that each successful heartbeat renews. A thread in its
supervisor watches the lease: SIGTERM when it is ``terminate_after`` old, SIGKILL for the whole process tree when it is
``kill_after`` old (section ``failover`` of ``airflow.cfg``, computed by the deployment). It counts from the moment at
which the heartbeat was sent, which is before the moment that the scheduler counts from.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import inspect
import json
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
# What the worker needs and a task does not: a task asks the Execution API with a token of its own.
WORKER_SECRETS = ("AIRFLOW__API__SECRET_KEY", "AIRFLOW__CELERY__BROKER_URL", "AIRFLOW__CELERY__RESULT_BACKEND")
# Seconds from SIGTERM to SIGKILL for a task that may soon run elsewhere: less than a retry takes to start.
GIVEN_AWAY_GRACE = 0.5
# The same for a task whose worker is stopped.
HAND_OVER_GRACE = 5.0
# States of a task that will not run again by itself: Airflow's own, gentler way to end it is the right one then.
FINAL_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
# A task that was cleared while it ran. The scheduler runs it again only when this execution has ended, or has sent no
# heartbeat for the whole timeout, by which the lease has ended it.
CLEARED = "restarting"
# Seconds for one step (connect, read) of the request that asks for the state. Two of them leave time for the SIGTERM.
STATE_TIMEOUT = GIVEN_AWAY_GRACE / 4


class TaskProcess:
    """A running task: its process, which leads a process group, and what it has started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)  # names this process for good; its number may be given to another one
        self._descendants: list[psutil.Process] = []

    def close(self) -> None:
        """Forget the process."""
        os.close(self._pidfd)

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended; return whether it has."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def terminate(self) -> None:
        """Tell it to end: Airflow then calls ``on_kill``, and a task that is plain Python goes on."""
        self.find_descendants()
        self._signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """End it and everything that it has started."""
        # It must not do anything more while its descendants are looked up.
        self._signal_group(signal.SIGSTOP)
        self.find_descendants()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._signal_group(signal.SIGKILL)
        self.kill_descendants()
        self.wait(1)

    def kill_descendants(self) -> None:
        """End what it had started when it was told to end, sessions of their own (as BashOperator has) included."""
        for process in self._descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def find_descendants(self) -> None:
        """Take note of what it has started so far, for ``kill_descendants``."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._descendants = psutil.Process(self.pid).children(recursive=True)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


class Lease:
    """The right of one task process to run.

    :param pid: the task process.
    :param terminate_after: age in seconds at which the task is told to end.
    :param kill_after: age in seconds at which it is killed, with all its descendants.
    """

    def __init__(self, pid: int, terminate_after: float, kill_after: float) -> None:
        self.pid = pid
        self._task = TaskProcess(pid)
        self._terminate_after = terminate_after
        self._kill_after = kill_after
        self._renewed = time.monotonic()
        self._left = False
        self._thread = threading.Thread(target=self._watch, name=f"lease of {pid}", daemon=True)
        self._thread.start()

    def renew(self, moment: float) -> None:
        """Take note of a heartbeat that was sent at ``moment`` (monotonic clock) and succeeded."""
        self._renewed = moment

    def end(self, deadline: float) -> None:
        """End a task that may run elsewhere: SIGTERM now, SIGKILL at ``deadline`` (monotonic clock)."""
        log.error("Task process %d was given away: ending it", self.pid)
        self._task.terminate()
        if not self._task.wait(deadline - time.monotonic()):
            self._task.kill()
        self._task.kill_descendants()

    def leave(self) -> None:
        """Let the supervisor end the task, and kill what is left of its present descendants after that.

        The supervisor sends SIGTERM, and a second one would call ``on_kill`` again. The lease still kills the task.
        """
        self._left = True
        self._task.find_descendants()

    def join(self) -> None:
        """Wait for the watch to end, which it does as soon as the process has: nobody should fork beside a thread."""
        self._thread.join(timeout=5)
        self._task.close()

    def _watch(self) -> None:
        told: float | None = None  # the renewal that ran out when the task was told to end
        while True:
            renewed = self._renewed
            due = self._kill_after if told == renewed else self._terminate_after
            if self._task.wait(renewed + due - time.monotonic()):
                self._task.kill_descendants()
                return
            if self._renewed != renewed:
                continue
            age = time.monotonic() - renewed
            if age >= self._kill_after:
                self._task.kill()
                log.error("No heartbeat of task process %d for %.1f s: it was killed", self.pid, age)
                return
            told = renewed
            if not self._left:
                log.error("No heartbeat of task process %d for %.1f s: telling it to end", self.pid, age)
                self._task.terminate()


class Fence:
    """Keeps the lease of the task that this supervisor (a process of the Celery pool) runs."""

    def __init__(self, terminate_after: float, kill_after: float) -> None:
        if not 0 < terminate_after < kill_after:
            raise ValueError(f"terminate_after {terminate_after} must be above 0 and below kill_after {kill_after}")
        self._terminate_after = terminate_after
        self._kill_after = kill_after
        self._lease: Lease | None = None
        self._task_instance: dict[str, Any] = {}

    def expect(self, workload: str) -> None:
        """Take note of the task instance that this process is about to run.

        :param workload: the message, JSON as Airflow's executor sends it; a callback has no task instance.
        """
        self._task_instance = json.loads(workload).get("ti") or {}

    def renew(self, pid: int, moment: float) -> None:
        """Renew the lease of a task process, or give it its first one."""
        if self._lease is None or self._lease.pid != pid:
            self.release()
            self._lease = Lease(pid, self._terminate_after, self._kill_after)
        self._lease.renew(moment)

    def release(self) -> None:
        """The task is over."""
        if self._lease is not None:
            self._lease.join()
            self._lease = None

    def renewing(self, request: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a request of the Execution API client whose success proves that the task is still ours.

        Raises TypeError when the request has no parameter ``pid``: then this Airflow is not the one that this
        module knows, and a worker without its fence must not start.
        """
        signature = inspect.signature(request)
        if "pid" not in signature.parameters:
            raise TypeError(f"{request.__qualname__}{signature} has no parameter pid")

        @functools.wraps(request)
        def renewing(*args: Any, **kwargs: Any) -> Any:
            sent = time.monotonic()
            try:
                answer = request(*args, **kwargs)
            except Exception as error:
                if self._lease is not None:
                    self._end_if_given_away(error, signature.bind(*args, **kwargs).arguments.get("self"))
                raise
            self.renew(signature.bind(*args, **kwargs).arguments["pid"], sent)
            return answer

        return renewing

    def _end_if_given_away(self, error: Exception, operations: Any) -> None:
        """End the task at once if it may run elsewhere. In every other case its supervisor acts as usual."""
        deadline = time.monotonic() + GIVEN_AWAY_GRACE
        if self._lease is None or not is_given_away(error):
            return
        if status_of(error) in (404, 410) and self._waits_for_end(operations):
            self._lease.leave()
        else:
            self._lease.end(deadline)

    def _waits_for_end(self, operations: Any) -> bool:
        """Return whether the scheduler starts this task again only after its end, if at all.

        A task that was cleared and a task that was lost get the same answer, so this asks for the task's state. It uses
        the client without the retries, which may take longer than a lost task needs to start elsewhere.
        """
        ti = self._task_instance
        try:
            query = {"dag_id": ti["dag_id"], "task_ids": [ti["task_id"]], "run_ids": [ti["run_id"]]}
            name = ti["task_id"]
            if ti["map_index"] is not None and ti["map_index"] >= 0:
                query["map_index"] = ti["map_index"]
                name = f"{name}_{ti['map_index']}"
            request = operations.client.build_request(
                "GET", "task-instances/states", params=query, timeout=STATE_TIMEOUT
            )
            states = operations.client.send(request).json()["task_states"].get(ti["run_id"], {})
        except Exception as error:
            log.warning("State of task %s unknown, so it may run elsewhere: %r", ti.get("id"), error)
            return False
        # Without an entry, the task or its run was deleted.
        return bool(states.get(name, CLEARED) == CLEARED)

    def install(self) -> None:
        """Renew leases by what Airflow's supervisors tell the Execution API. Inherited by every process of the pool."""
        from airflow.sdk.api.client import TaskInstanceOperations

        for name in ("start", "heartbeat"):
            setattr(TaskInstanceOperations, name, self.renewing(getattr(TaskInstanceOperations, name)))


def bind_tasks_to_supervisor() -> None:
    """Have each task process that this one forks die with it.

    It begins without the worker's secrets in its environment, so that what it starts does not inherit them.
    A process that the task itself forks inherits this hook and is left as it is: its parent is the task.
    """
    supervisor = os.getpid()
    in_task = False
    # When a machine wakes up, the thread of the lease must not wait for the supervisor's own.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def in_child() -> None:
        nonlocal in_task
        if in_task:
            return
        in_task = True
        sys.setswitchinterval(usual)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)  # the supervisor died in between, so its signal is never going to come
        for name in WORKER_SECRETS:
            os.environ.pop(name, None)

    os.register_at_fork(after_in_child=in_child)


def running_tasks(worker: int) -> Iterator[int]:
    """Yield the task processes of a Celery worker: its pool's processes are the supervisors, their children the tasks.

    :param worker: process id of the worker's main process.
    """
    for supervisor in psutil.Process(worker).children():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            # Other processes of the worker may have children, too; only a task leads a process group.
            yield from (task.pid for task in supervisor.children() if os.getpgid(task.pid) == task.pid)


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of an answer of the Execution API, or None when there was no answer."""
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status


def is_given_away(error: Exception) -> bool:
    """Return whether an answer of the Execution API says that this task may run elsewhere, now or soon.

    404 and 410 mean that this try is over, for whatever reason.
    """
    status = status_of(error)
    if status == 409:
        detail = getattr(error, "detail", None)
        return not (isinstance(detail, dict) and detail.get("current_state") in FINAL_STATES)
    return status in (404, 410)


def hand_over(worker: int) -> None:
    """End every running task of a worker: its supervisor reports it, and it is retried on another worker."""
    tasks = []
    for pid in running_tasks(worker):
        with contextlib.suppress(ProcessLookupError):
            tasks.append(TaskProcess(pid))
    for task in tasks:
        log.warning("The time to finish is over: ending task process %d", task.pid)
        task.terminate()
    deadline = time.monotonic() + HAND_OVER_GRACE
    for task in tasks:
        if not task.wait(deadline - time.monotonic()):
            task.kill()
        task.kill_descendants()
        task.close()
