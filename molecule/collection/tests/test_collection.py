"""A cluster that the installed collection has deployed, without this repository's `ansible.cfg`."""

from __future__ import annotations

import re

from airflow_client import AirflowClient

DAG = "hello"


def test_the_first_run_prints_no_warning(log: str) -> None:
    assert "PLAY [Workers]" in log
    assert re.findall(r"^.*WARNING\].*", log, re.MULTILINE) == []


def test_no_play_gathers_all_facts(log: str) -> None:
    assert "TASK [Gathering Facts]" not in log


def test_the_dags_of_the_user_run(client: AirflowClient) -> None:
    client.wait_for_dag(DAG, seconds=60)
    client.pause(DAG, False)
    run = client.wait_for_run(DAG, client.trigger(DAG), seconds=120)
    [task] = client.tasks(DAG, run.run_id)
    assert (run.state, task.state) == ("success", "success"), client.log(DAG, task)
    assert client.result(DAG, task) == f"Hello from {task.hostname}"


def test_no_dag_of_the_collection_is_deployed(client: AirflowClient) -> None:
    assert client.dag("get_stocks") is None
    assert client.dag("cluster_check") is None
