"""What the tests of single roles share."""

from __future__ import annotations

from pathlib import Path

import pytest
import testinfra
from cluster_inventory import Cluster
from testinfra.host import Host


@pytest.fixture(scope="session")
def machines(request: pytest.FixtureRequest) -> Cluster:
    """The machines of the scenario, which are no cluster."""
    return Cluster.read(Path(request.config.getoption("ansible_inventory")))


def root_of(machines: Cluster, name: str) -> Host:
    """Connect to a machine as its inventory says, and become root there."""
    variables = machines.variables[name]
    return testinfra.get_host(
        f"ssh://{variables['ansible_user']}@{machines.address(name)}",
        ssh_identity_file=variables["ansible_ssh_private_key_file"],
        ssh_extra_args=variables["ansible_ssh_common_args"],
        sudo=True,
    )


@pytest.fixture(scope="session")
def service1(machines: Cluster) -> Host:
    """The machine with the services."""
    return root_of(machines, "service1")


@pytest.fixture(scope="session")
def web1(machines: Cluster) -> Host:
    """The machine with a web server and with the clients of the services."""
    return root_of(machines, "web1")


@pytest.fixture(scope="session")
def address(machines: Cluster) -> str:
    """The address of the services."""
    return machines.address("service1")


@pytest.fixture(scope="session")
def password(machines: Cluster) -> str:
    """The password that the foreign playbooks have made for their application."""
    return (machines.inventories[0] / ".passwords/shop").read_text().strip()
