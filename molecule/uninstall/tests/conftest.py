"""What the tests of the removal share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(PROJECT / "scripts"))

from cluster_inventory import Cluster  # noqa: E402
from faults.machines import Machines  # noqa: E402
from faults.operation import Playbooks  # noqa: E402


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test, and a machine beside it."""
    return Cluster.read(PROJECT / "molecule/default/inventory", PROJECT / "molecule/uninstall/inventory")


@pytest.fixture(scope="session")
def machines(cluster: Cluster) -> Machines:
    """Its machines, from outside."""
    return Machines(cluster)


@pytest.fixture(scope="session")
def playbooks(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """The playbooks, to be run on the cluster."""
    return Playbooks(cluster, tmp_path_factory.mktemp("logs"))
