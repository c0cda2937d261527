"""What the tests of external services share."""

from __future__ import annotations

import pytest
from browser import browser, chromium
from cluster_inventory import PROJECT, Cluster
from fixtures import client, machines, playbooks


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test."""
    return Cluster.read(PROJECT / "molecule/external/inventory")


@pytest.fixture
def browser_options(cluster: Cluster) -> tuple[str, ...]:
    """A person's browser finds the single sign-on server by its name."""
    return (f"--host-resolver-rules=MAP services1 {cluster.address('services1')}",)
