"""The name under which a machine is known to the cluster."""

from __future__ import annotations

import os
import socket


def address() -> str:
    """Return the address at which the other machines reach this one.

    Airflow stores it with each task instance, and shows it. The system's own
    host name is not good enough: on many sites no other machine can resolve it.

    Source: ``AIRFLOW_CLUSTER_ADDRESS``, which the unit files set to the
    inventory's ``airflow_address``. Default: the system's host name.
    """
    return os.environ.get("AIRFLOW_CLUSTER_ADDRESS") or socket.gethostname()
