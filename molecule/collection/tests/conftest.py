"""What the tests of the installed collection share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from airflow_client import AirflowClient
from cluster_inventory import PROJECT, Cluster


@pytest.fixture(scope="session")
def client(request: pytest.FixtureRequest) -> AirflowClient:
    """A REST client of the cluster that the installed collection has deployed."""
    return Cluster.read(Path(request.config.getoption("ansible_inventory"))).client()


@pytest.fixture(scope="session")
def log() -> str:
    """The log of the first run, with that of the playbooks before it."""
    return (PROJECT / f".cache/collection-{os.environ['MOLECULE_DEBIAN']}/ansible.log").read_text()
