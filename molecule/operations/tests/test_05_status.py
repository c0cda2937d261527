"""The report of status.yml for a healthy cluster, for an unhealthy one, and for settings that were changed by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from airflow_client import AirflowClient, wait_for
from cluster_inventory import Cluster
from faults.harness import DAG
from faults.machines import Machines
from faults.operation import Done, Playbooks
from test_10_drain import queues, start_long_run

STATUS = "playbooks/status.yml"
WORKER_CONFIG = "/etc/airflow/worker/airflow.cfg"


def report(done: Done) -> dict[str, Any]:
    """Return the report that was printed for machines."""
    (line,) = (line for line in done.output.splitlines() if line.startswith("{"))
    return dict(json.loads(line))


def host_reasons(found: dict[str, Any]) -> dict[str, list[str]]:
    """Return the reasons of each host that has some."""
    by_host: dict[str, list[str]] = {}
    for reason in found["reasons"]:
        host, _, what = reason.partition(": ")
        by_host.setdefault(host, []).append(what)
    return by_host


@pytest.fixture
def edited(cluster: Cluster, machines: Machines) -> Iterator[str]:
    """Change a worker's configuration by hand; return the worker. Put the file back with the time that it had."""
    worker, kept = cluster.workers[0], shlex.quote(f"{WORKER_CONFIG}.kept")
    machines.shell(worker, f"cp -p {WORKER_CONFIG} {kept} && echo '# by hand' >>{WORKER_CONFIG}")
    yield worker
    machines.shell(worker, f"mv {kept} {WORKER_CONFIG}")


def test_a_healthy_cluster_is_called_healthy(
    cluster: Cluster, machines: Machines, playbooks: Playbooks, client: AirflowClient
) -> None:
    run_id, _ = start_long_run(client, machines, cluster, cluster.workers[0], seconds=45)
    done = playbooks.run(STATUS, "-e", "cluster_output=json").must_succeed()
    found = report(done)
    assert done.changed == 0
    assert found["reasons"] == []
    assert {name for name, host in found["hosts"].items() if host["healthy"]} == set(machines.names)
    # Every slot is taken, and none of the tasks is over yet.
    slots = {f"celery@{name}": cluster.variables[name]["airflow_worker_concurrency"] for name in cluster.workers}
    assert {name: worker["active"] for name, worker in found["cluster"]["workers"].items()} == slots
    assert sum(found["cluster"]["database"]["running"].values()) == sum(slots.values())
    assert client.wait_for_run(DAG, run_id, seconds=180).state == "success"
    told = playbooks.run(STATUS).must_succeed().output
    assert "Healthy." in told
    for name in (*machines.names, *slots, "airflow-scheduler", "SchedulerJob", "default"):
        assert name in told


def test_everything_that_is_wrong_is_told_at_once(cluster: Cluster, machines: Machines, playbooks: Playbooks) -> None:
    (control,), lost = cluster.groups["airflow_triggerer"], cluster.workers[-1]
    machines.run(control, "systemctl", "stop", "airflow-triggerer")
    machines.power_off(lost)
    try:
        done = playbooks.run(STATUS, "-e", "cluster_output=json")
        told = host_reasons(report(done))
        # With its exit code: what runs it by itself reads no table.
        assert done.status == 2
        assert set(told) == {control, lost}
        assert any(reason.startswith("unit airflow-triggerer is inactive") for reason in told[control]), told
        assert told[lost][0].startswith("unreachable: ")
        assert "the Celery worker does not answer" in told[lost]
    finally:
        machines.power_on(lost)
        machines.run(control, "systemctl", "start", "airflow-triggerer")
    wait_for(
        lambda: queues(machines, lost) == ["default"],
        what=f"{lost} to take tasks",
        seconds=120,
        transient=(RuntimeError,),
    )


def test_a_file_that_is_newer_than_its_process_is_drift(playbooks: Playbooks, edited: str) -> None:
    told = host_reasons(report(playbooks.run(STATUS, "-e", "cluster_output=json").must_fail("not healthy")))
    assert told == {edited: [f"drift: airflow-worker runs with an older {WORKER_CONFIG}"]}


@pytest.mark.long
def test_a_setting_that_the_inventory_does_not_have_is_drift(playbooks: Playbooks, edited: str) -> None:
    done = playbooks.run(STATUS, "--check", "-e", "cluster_output=json").must_fail("not healthy")
    told = host_reasons(report(done))
    assert set(told) == {edited}
    assert any("site.yml would change it" in reason and WORKER_CONFIG in reason for reason in told[edited]), told
    assert {host["drift_checked"] for host in report(done)["hosts"].values()} == {True}
