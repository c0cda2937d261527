"""What the scale tests share: the cluster of scenario ``default``, and the same with two workers more."""

from __future__ import annotations

import pytest
from airflow_client import AirflowClient
from cluster_inventory import PROJECT, Cluster
from faults.harness import DAG

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
