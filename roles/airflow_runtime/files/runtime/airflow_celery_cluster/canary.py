"""Give a worker the queue of the canary, or give it its own queues.

``take`` makes one worker the only one that consumes from the queue ``cluster_canary``. ``open`` makes it consume from
its own queues and no longer from that one. Both return when the worker says that it does, and can be run twice.

It imports Celery only. Source of the broker: ``AIRFLOW__CELERY__BROKER_URL``.
"""

from __future__ import annotations

import argparse
import sys
import time

from airflow_celery_cluster.celery_control import celery_app

QUEUE = "cluster_canary"


def changes(worker: str, active: dict[str, set[str]], queues: set[str]) -> list[tuple[str, str, str]]:
    """Return what is left to do as (``add_consumer`` or ``cancel_consumer``, queue, worker).

    :param active: the queues that each worker that answers consumes from.
    :param queues: the queues that the worker is to have; no other worker keeps ``cluster_canary`` if it is one of them.
    """
    wanted = [("add_consumer", queue, worker) for queue in sorted(queues - active.get(worker, set()))]
    holders = [name for name in sorted(active) if QUEUE in active[name]]
    losers = [name for name in holders if (name == worker) == (QUEUE not in queues)]
    return [("cancel_consumer", QUEUE, name) for name in losers] + wanted


def main() -> int:
    """Change what is left to change, until nothing is."""
    from kombu.exceptions import OperationalError

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["take", "open"])
    parser.add_argument("worker", help="Celery's name of the worker, as celery@worker1")
    parser.add_argument("--queues", default="", help="for open: its own queues, with commas between them")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to keep trying (default 60)")
    arguments = parser.parse_args()
    queues = {QUEUE} if arguments.what == "take" else set(arguments.queues.split(",")) - {""}
    if not queues:
        parser.error("open needs --queues")

    app = celery_app()
    deadline = time.monotonic() + arguments.timeout
    error = "no answer"
    while time.monotonic() < deadline:
        try:
            # Everybody has the whole second: who is silent for longer has no canary to lose.
            answers = app.control.inspect(timeout=1.0).active_queues() or {}
            active = {name: {queue["name"] for queue in found} for name, found in answers.items()}
            left = changes(arguments.worker, active, queues)
            if arguments.worker in active and not left:
                return 0
            error = f"left to do: {left}" if arguments.worker in active else "no answer"
            for what, queue, name in left:
                getattr(app.control, what)(queue, destination=[name])
        except (OSError, OperationalError) as exception:  # the broker is not there (yet)
            error = str(exception)
            time.sleep(0.5)  # paces the retries of a condition that has no event to wait for
    print(f"{arguments.worker}: {arguments.what} not done within {arguments.timeout:g} s: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
