"""What the fault tests share."""

from __future__ import annotations

import pytest
from cluster_inventory import PROJECT, Cluster
from fixtures import client, machines


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test."""
    return Cluster.read(PROJECT / "molecule/default/inventory", PROJECT / "molecule/failover/inventory")
