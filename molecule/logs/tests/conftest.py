"""What the tests of the logs share.

They run against local machines that an inventory describes and that may be treated roughly:
``pytest molecule/logs/tests --ansible-inventory <path>``.
"""

from __future__ import annotations

import pytest
from browser import artifacts, browser, browser_options, chromium
from cluster_inventory import Cluster
from faults.harness import DAG, Scene
from faults.machines import Machines
from fixtures import cluster, machines, playbooks

STORE = "/var/lib/airflow-log-store"
# Run on a machine: hands its standard input to the log shipper.
SEND = """
import socket, sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(10)
    connection.connect("/run/airflow-log-shipper/lines.sock")
    connection.sendall(sys.stdin.buffer.read())
"""


def send(machines: Machines, worker: str, text: str) -> None:
    """Send lines as the code of a task can."""
    machines.told(worker, text, "runuser", "--user=airflow-worker", "--", "python3", "-c", SEND)


@pytest.fixture
def worker(cluster: Cluster) -> str:
    """A worker."""
    return cluster.workers[0]


@pytest.fixture
def store(cluster: Cluster) -> str:
    """The host of the log store."""
    (host,) = cluster.groups["airflow_api_server"]
    return host


@pytest.fixture
def scene(cluster: Cluster, machines: Machines) -> Scene:
    """The cluster with a healthy start, and its DAG of the load ready."""
    client = cluster.client()
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    found = Scene(cluster, machines, client)
    assert found.wait_until_healthy() == []
    return found
