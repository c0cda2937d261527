"""What the test of the tutorial needs: a reader with a clean clone and machines."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster_inventory import PROJECT, Cluster
from tutorial_page import merged

SCENARIOS = PROJECT / "molecule/default/inventory"
# Hosts of the page, by their addresses
PLACES = {
    "192.0.2.10": "control1",
    "192.0.2.21": "worker1",
    "192.0.2.22": "worker2",
    "192.0.2.23": "worker3",
    "192.0.2.24": "worker4",
}
# Settings of the inventory of the other scenarios that the reader needs: for small machines that share one host, and
# the way from here to the package index.
SETTINGS = (
    "airflow_host_memory_mb",
    "airflow_worker_concurrency",
    "airflow_runtime_index_url",
    "airflow_runtime_ca_file",
    "airflow_runtime_proxy_url",
)


class Reader:
    """Does what the page says, in one shell that keeps its directory and its environment.

    :param cluster: the machines.
    :param root: directory with the clone in ``clone``.
    """

    def __init__(self, cluster: Cluster, root: Path) -> None:
        self.cluster = cluster
        self.clone = root / "clone"
        self.site = root / "my-airflow"
        self._state = root / "state"
        self._state.write_text(f"cd {self.clone}\n")
        variables = cluster.variables["control1"]
        self._user = variables["ansible_user"]
        self._ssh = root / "ssh_config"
        self._ssh.write_text(
            f"User {self._user}\n"
            f"IdentityFile {variables['ansible_ssh_private_key_file']}\n"
            f"UserKnownHostsFile {Path(variables['ansible_ssh_private_key_file']).parent}/known_hosts\n"
            "GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\nIdentitiesOnly yes\n"
        )
        # The reader's own environment, and not that of this test.
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE", "MOLECULE", "PYTEST", "VIRTUAL_ENV"))
        } | {
            "PATH": os.pathsep.join(
                one for one in os.environ["PATH"].split(os.pathsep) if not one.endswith(".venv/bin")
            ),
            "ANSIBLE_SSH_COMMON_ARGS": f"-F {self._ssh}",
            "ANSIBLE_NOCOLOR": "1",
        }
        for role in ("AUTHOR", "COMMITTER"):
            self._environment |= {f"GIT_{role}_NAME": "Reader", f"GIT_{role}_EMAIL": "reader@example.org"}

    def here(self, text: str) -> str:
        """Return text of the page with the addresses, the login and the repository that the reader has."""
        for address, host in PLACES.items():
            text = text.replace(address, self.cluster.address(host))
        text = text.replace("https://example.org/airflow-celery-cluster.git", f"file://{self.clone}")
        return text.replace("debian@", f"{self._user}@")

    def run(self, command: str) -> tuple[int, str]:
        """Run one command; return its exit status and what it has printed."""
        script = (
            f"source {self._state}\n{self.here(command)}\nstatus=$?\n"
            f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} >{self._state}\nexit $status\n"
        )
        if os.getuid() == 0:
            script = 'sudo() { "$@"; }\n' + script
        done = subprocess.run(
            ["bash", "-c", script],
            env=self._environment,
            # To the question of apt-get
            input="y\n" if "apt-get" in command else "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"$ {command}\n{done.stdout}")
        return done.returncode, done.stdout

    def run_on_host(self, login: str, command: str) -> tuple[int, str]:
        """Run one command in a session of the SSH login that the page opens, such as ``ssh debian@192.0.2.10``."""
        return self.run(f"{login.replace('ssh ', f'ssh -F {self._ssh} ')} {command!r}")

    def write(self, file: str, content: str) -> None:
        """Put a block of the page into a file of the reader's repository."""
        path = self.site / file
        if path.suffix == ".yml":
            old = yaml.safe_load(path.read_text())
            content = yaml.safe_dump(merged(old, yaml.safe_load(self.here(content))), sort_keys=False)
        path.write_text(content)

    def describe_machines(self) -> None:
        """Set the login, as the page says, and what is particular to the machines of this test."""
        of_scenarios = yaml.safe_load((SCENARIOS / "group_vars/all/main.yml").read_text())
        self.write(
            "inventory/production/group_vars/all/main.yml",
            yaml.safe_dump({"ansible_user": self._user} | {name: of_scenarios[name] for name in SETTINGS}),
        )


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The five machines."""
    return Cluster.read(SCENARIOS, PROJECT / "molecule/scale/inventory")


@pytest.fixture(scope="session")
def reader(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader with a clean clone; the machines of the demo are gone afterwards."""
    root = tmp_path_factory.mktemp("tutorial")
    subprocess.run(["git", "clone", "--quiet", PROJECT, root / "clone"], check=True)
    subprocess.run(["git", "-C", root / "clone", "checkout", "--quiet", "-B", "main"], check=True)
    reader = Reader(cluster, root)
    status, _ = reader.run("for one in control1 worker1 worker2; do ! podman container exists acc-demo-$one; done")
    assert status == 0, "the demo is on this machine: run make destroy first"
    yield reader
    if (reader.clone / ".venv").exists():
        status, output = reader.run(f"cd {reader.clone} && make destroy")
        assert status == 0, output[-2000:]
