"""Back to a moment in place; and a control node that is destroyed comes back from the copy alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow_client import AirflowClient, wait_for
from cluster_inventory import Cluster
from faults import ledger
from faults.harness import DAG, TRANSIENT
from faults.machines import Machines
from faults.operation import Playbooks

pytestmark = pytest.mark.long

SHOWN = "not a secret of the cluster itself"


def variable(cluster: Cluster, name: str) -> str:
    """Return a variable of Airflow, "" if there is none."""
    control = cluster.first("airflow_scheduler")
    return Machines(cluster).run(control, "airflow", "variables", "get", name, check=False).strip()


def run_of(client: AirflowClient, tasks: int, seconds: int) -> str:
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    return client.trigger(DAG, {"tasks": tasks, "seconds": seconds})


def finished(cluster: Cluster, run_id: str, seconds: float = 300) -> str:
    """Wait for the end of a run, whatever the API does meanwhile; return its state."""
    # One client, because the front door limits logins.
    client = cluster.client()

    def over() -> str | None:
        run = client.run(DAG, run_id)
        return run.state if run.finished else None

    return wait_for(over, what=f"the end of {run_id}", seconds=seconds, transient=TRANSIENT)


def executions(cluster: Cluster, run_id: str) -> list[ledger.Execution]:
    return ledger.read(Machines(cluster).ledger(run_id, cluster.workers))


def healthy(cluster: Cluster) -> None:
    def all_healthy() -> bool:
        return set(cluster.client().health().values()) == {"healthy"} and cluster.flower_workers() >= set(
            cluster.workers
        )

    wait_for(all_healthy, what="a healthy cluster", seconds=180, transient=TRANSIENT)


# --- In place ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def in_place(cluster: Cluster, playbooks: Playbooks) -> dict[str, str]:
    """A mistake, and the return to the moment before it, with tasks under way: the runs by what they are about."""
    machines, control = Machines(cluster), cluster.first("airflow_scheduler")
    client = cluster.client()
    playbooks.run("playbooks/backup.yml").must_succeed()
    machines.run(control, "airflow", "variables", "set", "before", SHOWN)
    runs = {"done": run_of(client, 2, 1)}
    assert finished(cluster, runs["done"]) == "success"
    runs["running"] = run_of(client, 4, 120)
    wait_for(lambda: len(executions(cluster, runs["running"])) == 4, what="four tasks", seconds=120)
    moment = machines.run(cluster.first("postgres"), "date", "--utc", "+%FT%T.%6N").strip()
    machines.run(control, "airflow", "variables", "delete", "before")
    machines.run(control, "airflow", "variables", "set", "after", SHOWN)
    playbooks.run("playbooks/restore.yml", "-e", f"cluster_restore_to={moment}").must_fail("Nothing was touched")
    assert variable(cluster, "after") == SHOWN
    # The controller dies when the old database is gone; the same command completes the restore.
    restore = ("playbooks/restore.yml", "-e", json.dumps({"cluster_restore_to": moment, "cluster_confirm": True}))
    playbooks.kill_at(r"Restore \| Replace the database", *restore)
    playbooks.run(*restore).must_succeed()
    return runs


def test_the_mistake_is_undone(cluster: Cluster, in_place: dict[str, str]) -> None:
    assert variable(cluster, "before") == SHOWN
    assert variable(cluster, "after") == ""
    assert cluster.client().run(DAG, in_place["done"]).state == "success"


def test_what_ran_then_comes_to_its_end_and_never_twice_at_once(cluster: Cluster, in_place: dict[str, str]) -> None:
    assert finished(cluster, in_place["running"], seconds=600) == "success"
    found = executions(cluster, in_place["running"])
    assert ledger.overlapping(found) == []
    assert ledger.lost(found, [f"load[{number}]" for number in range(4)]) == []


@pytest.mark.parametrize("moment", ["2020-01-01 00:00:00", "2026-11-23", "yesterday"])
def test_a_moment_that_no_backup_has_is_refused(
    cluster: Cluster, playbooks: Playbooks, in_place: dict[str, str], moment: str
) -> None:
    variables = json.dumps({"cluster_restore_to": moment, "cluster_confirm": True})
    said = playbooks.run("playbooks/restore.yml", "-e", variables).must_fail("The restore is refused").text
    assert "Nothing was touched" in said
    healthy(cluster)


# --- On a new machine -------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def new_controller(cluster: Cluster, copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Playbooks]:
    """The playbooks as a machine runs them that has nothing but the last backup, and the SSH key."""

    def unpack() -> Playbooks:
        place = tmp_path_factory.mktemp("new-controller")
        shutil.unpack_archive(copy / "latest/inventory.tar.gz", place, filter="data")
        own = cluster.variables[cluster.first("postgres")]
        variables = {
            "backup_fetch_dir": str(copy),
            "airflow_dags_dir": str(copy / "latest/dags"),
            "airflow_plugins_dir": str(copy / "latest/plugins"),
            "local_machines_dir": str(Path(own["ansible_ssh_private_key_file"]).parent),
        }
        unpacked = Cluster.read(place / Path(own["inventory_dir"]).name)
        return Playbooks(unpacked, tmp_path_factory.mktemp("logs"), "-e", json.dumps(variables))

    return unpack


@pytest.fixture(scope="module")
def destroyed(
    cluster: Cluster,
    playbooks: Playbooks,
    new_controller: Callable[[], Playbooks],
    copy: Path,
    in_place: dict[str, str],
) -> dict[str, Any]:
    """A control node that is gone and came back: what there was before."""
    machines, control = Machines(cluster), cluster.first("postgres")
    client = cluster.client()
    machines.run(control, "airflow", "variables", "set", "history", SHOWN)
    machines.run(control, "airflow", "connections", "delete", "history", check=False)
    machines.run(control, "airflow", "connections", "add", "history", "--conn-type", "http", "--conn-password", SHOWN)
    runs = {"done": run_of(client, 3, 1)}
    assert finished(cluster, runs["done"]) == "success"
    # Some run, and some are queued, when the backup is made.
    slots = sum(int(cluster.variables[name]["airflow_worker_concurrency"]) for name in cluster.workers)
    runs["running"] = run_of(client, slots + 4, 180)
    wait_for(lambda: len(executions(cluster, runs["running"])) == slots, what=f"{slots} tasks", seconds=120)
    history = {run.run_id: run.state for run in client.runs(DAG)}
    playbooks.run("playbooks/backup.yml").must_succeed()
    playbooks.run(
        "playbooks/local_machines.yml", "-e", "local_machines_state=absent", "--limit", control
    ).must_succeed()
    playbooks.run("playbooks/local_machines.yml", "--limit", control).must_succeed()
    machines.wait_until_up(control)
    assert (
        machines.run(control, "sh", "-c", "ls -d /etc/postgresql /etc/airflow /opt/airflow 2>&1 || true").count(
            "No such"
        )
        == 3
    )
    elsewhere = new_controller()
    said = elsewhere.run("playbooks/restore.yml").must_fail("Nothing was touched").text
    assert f"{copy}/latest" in said
    elsewhere.kill_at(r"Copy to host \| Copy the repository", "playbooks/restore.yml", "-e", "cluster_confirm=yes")
    elsewhere.run("playbooks/restore.yml", "-e", "cluster_confirm=yes").must_succeed()
    return {"runs": runs, "history": history, "at": datetime.now(UTC), "slots": slots}


def test_history_is_there(cluster: Cluster, destroyed: dict[str, Any]) -> None:
    healthy(cluster)
    now = {run.run_id: run.state for run in cluster.client().runs(DAG)}
    ended = {run_id: state for run_id, state in destroyed["history"].items() if state == "success"}
    assert len(ended) >= 2
    assert {run_id: now[run_id] for run_id in ended} == ended
    assert destroyed["runs"]["running"] in now


def test_plugins_are_there(cluster: Cluster, destroyed: dict[str, Any]) -> None:
    machines = Machines(cluster)
    for host in cluster.groups["airflow"]:
        folders = machines.shell(host, "sed -n 's/^plugins_folder = //p' /etc/airflow/*/airflow.cfg | sort -u").split()
        assert [machines.run(host, "ls", folder).split() for folder in folders] == [["workday.py"]]


def test_what_was_encrypted_is_readable(cluster: Cluster, destroyed: dict[str, Any]) -> None:
    machines, control = Machines(cluster), cluster.first("airflow_scheduler")
    assert variable(cluster, "history") == SHOWN
    assert SHOWN in machines.run(control, "airflow", "connections", "get", "history", "-o", "yaml")


def test_what_ran_and_what_was_queued_comes_to_its_end(cluster: Cluster, destroyed: dict[str, Any]) -> None:
    run_id = destroyed["runs"]["running"]
    assert finished(cluster, run_id, seconds=900) == "success"
    found = executions(cluster, run_id)
    assert ledger.overlapping(found) == []
    assert ledger.lost(found, [f"load[{number}]" for number in range(destroyed["slots"] + 4)]) == []


def test_new_runs_run_and_backups_go_on(
    cluster: Cluster, playbooks: Playbooks, copy: Path, destroyed: dict[str, Any]
) -> None:
    run_id = run_of(cluster.client(), 4, 1)
    assert finished(cluster, run_id) == "success"
    playbooks.run("playbooks/backup.yml", "-e", "cluster_backup_kind=full").must_succeed()
    found = json.loads((copy / "latest/backup.json").read_text())
    assert (found["kind"], found["verified"]) == ("full", True)


def test_a_copy_of_another_database_is_not_overwritten(
    cluster: Cluster, playbooks: Playbooks, copy: Path, destroyed: dict[str, Any]
) -> None:
    record = copy / "latest/backup.json"
    whole = record.read_text()
    record.write_text(json.dumps(json.loads(whole) | {"system_id": "1"}))
    try:
        playbooks.run("playbooks/backup.yml").must_fail("a copy of another database's backups, and stays")
    finally:
        record.write_text(whole)
