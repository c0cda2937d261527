"""A cluster in which no two groups share a host: no process finds by chance what belongs to another one."""

from __future__ import annotations

import pytest
from airflow_client import AirflowClient
from cluster_inventory import Cluster
from faults.harness import DAG, Scene, wait_for_logs
from faults.machines import Machines
from faults.operation import Playbooks

pytestmark = pytest.mark.long


def test_each_group_has_a_host_of_its_own(cluster: Cluster) -> None:
    groups = {name: hosts for name, hosts in cluster.groups.items() if hosts and name not in ("all", "ungrouped")}
    parts = [hosts for name, hosts in groups.items() if name not in ("airflow", "control_plane")]
    assert len(parts) == 9
    assert sorted(host for hosts in parts for host in hosts) == sorted(set().union(*parts))


def test_tasks_run_and_the_cluster_is_healthy(
    cluster: Cluster, machines: Machines, client: AirflowClient, playbooks: Playbooks
) -> None:
    scene = Scene(cluster, machines, client)
    # A deferred task has a part of its log from the triggerer.
    scene.begin_load({"tasks": 4, "deferred": 1, "seconds": 2, "beat": 0.1})
    assert scene.wait_for_run(scene.run_id, 180).state == "success"
    assert wait_for_logs(scene, scene.executions()) == []
    assert "Healthy." in playbooks.run("playbooks/status.yml").must_succeed().output
    assert cluster.flower_workers() == set(cluster.workers)


@pytest.mark.parametrize(
    ("book", "parameters"),
    [
        ("playbooks/backup.yml", ()),
        ("playbooks/dags.yml", ()),
        ("playbooks/rotate_secrets.yml", ("-e", "cluster_rotate=all")),
        ("playbooks/drain_worker.yml", ("-e", "cluster_worker=worker1", "-e", "cluster_force=yes")),
        ("playbooks/undrain_worker.yml", ("-e", "cluster_worker=worker1")),
    ],
)
def test_an_operation_works(playbooks: Playbooks, book: str, parameters: tuple[str, ...]) -> None:
    playbooks.run(book, *parameters).must_succeed()


def test_tasks_run_after_the_operations(client: AirflowClient, playbooks: Playbooks) -> None:
    run_id = client.trigger(DAG, {"tasks": 4, "seconds": 1})
    assert client.wait_for_run(DAG, run_id, seconds=180).state == "success"
    assert "Healthy." in playbooks.run("playbooks/status.yml").must_succeed().output
    assert playbooks.run("site.yml").must_succeed().changed == 0
