"""Wait until one Celery worker answers a ping through the broker.

Much lighter than ``airflow celery`` or ``celery inspect``: it imports Celery
only. Exit status 0 when the worker answered, 1 when it did not in time.

Source of the broker: ``AIRFLOW__CELERY__BROKER_URL``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from celery import Celery
from kombu.exceptions import OperationalError


def main() -> int:
    """Ping until answered or out of time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worker", help="Celery's name of the worker, as celery@worker1")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to keep trying (default 60)")
    arguments = parser.parse_args()

    app = Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"])
    deadline = time.monotonic() + arguments.timeout
    error = "no answer"
    while time.monotonic() < deadline:
        try:
            if app.control.ping(destination=[arguments.worker], timeout=1.0):
                return 0
        except (OSError, OperationalError) as exception:  # the broker is not there (yet)
            error = str(exception)
            time.sleep(0.5)  # paces the retries of a condition that has no event to wait for
    print(f"{arguments.worker} did not answer within {arguments.timeout:g} s: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
