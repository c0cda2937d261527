"""What the backup tests share.

They run against local machines that an inventory describes and that may be treated roughly, the control node above all:
``pytest molecule/backup/tests --ansible-inventory <path>``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_inventory import Cluster
from faults.operation import Playbooks
from fixtures import cluster


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which backup.yml keeps its copy; no earlier cluster has left anything in it."""
    return tmp_path_factory.mktemp("copies")


@pytest.fixture(scope="session")
def playbooks(cluster: Cluster, copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """The playbooks, as a person runs them."""
    return Playbooks(cluster, tmp_path_factory.mktemp("logs"), "-e", f"backup_fetch_dir={copy}")
