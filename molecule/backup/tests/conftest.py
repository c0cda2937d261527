"""What the backup tests share.

They run against local machines that an inventory describes and that may be treated roughly, the control node above all:
``pytest molecule/backup/tests --ansible-inventory <path>``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(PROJECT / "scripts"))

from airflow_client import wait_for  # noqa: E402
from cluster_inventory import Cluster, ansible_program  # noqa: E402


class Playbooks:
    """Runs the project's playbooks on the cluster, as a person does.

    :param copy: the directory on this machine in which backup.yml keeps its copy.
    """

    def __init__(self, cluster: Cluster, copy: Path, logs: Path) -> None:
        self._cluster = cluster
        self._logs = logs
        self.copy = copy

    def start(self, name: str, *options: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a playbook; return its process, which leads a session, and the file of what it says."""
        log = self._logs / f"{len(list(self._logs.iterdir()))}-{Path(name).stem}.log"
        command = [ansible_program("ansible-playbook"), *self._cluster.options, name]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "-e", f"backup_fetch_dir={self.copy}", *options],
                cwd=PROJECT,
                env=os.environ | {"ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return process, log

    def run(self, name: str, *options: str, fails: bool = False) -> str:
        """Run a playbook to its end, which must be good, or bad if it ``fails``; return what it said."""
        process, log = self.start(name, *options)
        code = process.wait(timeout=2400)
        said = log.read_text()
        assert (code != 0) == fails, said[-6000:]
        return said

    def kill_at(self, task: str, name: str, *options: str) -> None:
        """Kill a playbook, without any chance to say good-bye, when it has begun a task."""
        process, log = self.start(name, *options)
        try:
            wait_for(
                lambda: task.encode() in log.read_bytes() or process.poll() is not None,
                what=task,
                seconds=1800,
                interval=0.1,
            )
            assert process.poll() is None, log.read_text()[-6000:]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster under test."""
    inventory = request.config.getoption("ansible_inventory") or PROJECT / "molecule/default/inventory"
    return Cluster.read(Path(inventory).resolve())


@pytest.fixture(scope="session")
def playbooks(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """The playbooks, with a copy that no earlier cluster has left anything in."""
    return Playbooks(cluster, tmp_path_factory.mktemp("copies"), tmp_path_factory.mktemp("logs"))
