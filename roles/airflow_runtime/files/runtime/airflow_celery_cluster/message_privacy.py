"""Keep the content of task messages out of all that a Celery worker publishes.

The message of a task holds a token of the Execution API. Whoever reads the events of the workers, or their answers to
Celery's ``inspect``, must not read the message. So the worker hides arguments, results, exception texts and settings.
The sender of a message cannot undo that: older schedulers put the arguments into the headers, too.
"""

from __future__ import annotations

from typing import Any

from celery.app.task import Task
from celery.worker.control import Panel, inspect_command
from celery.worker.request import Request

HIDDEN = "(hidden)"
# What an event of a request may say. Celery adds id of the task, worker, time and clock.
EVENT_FIELDS = frozenset({"runtime", "terminated", "signum", "expired", "requeue"})
# What ``inspect stats`` may say of the broker. The other entries include URLs and options with passwords.
BROKER_FIELDS = ("transport", "hostname", "port", "virtual_host")


class PrivateRequest(Request):
    """A task that this worker has received, without its arguments for everybody but the process that runs the task."""

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        self._argsrepr = self._kwargsrepr = HIDDEN
        # For the log of the process that runs the task.
        self._request_dict.update(argsrepr=HIDDEN, kwargsrepr=HIDDEN)
        self._failure = ""

    def info(self, safe: bool = False) -> dict[str, Any]:
        """Return what ``inspect`` answers; ``safe`` is what Celery calls the form without the arguments themselves."""
        return dict(super().info(safe=True))

    def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> Any:
        """Keep the kind of the exception, which its event may name."""
        self._failure = exc_info.type.__name__
        return super().on_failure(exc_info, *args, **options)

    def send_event(self, type: str, **fields: Any) -> None:
        """Send an event without result, text of an exception, and traceback."""
        shown = {name: value for name, value in fields.items() if name in EVENT_FIELDS}
        if "exception" in fields:
            shown["exception"] = self._failure
        super().send_event(type, **shown)


@inspect_command(alias="dump_conf")
def conf(state: Any, with_defaults: bool = False, **_: Any) -> dict[str, Any]:
    """List the settings; of those that are text, which may be a URL with a password, the names only."""
    table = state.app.conf.table(with_defaults=with_defaults)
    return {name: value if isinstance(value, bool | int | float) else HIDDEN for name, value in table.items()}


@inspect_command()
def stats(state: Any, **_: Any) -> dict[str, Any]:
    """Return statistics of the worker."""
    found: dict[str, Any] = state.consumer.controller.stats()
    broker = found.get("broker")
    if isinstance(broker, dict):
        found["broker"] = {name: broker[name] for name in BROKER_FIELDS if name in broker}
    return found


def install() -> None:
    """Give the worker the private form of requests, and no command that prints all settings as text."""
    for panel in (Panel.data, Panel.meta):
        panel.pop("report", None)
    # Celery makes requests of this class for every task of the worker.
    Task.Request = PrivateRequest
