"""What the tests of external services share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(PROJECT / "scripts"))

from airflow_client import AirflowClient  # noqa: E402
from browser import browser, chromium  # noqa: E402, F401
from cluster_inventory import Cluster  # noqa: E402
from faults.harness import DAG  # noqa: E402
from faults.machines import Machines  # noqa: E402
from faults.operation import Playbooks  # noqa: E402


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test."""
    return Cluster.read(PROJECT / "molecule/external/inventory")


@pytest.fixture(scope="session")
def machines(cluster: Cluster) -> Machines:
    """Its machines, from outside."""
    return Machines(cluster)


@pytest.fixture(scope="session")
def playbooks(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """The playbooks, to be run on the cluster."""
    return Playbooks(cluster, tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="session")
def client(cluster: Cluster) -> AirflowClient:
    """A REST client, with the DAG of the load ready."""
    found = cluster.client()
    found.wait_for_dag(DAG, seconds=120)
    found.pause(DAG, False)
    return found
