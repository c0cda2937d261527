"""What the scale tests share: the cluster of scenario ``default``, and the same with two workers more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(PROJECT / "scripts"))

from airflow_client import AirflowClient  # noqa: E402
from cluster_inventory import Cluster  # noqa: E402
from faults.harness import DAG  # noqa: E402

SMALL = PROJECT / "molecule/default/inventory"


@pytest.fixture(scope="session")
def small() -> Cluster:
    """The cluster with two workers."""
    return Cluster.read(SMALL)


@pytest.fixture(scope="session")
def large() -> Cluster:
    """The cluster with four workers."""
    return Cluster.read(SMALL, PROJECT / "molecule/scale/inventory")


@pytest.fixture(scope="session")
def client(small: Cluster) -> AirflowClient:
    """A REST client, with the DAG of the load ready."""
    found = small.client()
    found.wait_for_dag(DAG, seconds=120)
    found.pause(DAG, False)
    return found
