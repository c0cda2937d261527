"""Read what the workers publish, as a login of the broker can: events, and answers to Celery's ``inspect``.

Runs on a machine, with a Python of the runtime and the environment of a process. Prints one JSON object: ``events``,
and ``answers`` by question.

- ``waiting WORKER TOKEN``, on the machine of the worker: tasks with this token wait in the worker, and fail at last;
- ``running WORKER NUMBER FILE``: until so many tasks have succeeded; creates the file when it listens;
- ``command WORKER``: send commands; print what became of each.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from celery import Celery
from celery.events import EventReceiver

QUESTIONS: dict[str, dict[str, Any]] = {
    "active": {},
    "reserved": {},
    "scheduled": {},
    "revoked": {},
    "registered": {},
    "active_queues": {},
    "stats": {},
    "conf": {"with_defaults": True},
    "dump_conf": {"with_defaults": True},
    "report": {},
}
# None of them changes anything where it succeeds.
COMMANDS: dict[str, dict[str, Any]] = {
    "ping": {},
    "enable_events": {},
    "rate_limit": {"task_name": "execute_workload", "rate_limit": None},
    "cancel_consumer": {"queue": "no_such_queue"},
    "revoke": {"task_id": "no-such-task"},
}
# More than one worker has slots for, so that each gets one.
TASKS = 40
SECONDS = 60

app = Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"])
app.conf.result_backend = "disabled://"
worker = sys.argv[2]
events: list[dict[str, Any]] = []
answers: dict[str, list[Any]] = {}


def ask(question: str, **arguments: Any) -> list[Any]:
    """Ask the worker, and keep what the answer says."""
    found: list[Any] = app.control.broadcast(question, arguments=arguments, destination=[worker], reply=True, timeout=2)
    said = [answer[worker] for answer in found if worker in answer]
    answers.setdefault(question, []).extend(one for one in said if one)
    return said


def ask_everything() -> None:
    """Ask every question, and for each task that an event has named."""
    for question, arguments in QUESTIONS.items():
        ask(question, **arguments)
    ask("query_task", ids=list({event["uuid"] for event in events if "uuid" in event}))


def count(kind: str) -> int:
    """Return the number of events of a kind."""
    return sum(event["type"] == kind for event in events)


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {SECONDS} s; events {[event['type'] for event in events][-50:]}")
        time.sleep(0.1)  # the pace of looking; the condition decides


def listen() -> None:
    """Collect events."""
    with app.connection() as connection:
        # The name server of the local machines restarts when another cluster gets a machine.
        connection.ensure_connection(max_retries=SECONDS, interval_start=0.5, interval_step=0)
        EventReceiver(connection, handlers={"*": events.append}, app=app).capture(wakeup=False)


@contextmanager
def stopped_pool() -> Iterator[None]:
    """Stop the processes of the worker that run tasks: what the worker takes has to wait."""
    shown = ["systemctl", "show", "--property=MainPID", "--value", "airflow-worker.service"]
    main = int(subprocess.run(shown, capture_output=True, text=True, check=True).stdout)
    pool = psutil.Process(main).children()
    for process in pool:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in pool:
            process.send_signal(signal.SIGCONT)


def send(token: str, **options: Any) -> None:
    """Send a task whose exception quotes its argument."""
    workload = {"token": token, "dag_rel_path": "no.py"}
    app.send_task("execute_workload", args=[json.dumps(workload)], queue="default", **options)


if sys.argv[1] == "command":
    outcomes: dict[str, list[Any] | str] = {}
    for name, arguments in COMMANDS.items():
        try:
            outcomes[name] = ask(name, **arguments)
        except Exception as error:
            outcomes[name] = type(error).__name__
    print(json.dumps(outcomes))
    sys.exit()

threading.Thread(target=listen, daemon=True).start()
wait_until(lambda: count("worker-heartbeat"), "an event of a worker")
if sys.argv[1] == "waiting":
    token = sys.argv[3]
    with stopped_pool():
        # First: a worker without a free slot takes none.
        for _ in range(TASKS // 4):
            send(token, countdown=15)
        for _ in range(TASKS):
            send(token)
        wait_until(lambda: any(ask("reserved")), "a task that waits for a slot")
        wait_until(lambda: any(ask("scheduled")), "a task that waits for its time")
        ask_everything()
    wait_until(lambda: count("task-failed") >= TASKS + TASKS // 4, "the end of the tasks")
else:
    Path(sys.argv[4]).touch()
    deadline = time.monotonic() + SECONDS
    while count("task-succeeded") < int(sys.argv[3]) and time.monotonic() < deadline:
        ask_everything()
ask_everything()
print(json.dumps({"events": events, "answers": answers}))
