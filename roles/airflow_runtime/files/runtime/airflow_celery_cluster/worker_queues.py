"""Have a Celery worker stop taking tasks, or take them again, without stopping it; and hand over what it still runs.

``stop-consuming`` returns when the worker consumes from no queue: running tasks go on. ``consume`` returns when it
answers and consumes from all of its queues. ``look`` asks. ``hand-over`` ends the running tasks of a worker that is
being stopped, as the stop itself would do at the end of its own time: they run again on other workers.

Prints one JSON object. Exit status 0 when the worker is as wanted, 1 when it did not answer in time. Imports Celery
only, so it costs a fraction of what ``airflow celery`` does.

Source of the broker: ``AIRFLOW__CELERY__BROKER_URL``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_celery_cluster.celery_control import celery_app

# Seconds for one answer of the worker.
ANSWER_SECONDS = 2.0
# Seconds between two looks at a condition that has no event to wait for.
PACE = 0.5
HAND_OVER_SECONDS = 60.0


@dataclass(frozen=True)
class Seen:
    """What a worker says of itself.

    :param queues: names of the queues that it consumes from.
    :param tasks: tasks that it has taken: those that run, and those that are about to.
    """

    queues: frozenset[str]
    tasks: int


def to_change(active: frozenset[str], wanted: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return the queues to consume from besides the active ones, and those to leave: all if none is wanted.

    One that somebody has added by hand stays as long as any is wanted.
    """
    return sorted(wanted - active), [] if wanted else sorted(active)


def broker_errors(app: Any) -> tuple[type[Exception], ...]:
    """Return what an exchange with the broker may raise: neither kombu's nor redis' own errors are an OSError."""
    from kombu.exceptions import KombuError

    connection = app.connection_for_write()
    return (OSError, KombuError, *connection.connection_errors, *connection.channel_errors)


class Worker:
    """A Celery worker, asked through the broker.

    :param app: a Celery application that knows the broker.
    :param name: Celery's name of the worker, as ``celery@worker1``.
    :param connection: an open connection to the broker.
    """

    def __init__(self, app: Any, name: str, connection: Any) -> None:
        self._app = app
        self._name = name
        self._connection = connection

    def _ask(self, what: str) -> Any:
        """Return the answer to a question of Celery's inspect; None for none."""
        inspect = self._app.control.inspect(
            destination=[self._name], timeout=ANSWER_SECONDS, connection=self._connection
        )
        return (getattr(inspect, what)() or {}).get(self._name)

    def queues(self) -> frozenset[str] | None:
        """Return the queues that it consumes from; None when it does not answer."""
        answer = self._ask("active_queues")
        return None if answer is None else frozenset(str(queue["name"]) for queue in answer)

    def look(self) -> Seen | None:
        """Return its queues and the number of its tasks; None when it does not answer."""
        queues, active, reserved = self.queues(), self._ask("active"), self._ask("reserved")
        if queues is None or active is None or reserved is None:
            return None
        return Seen(queues, len(active) + len(reserved))

    def consume(self, wanted: frozenset[str], say: Callable[[str], None] | None = None) -> bool | None:
        """Make it consume from these queues, or from none.

        :param wanted: names of the queues; empty for none.
        :param say: is told of each change.
        :return: whether something had to be changed; None when it does not answer.
        """
        active = self.queues()
        if active is None:
            return None
        missing, surplus = to_change(active, wanted)
        for queues, change, verb in (
            (missing, self._app.control.add_consumer, "consumes again from"),
            (surplus, self._app.control.cancel_consumer, "no longer consumes from"),
        ):
            for queue in queues:
                change(queue, destination=[self._name], connection=self._connection)
                if say:
                    say(f"{self._name} {verb} queue {queue}")
        return bool(missing or surplus)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether a condition came true within some seconds; it is looked at once at least."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(PACE)
    return True


def set_queues(app: Any, name: str, wanted: frozenset[str], seconds: float) -> dict[str, Any] | None:
    """Make a worker consume from these queues, or from none, and wait until it does; None when it did not in time."""
    errors = broker_errors(app)
    changed = False

    def done() -> bool:
        nonlocal changed
        try:
            with app.connection_for_write() as connection:
                answer = Worker(app, name, connection).consume(wanted)
        except errors:  # the broker is not there (yet)
            return False
        changed = changed or bool(answer)
        # Asked for is not done: only when nothing is left to change.
        return answer is False

    return {"changed": changed, "queues": sorted(wanted)} if until(done, seconds) else None


def main_process(unit: str) -> int:
    """Return the main process of a unit; 0 for none."""
    shown = subprocess.run(
        ["systemctl", "show", "--property=MainPID", "--value", unit], capture_output=True, text=True, check=True
    )
    return int(shown.stdout.strip() or 0)


def hand_over(unit: str, seconds: float) -> dict[str, Any] | None:
    """End the tasks of a worker that is being stopped until it has ended itself; None when it did not in time."""
    import psutil

    from airflow_celery_cluster import fence

    worker = main_process(unit)
    handed: set[int] = set()

    def ended() -> bool:
        if not worker or main_process(unit) != worker:
            return True
        try:
            handed.update(fence.running_tasks(worker))
            fence.hand_over(worker)
        except psutil.NoSuchProcess:
            return True
        return False

    return {"changed": bool(handed), "tasks": len(handed)} if until(ended, seconds) else None


def look(name: str, seconds: float) -> dict[str, Any] | None:
    """Return what a worker says of itself; None when it said nothing in time."""
    app = celery_app()
    errors = broker_errors(app)
    seen: Seen | None = None

    def answered() -> bool:
        nonlocal seen
        try:
            with app.connection_for_write() as connection:
                seen = Worker(app, name, connection).look()
        except errors:
            return False
        return seen is not None

    if not until(answered, seconds) or seen is None:
        return None
    return {"changed": False, "queues": sorted(seen.queues), "tasks": seen.tasks}


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["look", "stop-consuming", "consume", "hand-over"])
    parser.add_argument("worker", help="Celery's name of the worker, as celery@worker1")
    parser.add_argument("--queues", default="", help="its queues, with commas between them, for consume")
    parser.add_argument("--unit", default="airflow-worker.service", help="its unit, for hand-over")
    parser.add_argument("--timeout", type=float, default=30, help="seconds to keep trying (default 30)")
    arguments = parser.parse_args()
    queues = frozenset(arguments.queues.split(",")) - {""}
    if arguments.action == "consume" and not queues:
        parser.error("consume needs --queues")
    if arguments.action == "hand-over":
        result = hand_over(arguments.unit, max(arguments.timeout, HAND_OVER_SECONDS))
    elif arguments.action == "look":
        result = look(arguments.worker, arguments.timeout)
    else:
        wanted = queues if arguments.action == "consume" else frozenset[str]()
        result = set_queues(celery_app(), arguments.worker, wanted, arguments.timeout)
    if result is None:
        what = "ended" if arguments.action == "hand-over" else "answered"
        print(f"{arguments.worker} has not {what} within {arguments.timeout:g} s", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
