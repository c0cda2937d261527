"""Flower as an observer: run without Airflow, it reads what the workers publish, and sends nothing.

``airflow celery flower`` imports Airflow, takes three times the memory, and asks the workers with commands, which needs
a broker login that may command workers. This program shows the events that the workers send by themselves, and the
lengths of the queues. It never writes to the broker: its login may only subscribe to events and count messages.

Sources: ``AIRFLOW__CELERY__BROKER_URL`` and ``AIRFLOW__CELERY__FLOWER_BASIC_AUTH`` (``user:password``), TLS and
transport options of the broker in the file that ``AIRFLOW_CONFIG`` names, queues in ``AIRFLOW_CLUSTER_QUEUES``. The
command line and ``FLOWER_*`` are Flower's own, for address, port and certificate.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import signal
import ssl
import sys
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any

# A task takes about 4 kB in memory [measured]; Flower has 109 MB on a control node of 2 GB.
MAX_TASKS = 5_000
MAX_WORKERS = 1_000
CONTENT = frozenset({"args", "kwargs", "result", "traceback"})
TRUTH = {"true": True, "false": False}
SSL_FILES = {"ssl_ca_certs": "ssl_cacert"}
SSL_CLIENT_FILES = {"ssl_keyfile": "ssl_key", "ssl_certfile": "ssl_cert"}


def setting(text: str) -> Any:
    """Return an option of ``airflow.cfg`` as Airflow reads the options of the broker's transport."""
    if text.lower() in TRUTH:
        return TRUTH[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def celery_settings(config: ConfigParser, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of the Celery application that Flower watches.

    :param config: ``airflow.cfg`` of the process.
    :param environment: environment of the process.
    """
    settings: dict[str, Any] = {
        "broker_url": environment["AIRFLOW__CELERY__BROKER_URL"],
        "broker_transport_options": {},
        "result_backend": "disabled://",
        # A queue that expires would need scripts, which write.
        "event_queue_expires": None,
        "accept_content": ["json"],
    }
    if config.has_section("celery_broker_transport_options"):
        options = config.items("celery_broker_transport_options")
        settings["broker_transport_options"] = {name: setting(value) for name, value in options}
    if config.getboolean("celery", "ssl_active", fallback=False):
        mutual = config.getboolean("celery", "ssl_mutual_tls", fallback=True)
        files = SSL_FILES | (SSL_CLIENT_FILES if mutual else {})
        settings["broker_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED} | {
            name: value for name, option in files.items() if (value := config.get("celery", option, fallback=""))
        }
    return settings


def celery_app(settings: Mapping[str, Any], queues: list[str]) -> Any:
    """Return a Celery application that cannot send a command, and whose channels do not write to Redis."""
    from celery import Celery
    from celery.app.control import Control
    from kombu import Queue
    from kombu.transport.redis import Channel

    class NoControl(Control):
        """Sends no command to any worker."""

        def broadcast(self, *_: Any, **__: Any) -> None:
            """Do nothing: every command and every question of Celery's control is sent by this method."""

    def bind(channel: Any, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Keep the subscription in this process. Kombu would also write it to Redis, where nobody needs it."""
        channel._fanout_queues[queue] = (exchange, routing_key.replace("#", "*"))

    Channel._queue_bind = bind
    Channel._delete = lambda *_, **__: None

    app = Celery("flower", control=NoControl)
    app.conf.update(settings)
    app.conf.task_default_queue = queues[0]
    app.conf.task_queues = [Queue(name) for name in queues]
    return app


def without_content(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event without what an older worker, which does not hide it, tells of the message of a task."""
    kept = {name: value for name, value in event.items() if name not in CONTENT}
    if not str(kept.get("exception", "")).isidentifier():
        kept.pop("exception", None)
    return kept


class Workers:
    """The workers as their events show them, in place of Flower's inspector, which asks each worker.

    :param events: Flower's events.
    """

    # Flower waits for the answers to these.
    inspect_methods = ()

    def __init__(self, events: Any) -> None:
        self._events = events

    def inspect(self, _worker: str | None = None) -> asyncio.Future[None]:
        """Return a question that has been answered."""
        future = self._events.io_loop.asyncio_loop.create_future()
        future.set_result(None)
        return future

    @property
    def workers(self) -> dict[str, dict[str, Any]]:
        """What Flower's page of a worker and its API show, by name of the worker."""
        return {
            name: {
                "stats": {
                    "pid": worker.pid,
                    "total": {"tasks": worker.processed or 0},
                    "broker": {},
                    "running tasks": worker.active,
                    "load average": worker.loadavg,
                    "version of Celery": worker.sw_ver,
                }
            }
            for name, worker in self._events.state.workers.items()
        }


def main() -> None:
    """Run Flower until SIGTERM."""
    from flower.app import Flower
    from flower.command import apply_env_options, extract_settings, setup_logging, sigterm_handler
    from flower.options import options
    from flower.urls import settings

    config = ConfigParser()
    config.read_string(Path(os.environ["AIRFLOW_CONFIG"]).read_text(encoding="utf-8"))
    app = celery_app(celery_settings(config, os.environ), os.environ["AIRFLOW_CLUSTER_QUEUES"].split(","))

    options.parse_command_line(sys.argv)
    apply_env_options()
    options.basic_auth = [os.environ["AIRFLOW__CELERY__FLOWER_BASIC_AUTH"]]
    options.read_only = True
    options.enable_events = False
    options.max_tasks = MAX_TASKS
    options.max_workers = MAX_WORKERS
    extract_settings()
    setup_logging()

    flower = Flower(capp=app, options=options, **settings)
    flower.inspector = Workers(flower.events)
    receive = flower.events.on_event
    flower.events.on_event = lambda event: receive(without_content(event))
    atexit.register(flower.stop)
    signal.signal(signal.SIGTERM, sigterm_handler)
    flower.start_http_server()
    flower.start()


if __name__ == "__main__":
    main()
