"""Watch one Celery worker from beside it: end it when it is catatonic, keep tasks away while it must not take any.

**Catatonic.** The worker is pinged through the broker. After ``FAILURES`` pings in a row without an answer, each with a
healthy broker, it is asked to end (SIGTERM: running tasks may finish), and killed when nothing runs any more and it
still does not go. systemd starts it again (``Restart=always``). With the broker away nothing is ended.

**Disk full.** A worker with a full disk fails each task at once, and so eats the whole queue. While a directory's file
system is short of space or inodes the worker consumes from none of its queues.

**Drained.** The same while the file exists that says so.

It runs as the worker's own user, so it may signal that user's processes and nothing else. It imports Celery only.

Source of the broker: ``AIRFLOW__CELERY__BROKER_URL``.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_celery_cluster import memory, worker_queues
from airflow_celery_cluster.celery_control import celery_app

# Unanswered pings in a row. One or two may be lost in a reconnect.
FAILURES = 4
# Seconds between two looks at the disks and, where a worker is to end, at its processes.
PACE = 2.5
# Seconds that a worker without a running task has to go after a SIGTERM.
END_SECONDS = 20
# Inodes of which a file system is full with fewer, as it is of blocks with fewer than the megabytes asked for.
MIN_INODES = 1000
# There while the worker has not passed its canary after an upgrade: its queues are not this program's business then.
CANARY = Path("/etc/airflow/worker/canary.env")
# Full below 1 x the limit, roomy again at 1.25 x: else the worker would come and go with each log line.
ROOMY = 1.25


@dataclass(frozen=True)
class Space:
    """What a file system has left.

    :param free_mb: MiB that a process other than root's may still write.
    :param free_inodes: files that it may still make; None where the file system has no such limit.
    """

    free_mb: float
    free_inodes: int | None

    @classmethod
    def of(cls, path: str) -> Space:
        """Return the space of the file system that holds a path. Raises OSError."""
        found = os.statvfs(path)
        return cls(found.f_bavail * found.f_frsize / 2**20, found.f_favail if found.f_files else None)


@dataclass(frozen=True)
class Unit:
    """The worker's unit now.

    :param active: systemd's ActiveState.
    :param main_pid: its main process; 0 for none.
    :param age: seconds since it became active.
    """

    active: str
    main_pid: int
    age: float


def shortage(space: Space, min_mb: int, was_full: bool) -> str:
    """Return what a file system is short of; "" when it has room.

    :param min_mb: MiB that must be free.
    :param was_full: whether it was short before: then it takes more to have room again.
    """
    factor = ROOMY if was_full else 1.0
    if space.free_mb < min_mb * factor:
        return f"{space.free_mb:.0f} MiB free, {min_mb * factor:.0f} wanted"
    if space.free_inodes is not None and space.free_inodes < MIN_INODES * factor:
        return f"{space.free_inodes} inodes free, {MIN_INODES * factor:.0f} wanted"
    return ""


def count_failures(before: int, *, answered: bool, broker_healthy: bool) -> int:
    """Return the unanswered pings in a row, after one more ping."""
    return before + 1 if broker_healthy and not answered else 0


def is_catatonic(failures: int, unit: Unit, known_pid: int, grace: float) -> bool:
    """Return whether the worker is to be ended.

    :param failures: unanswered pings in a row.
    :param known_pid: main process that has answered before; a worker that never did is still starting.
    :param grace: seconds that such a worker has.
    """
    if failures < FAILURES or unit.active != "active" or not unit.main_pid:
        return False
    return unit.main_pid == known_pid or unit.age > grace


def next_signal(now: float, idle_since: float | None, deadline: float) -> signal.Signals | None:
    """Return the signal for a main process that was asked to end and is still there.

    :param now: and the others: seconds of one clock.
    :param idle_since: since when none of its tasks runs; None while one does.
    :param deadline: when it is killed, whatever runs.
    """
    if now > deadline or (idle_since is not None and now - idle_since >= END_SECONDS):
        return signal.SIGKILL
    return None


def parse_unit(shown: str, now: float) -> Unit:
    """Return the unit from what ``systemctl show`` prints; ``now`` is the seconds of the monotonic clock."""
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    entered = int(values.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    return Unit(values.get("ActiveState", ""), int(values.get("MainPID") or 0), now - entered)


def children(parents: set[int], table: dict[int, int]) -> set[int]:
    """Return the processes whose parent is one of these; the table is parent by process."""
    return {pid for pid, parent in table.items() if parent in parents}


def process_table() -> dict[int, int]:
    """Return the parent of every process."""
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The command's name may hold spaces and brackets; behind the last bracket stand state and parent.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            if fields[0] != "Z":
                table[int(entry.name)] = int(fields[1])
    return table


def runs_tasks(main_pid: int) -> bool:
    """Return whether a task runs: a task is a child of a process of the worker's pool."""
    table = process_table()
    return bool(children(children({main_pid}, table), table))


