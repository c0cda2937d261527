"""docs/troubleshooting.md shows what a person sees: each symptom is provoked, and the message compared with the page.

Further entries are provoked where the mechanism is tested: watchdog, lease and canary in the scenarios ``failover`` and
``upgrade``, backups in ``backup``, databases and front door in ``security``, other applications on a host in
``uninstall`` and in ``tests/preflight``.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow_client import AirflowClient, http, wait_for
from cluster_inventory import PROJECT, Cluster
from faults.harness import DAG
from faults.machines import Machines
from faults.operation import Playbooks
from test_10_drain import start_long_run

pytestmark = pytest.mark.long

PAGE = (PROJECT / "docs/troubleshooting.md").read_text()
STATUS, PREFLIGHT, VALIDATE = (f"playbooks/{name}.yml" for name in ("status", "preflight", "validate_inventory"))
DRAIN, UNDRAIN = "playbooks/drain_worker.yml", "playbooks/undrain_worker.yml"
STORE = "/var/lib/airflow-log-store/tasks"


def messages_of(heading: str) -> list[re.Pattern[str]]:
    """Return the messages of a section of the page. Ansible wraps lines, so white space is a single space."""
    section = PAGE.partition(f"\n### {heading}\n")[2]
    block = re.match(r"\n((?:    .*\n)+)", section)
    assert block, heading
    found: list[str] = []
    for line in block[1].splitlines():
        # The lines of a finding below its first one have a further indentation.
        if found and line.startswith("       "):
            found[-1] += " " + line.strip()
        else:
            found.append(line.strip())
    return [re.compile(pattern_of(message)) for message in found]


def pattern_of(message: str) -> str:
    """Return a message as a regular expression, with anything for ``<name>`` and ``...``."""
    parts = re.split(r"<[^>]*>|\.\.\.", message)
    return ".*?".join(re.escape(" ".join(part.split())) for part in parts)


@dataclass
class Person:
    """Provokes symptoms on the cluster.

    :param folder: directory for further inventories.
    """

    cluster: Cluster
    machines: Machines
    playbooks: Playbooks
    client: AirflowClient
    folder: Path

    @property
    def worker(self) -> str:
        """The last worker."""
        return self.cluster.workers[-1]

    @property
    def control(self) -> str:
        """The host of everything else."""
        return self.cluster.first("airflow_scheduler")

    def refused(self, book: str, *options: str, host: str = "all", **variables: Any) -> str:
        """Run a playbook that must fail, with variables in a further inventory; return what it prints."""
        if variables:
            inventory = self.folder / f"{len(list(self.folder.iterdir()))}.yml"
            # Of hosts, because variables of the group all in a file give way to those of group_vars/all.
            hosts = [host] if host != "all" else self.cluster.groups["all"]
            inventory.write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys(hosts, variables)}}))
            options = ("-i", str(inventory), *options)
        done = self.playbooks.run(book, *options)
        assert done.status != 0, done.output[-3000:]
        return done.output

    def status(self) -> str:
        """Return the report."""
        return self.playbooks.run(STATUS).output

    @contextmanager
    def stopped(self, host: str, unit: str) -> Iterator[None]:
        """Stop a unit for a while."""
        self.machines.run(host, "systemctl", "stop", unit)
        try:
            yield
        finally:
            self.machines.run(host, "systemctl", "start", unit)

    @contextmanager
    def file(self, host: str, path: str) -> Iterator[None]:
        """Create an empty file for a while."""
        self.machines.run(host, "touch", path)
        try:
            yield
        finally:
            self.machines.run(host, "rm", path)

    @contextmanager
    def all_slots(self, seconds: int) -> Iterator[None]:
        """Have a task on every slot for a while. The tasks succeed."""
        run_id, _ = start_long_run(self.client, self.machines, self.cluster, self.worker, seconds)
        try:
            yield
        finally:
            assert self.client.wait_for_run(DAG, run_id, seconds=300).state == "success"


def no_worker_for_a_queue(person: Person) -> str:
    return person.refused(
        DRAIN, "-e", f"cluster_worker={person.worker}", host=person.worker, airflow_worker_queues=["default", "lonely"]
    )


def a_drained_worker(person: Person) -> str:
    person.playbooks.run(DRAIN, "-e", f"cluster_worker={person.worker}", "-e", "cluster_why=disk").must_succeed()
    try:
        return person.status()
    finally:
        person.playbooks.run(UNDRAIN, "-e", f"cluster_worker={person.worker}").must_succeed()


def a_quarantined_worker(person: Person) -> str:
    with person.file(person.worker, "/etc/airflow/worker/canary.env"):
        return person.status()


def a_long_task(person: Person) -> str:
    with person.all_slots(120):
        return person.refused(DRAIN, "-e", f"cluster_worker={person.worker}", "-e", "cluster_drain_timeout=5")


def all_slots_in_use(person: Person) -> str:
    with person.all_slots(60):
        # The rows only, without the heading of the table.
        return "\n".join(line for line in person.status().splitlines() if "celery@" in line)


def a_log_that_is_gone(person: Person) -> str:
    run_id = person.client.trigger(DAG, {"tasks": 1, "seconds": 1})
    assert person.client.wait_for_run(DAG, run_id, seconds=120).state == "success"
    [task, *_] = person.client.tasks(DAG, run_id)
    person.machines.shell(person.control, f"find {STORE} -path '*/run_id={run_id}/*' -type f -delete")
    return person.client.log(DAG, task)


def a_shipper_that_is_away(person: Person) -> str:
    with person.stopped(person.worker, "airflow-log-shipper"):
        run_id = person.client.trigger(DAG, {"tasks": 8, "seconds": 1})
        assert person.client.wait_for_run(DAG, run_id, seconds=180).state == "success"
        return person.machines.run(person.worker, "journalctl", "--unit=airflow-worker", "--since=-5min")


def a_stopped_worker(person: Person) -> str:
    with person.stopped(person.worker, "airflow-worker"):
        return person.status()


def a_stopped_dag_processor(person: Person) -> str:
    with person.stopped(person.control, "airflow-dag-processor"):
        found: list[str] = []

        def late() -> bool:
            found[:] = [person.status()]
            return "DagProcessorJob" in found[0]

        wait_for(late, what="the heartbeat too old", seconds=180, interval=5)
        return found[0]


def an_edited_file(person: Person) -> str:
    path = "/etc/airflow/worker/airflow.cfg"
    person.machines.shell(person.worker, f"cp -p {path} {path}.kept && echo '# by hand' >>{path}")
    try:
        return person.status()
    finally:
        person.machines.shell(person.worker, f"mv {path}.kept {path}")


def too_many_logins(person: Person) -> str:
    url = f"{person.cluster.url}/auth/token"
    return "\n".join(str(http("POST", url, body={}, ca_file=person.cluster.ca_file)) for _ in range(30))


def dag_with_a_queue(person: Person) -> str:
    dags = person.folder / "dags"
    dags.mkdir()
    (dags / "lonely.py").write_text(
        "from airflow.sdk import dag, task\n\n\n@dag(schedule=None)\ndef lonely():\n"
        '    @task(queue="nobody")\n    def one():\n        pass\n\n    one()\n\n\nlonely()\n'
    )
    return person.refused(VALIDATE, airflow_dags_dir=str(dags))


CASES: dict[str, Callable[[Person], str]] = {
    "The inventory is refused": lambda person: person.refused(
        VALIDATE, airflow_worker_concurrency=0, airflow_triggerer_capacity=0
    ),
    "A misspelt variable is refused": lambda person: person.refused(VALIDATE, airflow_worker_concurency=4),
    "A misspelt parameter of -e is refused": lambda person: person.refused(
        DRAIN, "-e", "cluster_forse=yes", "-e", f"cluster_worker={person.worker}"
    ),
    "A proxy is refused": lambda person: person.refused(
        VALIDATE, airflow_triggerer_environment={"ALL_PROXY": "socks5://proxy.example.org:1080"}
    ),
    "The memory plan is refused": lambda person: person.refused(VALIDATE, airflow_host_memory_mb=700),
    "The queue of a DAG file is refused": dag_with_a_queue,
    "A host is unreachable by SSH": lambda person: person.refused(PREFLIGHT, host=person.worker, ansible_port=9),
    "The sudo password is missing": lambda person: person.refused(
        PREFLIGHT, host=person.worker, ansible_python_interpreter="/usr/bin/python9"
    ),
    "The host belongs to another cluster": lambda person: person.refused(
        PREFLIGHT, airflow_fernet_key=base64.urlsafe_b64encode(os.urandom(32)).decode()
    ),
    "A deployment is refused as a downgrade": lambda person: person.refused(PREFLIGHT, airflow_version="3.3.0"),
    "New firewall rules are taken back": lambda person: person.refused(
        "playbooks/firewall.yml", "--limit", person.worker, firewall_ssh_sources=["192.0.2.1"]
    ),
    "A run with tags is refused": lambda person: person.refused(
        "site.yml", "--tags", "airflow_worker", airflow_runtime_extra_requirements=["bokeh_sampledata", "iniconfig"]
    ),
    "A rollback is refused": lambda person: person.refused("playbooks/rollback.yml"),
    "A restore is refused: the point in time": lambda person: person.refused(
        "playbooks/restore.yml", "-e", "cluster_restore_to=2099-01-01T00:00:00"
    ),
    "A drain is refused: a queue would have no worker": no_worker_for_a_queue,
    "A drain fails: a task still runs": a_long_task,
    "A task waits: default_pool is full": all_slots_in_use,
    "A task waits: the worker is drained": a_drained_worker,
    "A task waits: the worker is quarantined": a_quarantined_worker,
    "A worker is missing in Flower and in the report": a_stopped_worker,
    "A DAG is not in the UI": a_stopped_dag_processor,
    "A deployment was interrupted": an_edited_file,
    "The log of a task cannot be read": a_log_that_is_gone,
    "Log lines wait on a host": a_shipper_that_is_away,
    # The last one: for a minute the address may not log in.
    "Login fails with status 429": too_many_logins,
}


@pytest.fixture(scope="module")
def person(
    cluster: Cluster,
    machines: Machines,
    playbooks: Playbooks,
    client: AirflowClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Person:
    """Somebody who makes mistakes."""
    return Person(cluster, machines, playbooks, client, tmp_path_factory.mktemp("mistakes"))


@pytest.mark.parametrize("heading", CASES)
def test_the_page_shows_what_is_seen(person: Person, heading: str) -> None:
    seen = " ".join(CASES[heading](person).split())
    assert any(message.search(seen) for message in messages_of(heading)), (
        f"{[message.pattern for message in messages_of(heading)]}\n{seen[-6000:]}"
    )
