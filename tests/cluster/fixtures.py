"""Fixtures that several scenarios share. A ``conftest.py`` imports those that it does not define itself.

The tests run against local machines that an inventory describes and that may be treated roughly:
``pytest molecule/operations/tests --ansible-inventory <path>``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_client import AirflowClient
from cluster_inventory import PROJECT, Cluster
from faults.harness import DAG
from faults.machines import Machines
from faults.operation import Playbooks


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster under test: that of ``--ansible-inventory``, else that of scenario ``default``."""
    inventory = request.config.getoption("ansible_inventory") or PROJECT / "molecule/default/inventory"
    return Cluster.read(Path(inventory).resolve())


@pytest.fixture(scope="session")
def machines(cluster: Cluster) -> Machines:
    """The machines of the cluster, from outside."""
    return Machines(cluster)


@pytest.fixture
def firmware(machines: Machines) -> Iterator[None]:
    """Local machines have no firmware that starts them again after a reboot: this does."""
    over = threading.Event()

    def keep_on() -> None:
        while not over.wait(1):
            for name in machines.names:
                if not machines.is_on(name):
                    machines.power_on(name)

    thread = threading.Thread(target=keep_on, name="firmware")
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture(scope="session")
def playbooks(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """The playbooks, to be run on the cluster as a person runs them."""
    return Playbooks(cluster, tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="session")
def client(cluster: Cluster) -> AirflowClient:
    """A REST client, with the DAG of the load ready."""
    found = cluster.client()
    found.wait_for_dag(DAG, seconds=120)
    found.pause(DAG, False)
    return found
