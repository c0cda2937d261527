"""Say what the cluster's tasks, queues and workers do, as one line of JSON.

Reads the metadata database, the broker and what the Celery workers answer; changes nothing. Runs as the scheduler,
which has the secrets of both: ``airflow-run scheduler airflow_celery_cluster.status``. A part that does not answer is
an entry of ``errors``, and the rest is still told.

A message in Redis holds no time. The age of the oldest one is therefore that of the queue's oldest task instance in
state ``queued`` in the metadata database: it is counted from when the scheduler queued it until a worker starts it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from typing import Any

from airflow_celery_cluster.celery_control import celery_app

RUNNING = "SELECT hostname, count(*) FROM task_instance WHERE state = 'running' GROUP BY hostname"
QUEUED = """SELECT queue, count(*), EXTRACT(EPOCH FROM now() - min(queued_dttm))
    FROM task_instance WHERE state = 'queued' GROUP BY queue"""
# A process that was killed leaves its job "running": the newest of each host counts.
JOBS = """SELECT job_type, hostname, EXTRACT(EPOCH FROM now() - max(latest_heartbeat))
    FROM job WHERE state = 'running' GROUP BY job_type, hostname"""
LIMITS = {
    "SchedulerJob": ("scheduler", "scheduler_health_check_threshold"),
    "TriggererJob": ("triggerer", "triggerer_health_check_threshold"),
    "DagProcessorJob": ("dag_processor", "health_check_threshold"),
}


def without_secrets(text: str) -> str:
    """Return the first line of a message without what stands before the @ of a URL."""
    return re.sub(r"//[^/\s]*@", "//***@", text.strip().partition("\n")[0])


def database() -> dict[str, Any]:
    """Return running and queued tasks, the age of heartbeats in seconds, and the slots of default_pool."""
    from airflow import settings
    from airflow.configuration import conf
    from sqlalchemy import text

    with settings.get_engine().connect() as connection:
        running = {str(host): int(count) for host, count in connection.execute(text(RUNNING))}
        queued = {
            str(queue): {"tasks": int(count), "oldest": None if age is None else float(age)}
            for queue, count, age in connection.execute(text(QUEUED))
        }
        jobs = [
            {"type": str(kind), "host": str(host), "age": float(age), "limit": conf.getfloat(*LIMITS[kind])}
            for kind, host, age in connection.execute(text(JOBS))
            if kind in LIMITS and age is not None
        ]
        slots = connection.execute(text("SELECT slots FROM slot_pool WHERE pool = 'default_pool'")).scalar()
    return {
        "running": running,
        "queued": queued,
        "jobs": jobs,
        "pool_slots": slots,
        "default_queue": conf.get("operators", "default_queue"),
    }


def workers(app: Any, seconds: float) -> dict[str, dict[str, Any]]:
    """Return concurrency, tasks and queues of each Celery worker that answers in time."""
    stats = app.control.inspect(timeout=seconds).stats() or {}
    if not stats:
        return {}
    # Only those that have answered are asked the rest, so that nothing waits for the dead.
    ask = app.control.inspect(destination=sorted(stats), timeout=seconds, limit=len(stats))
    active = ask.active() or {}
    queues = ask.active_queues() or {}
    return {
        name: {
            "concurrency": answer.get("pool", {}).get("max-concurrency"),
            "active": len(active[name]) if name in active else None,
            "queues": sorted(queue["name"] for queue in queues[name]) if name in queues else None,
        }
        for name, answer in stats.items()
    }


def depths(app: Any, queues: set[str]) -> dict[str, int]:
    """Return how many messages wait in each queue, of all priorities."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        return {
            queue: sum(
                channel.client.llen(f"{queue}{channel.sep}{step}" if step else queue) for step in channel.priority_steps
            )
            for queue in sorted(queues)
        }


def main() -> None:
    """Ask all, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--timeout", type=float, default=3, help="seconds that Celery workers have to answer (default 3)"
    )
    arguments = parser.parse_args()
    app = celery_app()
    errors: dict[str, str] = {}

    def attempt(part: str, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Exception as error:  # whatever it is, the other parts are still told
            errors[part] = without_secrets(f"{type(error).__name__}: {error}")
            return None

    known = attempt("database", database)
    answered = attempt("workers", lambda: workers(app, arguments.timeout))
    queues = {queue for worker in (answered or {}).values() for queue in worker["queues"] or []}
    if known:
        queues |= {known["default_queue"], *known["queued"]}
    waiting = attempt("broker", lambda: depths(app, queues))
    print(json.dumps({"database": known, "workers": answered, "queues": waiting, "errors": errors}))


if __name__ == "__main__":
    main()