def say(message: str) -> None:
    """Write a line to the journal."""
    print(message, flush=True)


class Watchdog:
    """The worker, the broker and the disks as they were last seen."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.worker: str = arguments.worker
        self.unit: str = arguments.unit
        self.queues = frozenset(arguments.queues.split(","))
        self.interval: float = arguments.timeout / FAILURES
        self.grace: float = arguments.grace
        self.stop_timeout: float = arguments.stop_timeout
        self.min_free_mb: int = arguments.min_free_mb
        self.paths: Sequence[str] = arguments.paths
        self.drained: str = arguments.drained
        self.failures = 0
        self.known_pid = 0
        self.full: dict[str, str] = {}
        self.broker_lost = False
        self.app = celery_app()
        self.broker_errors = worker_queues.broker_errors(self.app)

    def look_at_unit(self) -> Unit:
        """Ask systemd for the worker's unit."""
        properties = "--property=ActiveState,MainPID,ActiveEnterTimestampMonotonic"
        shown = subprocess.run(["systemctl", "show", properties, self.unit], capture_output=True, text=True, check=True)
        return parse_unit(shown.stdout, time.monotonic())

    def broker_answers(self) -> bool:
        """Open a new connection to the broker; with Redis, opening its channel is a PING."""
        try:
            with self.app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=5)
                connection.default_channel  # noqa: B018
        except self.broker_errors as error:
            self.lose_broker(error)
            return False
        self.broker_lost = False
        return True

    def lose_broker(self, error: Exception) -> None:
        """Say once that the broker does not answer."""
        if not self.broker_lost:
            say(f"The broker does not answer; the worker is left alone: {error}")
        self.broker_lost = True

    def ping(self) -> None:
        """Ping the worker once, and end it if that was one time too many."""
        unit = self.look_at_unit()
        if unit.active != "active":
            self.failures = 0
            return
        try:
            # A connection of its own each time: one from a pool may be what is broken.
            with self.app.connection_for_write() as connection:
                answers = self.app.control.ping(
                    destination=[self.worker], timeout=min(5.0, self.interval), connection=connection
                )
            answered = bool(answers)
        except self.broker_errors as error:
            self.lose_broker(error)
            self.failures = 0
            return
        healthy = answered or self.broker_answers()
        self.failures = count_failures(self.failures, answered=answered, broker_healthy=healthy)
        if answered:
            self.known_pid = unit.main_pid
            self.broker_lost = False
        elif self.failures:
            say(f"{self.worker} did not answer, {self.failures} in a row; the broker did")
        # Asked anew: it may have begun to stop during the ping.
        unit = self.look_at_unit()
        if is_catatonic(self.failures, unit, self.known_pid, self.grace):
            self.end(unit.main_pid)
            self.failures = 0

    def end(self, main_pid: int) -> None:
        """End the worker's main process; systemd starts the worker again."""
        try:
            handle = os.pidfd_open(main_pid)
        except ProcessLookupError:
            return
        try:
            # With the handle held: the number can't have become another process.
            if self.look_at_unit().main_pid != main_pid:
                return
            say(f"{self.worker} is catatonic: ending its main process {main_pid}; running tasks may finish")
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            # A stopped process gets no other signal before this one.
            signal.pidfd_send_signal(handle, signal.SIGCONT)
            deadline = time.monotonic() + self.stop_timeout
            idle_since: float | None = None
            while main_pid in process_table():
                now = time.monotonic()
                if runs_tasks(main_pid):
                    idle_since = None
                elif idle_since is None:
                    idle_since = now
                if next_signal(now, idle_since, deadline) is not None:
                    say(f"{self.worker} does not go: killing its main process {main_pid}")
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    return
                time.sleep(PACE)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)
        say(f"{self.worker} ended")

    def reasons(self) -> dict[str, str]:
        """Return why the worker must take no task, by path; nothing when it may."""
        found = {}
        for path in self.paths:
            try:
                what = shortage(Space.of(path), self.min_free_mb, path in self.full)
            except OSError as error:
                what = str(error)
            if what:
                found[path] = what
        if self.drained and Path(self.drained).exists():
            found[self.drained] = "it is drained"
        return found

    def look_for_reasons(self) -> None:
        """Keep tasks away from the worker while there is a reason, and give it its queues back afterwards."""
        full = self.reasons()
        if full.keys() - self.full.keys():
            found = "; ".join(f"{path}: {what}" for path, what in full.items())
            say(f"{self.worker} must take no task. {found}")
        was_full, self.full = self.full, full
        # Looked at each time while there is one, as a restarted worker consumes again, and once more behind it.
        if full or was_full:
            done = False
            try:
                # A worker that is stopped, as a drained one is in the end, has nothing to say.
                done = self.look_at_unit().active == "active" and self.set_consuming(not full)
            except self.broker_errors as error:
                self.lose_broker(error)
            if not done:
                self.full = full or was_full

    def set_consuming(self, wanted: bool) -> bool:
        """Make the worker consume from all of its queues or from none; return whether it answered."""
        with self.app.connection_for_write() as connection:
            worker = worker_queues.Worker(self.app, self.worker, connection)
            if wanted and CANARY.exists():
                # Nobody but the canary opens it.
                return worker.queues() is not None
            return worker.consume(self.queues if wanted else frozenset(), say) is not None

    def run(self) -> None:
        """Watch for ever."""
        # An earlier watchdog may have taken the queues away: begin as after a full disk.
        self.full = dict.fromkeys(self.paths, "unknown")
        due = time.monotonic()
        while True:
            self.look_for_reasons()
            if time.monotonic() >= due:
                due = time.monotonic() + self.interval
                self.ping()
            time.sleep(min(PACE, max(0.0, due - time.monotonic())))


def main() -> None:
    """Watch the worker that the command line names."""
    # Tasks are the same user, and the broker's password is in the environment.
    memory.hide()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worker", help="Celery's name of the worker, as celery@worker1")
    parser.add_argument("paths", nargs="+", help="directories whose file systems must have room")
    parser.add_argument("--unit", default="airflow-worker.service", help="the worker's unit")
    parser.add_argument("--drained", default="", help="file that says that the worker is drained")
    parser.add_argument("--queues", required=True, help="its queues, with commas between them")
    parser.add_argument("--timeout", type=float, default=60, help="seconds without an answer (default 60)")
    parser.add_argument("--grace", type=float, default=120, help="seconds that a start may take (default 120)")
    parser.add_argument("--stop-timeout", type=float, default=3600, help="seconds for running tasks (default 3600)")
    parser.add_argument("--min-free-mb", type=int, default=512, help="MiB that must be free (default 512)")
    Watchdog(parser.parse_args()).run()


if __name__ == "__main__":
    main()
