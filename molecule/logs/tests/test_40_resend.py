"""Logs that a log store has lost come back from the hosts that wrote them."""

from __future__ import annotations

from airflow_client import wait_for
from conftest import STORE
from faults.harness import DAG, TRANSIENT, Scene, tasks_of, wait_for_logs
from faults.machines import Machines
from faults.operation import Playbooks


def test_an_empty_log_store_is_filled_again(scene: Scene, machines: Machines, playbooks: Playbooks, store: str) -> None:
    scene.begin_load({"tasks": 4, "deferred": 1, "seconds": 5})
    assert scene.wait_for_run(scene.run_id, 120).state == "success"
    executions = scene.executions()
    assert wait_for_logs(scene, executions) == []
    instances = tasks_of(scene, scene.run_id)
    before = {(task.task_id, task.map_index): scene.client.log(DAG, task) for task in instances}
    # As on a new host: the log store has started with an empty directory.
    machines.shell(store, f"systemctl stop airflow-log-store; rm -r {STORE}/tasks/*; systemctl start airflow-log-store")
    assert "no line of this log" in scene.client.log(DAG, instances[0])

    done = playbooks.run("playbooks/resend_logs.yml").must_succeed()
    assert done.changed > 0

    def logs() -> dict[tuple[str, int], str]:
        return {(task.task_id, task.map_index): scene.client.log(DAG, task) for task in instances}

    wait_for(lambda: logs() == before, what="the logs as before", seconds=30, transient=TRANSIENT)
