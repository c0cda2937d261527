"""What the tests of a cluster with a host for each group share."""

from __future__ import annotations

import pytest
from cluster_inventory import PROJECT, Cluster
from fixtures import client, machines, playbooks


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test."""
    return Cluster.read(PROJECT / "molecule/apart/inventory")
