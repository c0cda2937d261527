"""Airflow's own example DAGs, those of the core and of the standard provider, end as upstream intends.

The expectation is that a run succeeds, and that each of its tasks succeeds at the first attempt or is skipped. Which
tasks a branch skips is often random. The tables name what differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow_client import AirflowClient, ApiError, wait_for
from conftest import Recap

pytestmark = [pytest.mark.long, pytest.mark.same_everywhere]

BUNDLES = ("example_dags", "apache-airflow-providers-standard-example-dags")
INTERNET = "asks a server on the internet"
INDEX = "installs packages from an index in a task"
LEFT_OUT = {
    "example_dag_decorator": INTERNET,
    "example_retry_policy": INTERNET,
    "tutorial_objectstorage": INTERNET,
    "example_branch_operator": INDEX,
    "example_branch_python_operator_decorator": INDEX,
    "example_python_decorator": INDEX,
    "example_python_operator": INDEX,
    "tutorial_taskflow_api_virtualenv": INDEX,
    "example_sensors": "expects a file of one task in /tmp of the others, so all of them on one machine",
    "example_external_task_marker_child": "waits for a task group that no DAG has",
}
# DAGs whose runs fail with Airflow 3.3.2, whatever deploys it.
FAILS = {
    "example_failed_dag": "fails on purpose",
    "example_task_state_store_async": "calls a method that Airflow does not have yet",
}
SAME_URI = "two examples give one URI different names; the file that is parsed first decides which is active"
NO_EVENT = "reads an event that another example may not have produced yet, or whose asset is inactive"
# DAGs whose runs end in success or failure, whatever deploys Airflow 3.3.2.
EITHER = {
    "asset_with_extra_by_context": SAME_URI,
    "asset_with_extra_by_yield": SAME_URI,
    "asset_with_extra_from_classic_operator": SAME_URI,
    "read_asset_event": NO_EVENT,
    "read_asset_event_from_classic": NO_EVENT,
}
# DAGs of which a task fails at its first attempt on purpose.
RETRIES = {"example_task_state_store", "example_task_state_store_mapped"}
# There are more; fewer mean that a bundle is missing.
LEAST = 100
# Parameters without a default.
CONF = {
    "example_params_ui_tutorial": {"required_field": "written by a test"},
    "example_passing_params_via_test_command": {"foo": "foo", "miff": "miff"},
}
# Its tasks wait for the answers of a person. One of them waits for a second, and goes on by itself.
ASKS = "example_hitl_operator"
QUESTIONS = (
    "wait_for_input",
    "wait_for_option",
    "wait_for_multiple_options",
    "valid_input_and_options",
    "choose_a_branch_to_run",
)


def answer_questions(client: AirflowClient, run_id: str) -> None:
    """Answer the questions of a run with the first option each, as a person does in the UI."""
    for task_id in QUESTIONS:
        path = f"/dags/{ASKS}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"

        def asked(path: str = path) -> dict[str, Any] | None:
            try:
                return client.call("GET", path)
            except ApiError as error:
                if error.status != 404:
                    raise
                return None

        question = wait_for(asked, what=f"question of {task_id}", seconds=300)
        answers = {"information": "text"} if task_id == "wait_for_input" else {}
        client.call("PATCH", path, {"chosen_options": question["options"][:1], "params_input": answers})


@pytest.fixture(scope="module")
def examples(play: Callable[..., Recap], client: AirflowClient) -> Iterator[dict[str, str]]:
    """Deploy the examples, run each DAG once, and return what is wrong with the runs, by DAG."""
    play("--extra-vars", json.dumps({"airflow_config": {"core": {"load_examples": True}}})).must_succeed()

    known: list[list[str]] = [[]]

    def settled() -> bool:
        known.append(sorted(dag["dag_id"] for dag in client._all("/dags", "dags") if dag["bundle_name"] in BUNDLES))
        return len(known[-1]) >= LEAST and known[-1] == known[-2]

    # DAGs of one bundle appear file by file.
    wait_for(settled, what="all example DAGs known, and no new one for a while", seconds=300, interval=15)
    dags = known[-1]
    assert sorted(LEFT_OUT.keys() - set(dags)) == []
    begun = datetime.now(UTC) - timedelta(minutes=10)

    def start(dag_id: str) -> str:
        client.pause(dag_id, False)
        # Each DAG at a moment of its own: one example starts another one at the moment of its own run.
        moment = begun + timedelta(seconds=dags.index(dag_id))
        request = {"logical_date": moment.isoformat(), "conf": CONF.get(dag_id, {})}
        run = client.call("POST", f"/dags/{dag_id}/dagRuns", request)
        return str(run["dag_run_id"])

    runs = {dag_id: start(dag_id) for dag_id in dags if dag_id not in LEFT_OUT}
    answer_questions(client, runs[ASKS])
    found = {}
    for dag_id, run_id in runs.items():
        run = client.wait_for_run(dag_id, run_id, seconds=900)
        tasks = client.tasks(dag_id, run_id)
        states = {
            f"{task.task_id} {task.map_index}": (task.state, task.try_number)
            for task in tasks
            if task.state not in ("success", "skipped") or (task.try_number > 1 and dag_id not in RETRIES)
        }
        if dag_id in EITHER:
            continue
        if dag_id in FAILS:
            if run.state != "failed" or {state for state, _ in states.values()} != {"failed"}:
                found[dag_id] = f"{run.state}, not failed: {states}"
        elif run.state != "success" or states:
            found[dag_id] = f"{run.state}: {states}"
    # After all runs: an example may start a DAG whose own run is over.
    for dag_id in runs:
        client.pause(dag_id, True)
    yield found
    play().must_succeed()


def test_each_example_ends_as_upstream_intends(examples: dict[str, str]) -> None:
    assert examples == {}
