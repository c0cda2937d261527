"""Wait until Celery workers answer a ping through the broker.

Much lighter than ``airflow celery`` or ``celery inspect``: it imports Celery
only. Exit status 0 when every worker answered, 1 when one did not in time.

With ``--execution-api`` each worker must also reach the Execution API, with the client and the environment that the
supervisors of its tasks have.

Source of the broker: ``AIRFLOW__CELERY__BROKER_URL``.
"""

from __future__ import annotations

import argparse
import sys
import time

from airflow_celery_cluster import memory

# It runs as the user of the tasks and has the broker's password: hidden before anything that takes time.
memory.hide()

from kombu.exceptions import OperationalError  # noqa: E402

from airflow_celery_cluster.celery_control import celery_app  # noqa: E402

# Seconds for an answer. To reach the Execution API, a worker has CHECK_TIMEOUT of `connections` for each of two steps.
ANSWER_TIMEOUT = {"ping": 1.0, "execution_api": 5.0}


def main() -> int:
    """Ping until answered or out of time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workers", nargs="+", help="Celery's names of the workers, as celery@worker1")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to keep trying (default 60)")
    parser.add_argument("--execution-api", action="store_true", help="ask each worker to reach the Execution API, too")
    arguments = parser.parse_args()
    command = "execution_api" if arguments.execution_api else "ping"

    app = celery_app()
    deadline = time.monotonic() + arguments.timeout
    silent = set(arguments.workers)
    error = "no answer"
    while time.monotonic() < deadline:
        try:
            answers = app.control.broadcast(
                command, destination=sorted(silent), reply=True, timeout=ANSWER_TIMEOUT[command], limit=len(silent)
            )
            for worker, answer in (pair for found in answers or [] for pair in found.items()):
                if "ok" in answer:
                    silent.discard(worker)
                else:
                    error = f"{worker} says: {answer.get('error')}"
            if not silent:
                return 0
        except (OSError, OperationalError) as exception:  # the broker is not there (yet)
            error = str(exception)
            time.sleep(0.5)  # paces the retries of a condition that has no event to wait for
    print(f"{', '.join(sorted(silent))} did not answer within {arguments.timeout:g} s: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
