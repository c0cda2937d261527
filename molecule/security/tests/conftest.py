"""What the security tests share.

They run against any local machines that an inventory describes and that may be treated roughly:
``pytest molecule/security/tests --ansible-inventory <path>``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(PROJECT / "scripts"))

from cluster_inventory import Cluster  # noqa: E402


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster under test."""
    inventory = request.config.getoption("ansible_inventory") or PROJECT / "molecule/default/inventory"
    return Cluster.read(Path(inventory).resolve())
