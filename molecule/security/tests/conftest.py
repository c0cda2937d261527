"""What the security tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(PROJECT / "scripts"))

from cluster_inventory import Cluster  # noqa: E402


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test."""
    return Cluster.read(PROJECT / "molecule/default/inventory")
