"""What upgrade.yml and rollback.yml refuse before the first connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Draft, Play


@pytest.mark.parametrize(
    ("playbook", "options", "said"),
    [
        ("upgrade.yml", ("--limit", "worker1"), "Expected: a run without --limit."),
        (
            "upgrade.yml",
            ("-e", "cluster_batch=some"),
            "cluster_batch=some. Expected: how many workers to upgrade at a time, as 2 or 25%.",
        ),
        ("upgrade.yml", ("-e", "cluster_batch=0"), "cluster_batch=0."),
        ("upgrade.yml", ("-e", "airflow_version=3.4.0"), "3.3 or a later release before 3.4"),
        ("upgrade.yml", ("-e", "airflow_version=3.2.2"), "3.3 or a later release before 3.4"),
        ("rollback.yml", ("--limit", "worker1"), "Expected: a run without --limit."),
        (
            "rollback.yml",
            ("-e", "cluster_database=drop"),
            "cluster_database=drop. Expected: -e cluster_database=restore",
        ),
    ],
)
def test_a_wrong_parameter_is_refused(
    play: Play, sound: Callable[[], Draft], tmp_path: Path, playbook: str, options: tuple[str, ...], said: str
) -> None:
    run = play(playbook, sound().write(tmp_path / "inventory"), *options)
    assert run.status != 0
    # One of several refusals of a loop
    refused = [
        str(item.get("msg")) for result in run.results for item in result.get("results", []) if item.get("failed")
    ]
    refusal = run.refusal + "\n".join(refused)
    assert said in refusal
    assert "Nothing was touched" in refusal or "No machine was touched" in refusal


def test_a_queue_of_a_dag_that_no_worker_serves_is_refused(
    play: Play, sound: Callable[[], Draft], tmp_path: Path
) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "report.py").write_text("XOperator(task_id='a', queue='gpu')\n")
    draft = sound()
    draft.everywhere |= {"airflow_dags_source": "local", "airflow_dags_dir": str(tmp_path / "dags")}
    run = play("validate_inventory.yml", draft.write(tmp_path / "inventory"))
    assert "DAG file report.py, line 1: queue = 'gpu'" in run.refusal
    assert "add gpu to airflow_worker_queues of a worker" in run.refusal
