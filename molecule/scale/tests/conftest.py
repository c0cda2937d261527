"""What the scale tests share: the cluster of scenario ``default``, and the same with two workers more."""

from __future__ import annotations

import pytest
from cluster_inventory import PROJECT, Cluster
from fixtures import client, firmware, machines

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
def cluster(small: Cluster) -> Cluster:
    """The cluster of the shared fixtures."""
    return small
