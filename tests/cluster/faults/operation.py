"""The project's playbooks, run on a cluster at work as a person runs them, and what must be true of its tasks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_client import wait_for
from cluster_inventory import PROJECT, Cluster, ansible_program

from faults import ledger
from faults.load import LOAD
from faults.machines import Machines

# Seconds. A rotation of all secrets of a cluster with pairs did not end within 40 minutes beside another scenario.
LONGEST = 4800


@dataclass(frozen=True)
class Done:
    """How a playbook ended.

    :param output: what it said, as it was printed.
    """

    status: int
    output: str

    @property
    def text(self) -> str:
        """What it said, on one line: Ansible wraps messages."""
        return " ".join(self.output.split())

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all hosts."""
        recap = self.output.partition("PLAY RECAP")[2]
        return sum(int(number) for number in re.findall(r"changed=(\d+)", recap))

    def must_succeed(self) -> Done:
        """Fail the test, with the end of the output, unless it succeeded."""
        assert self.status == 0, self.output[-6000:]
        return self

    def must_fail(self, why: str) -> Done:
        """Fail the test unless it failed and said why."""
        assert self.status != 0, self.output[-6000:]
        assert why in self.text, self.output[-6000:]
        return self


class Playbooks:
    """Runs playbooks on a cluster.

    :param logs: directory for what they say.
    :param always: options that every run gets.
    """

    def __init__(self, cluster: Cluster, logs: Path, *always: str) -> None:
        self.cluster = cluster
        self._logs = logs
        self._always = always

    def start(self, book: str, *options: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a playbook; return its process, which leads a session, and the file of what it says."""
        log = self._logs / f"{len(list(self._logs.iterdir()))}-{Path(book).stem}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [ansible_program("ansible-playbook"), *self.cluster.options, book, *self._always, *options],
                cwd=PROJECT,
                env=os.environ | {"ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return process, log

    def run(self, book: str, *options: str) -> Done:
        """Run a playbook to its end."""
        process, log = self.start(book, *options)
        try:
            process.wait(timeout=LONGEST)
        finally:
            kill(process)
        return Done(process.returncode, log.read_text())

    def kill_at(self, said: str, book: str, *options: str) -> None:
        """Kill a playbook, without any chance to say good-bye, when it has said something."""
        process, log = self.start(book, *options)
        try:
            wait_for(
                lambda: re.search(said, log.read_text()) or process.poll() is not None,
                what=said,
                seconds=LONGEST,
                interval=0.1,
            )
            assert process.poll() is None, log.read_text()[-6000:]
        finally:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a playbook that has not ended yet.

    The processes of its present task have sessions of their own, and end with the task.
    """
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def problems(machines: Machines, workers: Sequence[str], runs: Iterable[str], retries: bool = False) -> list[str]:
    """Return what the ledgers of DAG runs tell that must not be: a lost task, one that ran twice at once, or a retry.

    :param workers: every worker that may have run one of them.
    :param retries: whether tasks may have run again, as after a hand-over.
    """
    tasks = [f"load[{number}]" for number in range(LOAD["tasks"])]
    found = []
    for run_id in runs:
        executions = ledger.read(machines.ledger(run_id, workers))
        found += [f"{run_id}: {task} was lost" for task in ledger.lost(executions, tasks)]
        found += [f"{run_id}: {one.task} ran twice at once" for one, _ in ledger.overlapping(executions)]
        if not retries:
            found += [f"{run_id}: {one.task} was interrupted" for one in ledger.interrupted(executions)]
    return found
