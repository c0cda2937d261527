"""A pool of workers: queues, processes that come and go, environment, packages. Runs on the older Airflow already."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from airflow_client import wait_for
from cluster_inventory import PROJECT, Cluster
from faults.machines import Machines
from faults.operation import Playbooks

pytestmark = pytest.mark.long

POOL = "worker2"
SECRET = 'not for $everybody"s eyes'
DAG = """
import os

from airflow.sdk import dag, task


@dag(schedule=None)
def pool_environment():
    @task(queue="reports")
    def environment():
        return [os.environ["REPORTS_HOME"], os.environ["REPORTS_TOKEN"]]

    environment()


pool_environment()
"""


def release(machines: Machines, host: str) -> dict[str, str]:
    """Return what a host runs."""
    found: dict[str, str] = json.loads(machines.run(host, "cat", "/opt/airflow/current/release.json"))
    return found


def test_a_pool_has_a_release_of_its_own_of_the_same_airflow(cluster: Cluster, machines: Machines) -> None:
    releases = {host: release(machines, host) for host in cluster.groups["airflow"]}
    assert len({found["airflow_version"] for found in releases.values()}) == 1
    assert len({found["id"] for host, found in releases.items() if host != POOL}) == 1
    assert releases[POOL]["id"] != releases["worker1"]["id"]
    program = "import inflection; print(inflection.pluralize('pool'))"
    assert "pools" in machines.run(POOL, "/opt/airflow/current/bin/python", "-c", program)
    said = machines.run("worker1", "/opt/airflow/current/bin/python", "-c", program, check=False, errors=True)
    assert "No module named 'inflection'" in said


def test_the_versions_of_the_shared_lock_stay(machines: Machines) -> None:
    def versions(host: str) -> dict[str, str]:
        sbom = json.loads(machines.run(host, "cat", "/opt/airflow/current/sbom.json"))
        return {part["name"].lower(): part["version"] for part in sbom["components"]}

    shared, pool = versions("worker1"), versions(POOL)
    assert {name: pool.get(name) for name in shared} == shared
    assert pool.keys() - shared.keys() == {"inflection"}


def test_the_environment_reaches_the_tasks_and_nobody_else(
    cluster: Cluster, machines: Machines, playbooks: Playbooks, tmp_path: Path
) -> None:
    shutil.copytree(PROJECT / "dags", tmp_path / "dags")
    (tmp_path / "dags" / "pool_environment_dag.py").write_text(DAG)
    playbooks.run("playbooks/dags.yml", "-e", json.dumps({"airflow_dags_dir": str(tmp_path / "dags")})).must_succeed()
    client = cluster.client()
    client.wait_for_dag("pool_environment", seconds=120)
    client.pause("pool_environment", False)
    run_id = client.trigger("pool_environment")
    assert client.wait_for_run("pool_environment", run_id, seconds=120).state == "success"
    (task,) = client.tasks("pool_environment", run_id)
    assert cluster.host_of(task.hostname) == POOL
    assert client.result("pool_environment", task) == ["/srv/reports", SECRET]
    playbooks.run("playbooks/dags.yml").must_succeed()

    assert "REPORTS" not in machines.shell("worker1", "cat /etc/airflow/secrets/worker*.env")
    units = machines.shell(POOL, "systemctl show airflow-worker; systemctl cat airflow-worker")
    assert "everybody" not in units
    mode = machines.run(POOL, "stat", "--format=%a %U", "/etc/airflow/secrets/worker-environment.env")
    assert mode.strip() == "600 root"


def test_processes_follow_the_tasks_and_slots_count_the_most(cluster: Cluster, machines: Machines) -> None:
    client = cluster.client()
    others = sum(
        int(cluster.variables[worker]["airflow_worker_concurrency"]) for worker in cluster.workers if worker != POOL
    )
    assert client.call("GET", "/pools/default_pool")["slots"] == others + 6
    client.wait_for_dag("failover_load", seconds=120)
    client.pause("failover_load", False)
    run_id = client.trigger("failover_load", {"tasks": others + 6, "seconds": 20})

    def running() -> bool:
        tasks = [task for task in client.tasks("failover_load", run_id) if task.task_id == "load"]
        on_pool = [task for task in tasks if task.state == "running" and cluster.host_of(task.hostname) == POOL]
        return len(on_pool) == 6

    wait_for(running, what=f"6 tasks on {POOL}", seconds=60)
    assert client.wait_for_run("failover_load", run_id, seconds=120).state == "success"


@pytest.mark.parametrize("worker", ["worker1", POOL])
def test_a_worker_consumes_from_its_own_queues(cluster: Cluster, machines: Machines, worker: str) -> None:
    assert queues(cluster, machines)[worker] == ({"default", "reports"} if worker == POOL else {"default"})


def queues(cluster: Cluster, machines: Machines) -> dict[str, set[str]]:
    """Return the queues that each worker consumes from now."""
    program = (
        "import json, os; from celery import Celery; "
        "found = Celery(broker=os.environ['AIRFLOW__CELERY__BROKER_URL']).control.inspect(timeout=2).active_queues(); "
        "print(json.dumps({name.split('@')[1]: [queue['name'] for queue in its] for name, its in found.items()}))"
    )
    script = (
        "set -a; . /etc/airflow/secrets/worker.env; "
        f'exec /opt/airflow/current/bin/python -c "{program}"'  # nothing in it that the shell would expand
    )
    said = machines.shell(cluster.workers[0], script)
    return {name: set(its) for name, its in json.loads(said.splitlines()[-1]).items()}
