"""The Celery application of the programs that command workers, ask them or watch them. It has no results."""

from __future__ import annotations

import os
from typing import Any

# As those of the worker, airflow.cfg [celery_broker_transport_options]; shorter, as nothing long is waited for here.
TRANSPORT_OPTIONS = {
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    # Without a limit kombu would try for minutes inside one question.
    "max_retries": 1,
}


def celery_app() -> Any:
    """Return the application. Source of the broker: ``AIRFLOW__CELERY__BROKER_URL``."""
    # Here, so that a Python without Celery can test the programs.
    from celery import Celery

    app = Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"])
    app.conf.broker_transport_options = TRANSPORT_OPTIONS
    # A result backend would be the broker of all places.
    app.conf.result_backend = "disabled://"
    return app
