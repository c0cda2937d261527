"""What the verification tests share.

They run against any cluster that an inventory describes and that may be
treated roughly: ``pytest molecule/default/tests --ansible-inventory <path>``.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import testinfra
from airflow_client import AirflowClient, DagRun, TaskInstance
from browser import artifacts, browser, browser_options, chromium
from cluster_inventory import PROJECT, SECRETS, Cluster, ansible_program
from testinfra.host import Host

UNITS = ("airflow-*", "redis-server.service", "postgresql@*", "haproxy.service")


def _inventory(config: pytest.Config) -> Path:
    return Path(config.getoption("ansible_inventory") or PROJECT / "inventory/local").resolve()


_clusters: dict[Path, Cluster] = {}


def _cluster(config: pytest.Config) -> Cluster:
    inventory = _inventory(config)
    if inventory not in _clusters:
        _clusters[inventory] = Cluster.read(inventory)
    return _clusters[inventory]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once per host of the group that its argument names."""
    groups = {"name": "airflow", "worker": "airflow_worker", "scheduler": "airflow_scheduler"}
    for argument, group in groups.items():
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, _cluster(metafunc.config).groups[group], scope="session")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster under test."""
    return _cluster(request.config)


@pytest.fixture(scope="session")
def client(cluster: Cluster) -> AirflowClient:
    """A REST client, logged in as the admin."""
    return cluster.client()


@pytest.fixture(scope="session")
def secrets(cluster: Cluster) -> dict[str, str]:
    """Every secret of the cluster by name."""
    return {name: cluster.password(name) for name in SECRETS}


@pytest.fixture(scope="session")
def connect(cluster: Cluster) -> Callable[[str], Host]:
    """Return root's view of a host by its inventory name, over the same SSH as Ansible's."""

    def connection(name: str) -> Host:
        return open_host(cluster, name)

    return connection


def open_host(cluster: Cluster, name: str) -> Host:
    """Connect to a host as its inventory says, and become root there."""
    variables = cluster.variables[name]
    user = f"{variables['ansible_user']}@" if variables["ansible_user"] else ""
    return testinfra.get_host(
        f"ssh://{user}{cluster.address(name)}:{variables['ansible_port']}",
        ssh_identity_file=variables["ansible_ssh_private_key_file"],
        ssh_extra_args=variables["ansible_ssh_common_args"] or "-o BatchMode=yes",
        sudo=True,
    )


@dataclass(frozen=True)
class Recap:
    """How one run of ansible-playbook ended."""

    status: int
    output: str

    @property
    def hosts(self) -> dict[str, dict[str, int]]:
        """The numbers of the recap, by host."""
        recap = self.output.partition("PLAY RECAP")[2]
        found = re.findall(r"^(\S+)\s*: (ok=.*)$", recap, re.MULTILINE)
        return {
            host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", numbers)} for host, numbers in found
        }

    def count(self, what: str) -> int:
        """Return a number of the recap, summed over all hosts."""
        return sum(numbers[what] for numbers in self.hosts.values())

    def must_succeed(self) -> Recap:
        """Fail the test, with the end of the output, unless the run succeeded."""
        assert self.status == 0, self.output[-6000:]
        assert self.hosts, self.output[-2000:]
        return self


Play = Callable[..., Recap]


def playbook_command(cluster: Cluster, *arguments: str, book: str = "site.yml") -> list[str]:
    """Return the command that runs a playbook of the project on the cluster."""
    return [ansible_program("ansible-playbook"), *cluster.options, book, *arguments]


def playbook_environment() -> dict[str, str]:
    """Return an environment in which Ansible's output is plain text."""
    return os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_CONFIG": "ansible.cfg"}


def play_on(cluster: Cluster, *arguments: str, book: str = "site.yml") -> Recap:
    """Run a playbook on a cluster: ``play_on(cluster, "--check", book="site.yml")``."""
    answer = subprocess.run(
        playbook_command(cluster, *arguments, book=book),
        cwd=PROJECT,
        env=playbook_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Recap(answer.returncode, answer.stdout)


@pytest.fixture(scope="session")
def play(cluster: Cluster) -> Play:
    """Run a playbook on the cluster under test."""
    return partial(play_on, cluster)


@pytest.fixture(scope="session")
def starts(cluster: Cluster, connect: Callable[[str], Host]) -> Callable[..., dict[str, str]]:
    """Return, for each unit of the cluster, an id that is new whenever the unit starts.

    A service that a timer starts has none: the timer may start the service at any time.
    """

    def snapshot(*hosts: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in hosts or cluster.groups["all"]:
            patterns = " ".join(f"'{unit}'" for unit in UNITS)
            shown = connect(name).check_output(f"systemctl show --property=Id,InvocationID,TriggeredBy {patterns}")
            for block in shown.split("\n\n"):
                values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
                if values.get("InvocationID") and ".timer" not in values.get("TriggeredBy", ""):
                    found[f"{name}:{values['Id'].removesuffix('.service')}"] = values["InvocationID"]
        return found

    return snapshot


def restarted(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the units that started, stopped, appeared or vanished between two snapshots."""
    return {unit for unit in before.keys() | after.keys() if before.get(unit) != after.get(unit)}


@pytest.fixture(scope="session")
def run_cluster_check(client: AirflowClient) -> Callable[..., list[TaskInstance]]:
    """Run tasks that record their host, and return them when they are done."""

    def run(tasks: int, seconds: float) -> list[TaskInstance]:
        client.wait_for_dag("cluster_check", seconds=120)
        client.pause("cluster_check", False)
        run_id = client.trigger("cluster_check", {"tasks": tasks, "seconds": seconds})
        finished: DagRun = client.wait_for_run("cluster_check", run_id, seconds=300)
        found = client.tasks("cluster_check", run_id)
        assert finished.state == "success", found
        return [task for task in found if task.task_id == "record_host"]

    return run
