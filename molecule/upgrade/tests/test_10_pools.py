"""A pool of workers: queues, processes that come and go, environment, packages. Runs on the older Airflow already."""

from __future__ import annotations

import json

import pytest
from airflow_client import wait_for
from cluster_inventory import Cluster
from faults.machines import Machines

pytestmark = pytest.mark.long

POOL = "worker2"
SECRET = 'not for $everybody"s eyes'


def release(machines: Machines, host: str) -> dict[str, str]:
    """Return what a host runs."""
    found: dict[str, str] = json.loads(machines.run(host, "cat", "/opt/airflow/current/release.json"))
    return found


def main_environment(machines: Machines, host: str) -> dict[str, str]:
    """Return the environment of the worker's main process."""
    pid = machines.main_process(host, "airflow-worker")
    lines = machines.run(host, "cat", f"/proc/{pid}/environ").split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


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


def test_the_environment_reaches_the_worker_and_nobody_else(machines: Machines) -> None:
    environment = main_environment(machines, POOL)
    assert (environment["REPORTS_HOME"], environment["REPORTS_TOKEN"]) == ("/srv/reports", SECRET)
    assert "REPORTS_HOME" not in main_environment(machines, "worker1")
    shown = machines.run(POOL, "systemctl", "show", "airflow-worker") + machines.run(
        POOL, "systemctl", "cat", "airflow-worker"
    )
    assert "everybody" not in shown
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
