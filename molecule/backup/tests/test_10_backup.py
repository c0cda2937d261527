"""A backup is made, proven and taken away; and what is old is removed."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cluster_inventory import Cluster
from faults.harness import DAG
from faults.machines import Machines
from faults.operation import Playbooks

REPOSITORY = "/var/lib/pgbackrest"
LAST = "/var/lib/airflow/backup/last.json"
PROBE = "A-VALUE-THAT-NO-STRANGER-MAY-READ"
MOST_EXPOSURE = 3.0


def last(cluster: Cluster) -> dict[str, Any]:
    """Return what the host says of its last backup."""
    loaded = json.loads(Machines(cluster).run(cluster.first("postgres"), "cat", LAST))
    assert isinstance(loaded, dict)
    return loaded


def sql(cluster: Cluster, statement: str, database: str = "airflow", port: int = 5432) -> str:
    """Run a statement as the database's superuser."""
    command = ("runuser", "-u", "postgres", "--", "psql", "-XAtq", f"--port={port}", database, "-c", statement)
    return Machines(cluster).run(cluster.first("postgres"), *command).strip()


@pytest.fixture(scope="module")
def made(cluster: Cluster, playbooks: Playbooks) -> str:
    """What backup.yml said about a full backup."""
    machines, control = Machines(cluster), cluster.first("airflow_scheduler")
    machines.run(control, "airflow", "variables", "set", "backup_probe", PROBE)
    return playbooks.run("playbooks/backup.yml", "-e", "cluster_backup_kind=full").must_succeed().output


def test_a_backup_is_verified_by_restoring_it(cluster: Cluster, made: str) -> None:
    found = last(cluster)
    assert (found["kind"], found["verified"], found["verified_by"]) == ("full", True, "restore")
    assert found["size_bytes"] > 1_000_000
    assert found["elsewhere"] is False
    assert found["label"] in made
    # Nothing is left of the cluster that was restored for it.
    assert Machines(cluster).run(cluster.first("postgres"), "ls", str(Path(LAST).parent)).split() == [
        "fetched.json",
        "last.json",
    ]


def test_the_copy_is_whole_and_nobody_can_read_it(cluster: Cluster, copy: Path, made: str) -> None:
    latest = copy / "latest"
    assert json.loads((latest / "backup.json").read_text())["label"] == last(cluster)["label"]
    for path in ("dags/get_stocks_dag.py", "plugins/workday.py", "webserver_config.py"):
        assert (latest / path).is_file(), path
    archive = latest / "inventory.tar.gz"
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as inventory:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in inventory.getnames()}
    assert names >= {"hosts.yml", "group_vars/all/secrets.yml", ".pki/ca.pem"}
    assert not [name for name in names if name.startswith(".backup")]
    files = [path for path in (latest / "repository").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if PROBE.encode() in path.read_bytes()] == []
    # A plain backup of PostgreSQL would name its tables.
    assert [path for path in files if b"dag_run" in path.read_bytes()] == []


def test_a_second_backup_adds_what_changed_and_replaces_the_copy(
    cluster: Cluster, playbooks: Playbooks, copy: Path, made: str
) -> None:
    before = last(cluster)
    foreign = copy / "20200101-000000"
    foreign.mkdir()
    (foreign / "precious").touch()
    playbooks.run("playbooks/backup.yml").must_succeed()
    after = last(cluster)
    assert after["kind"] == "diff"
    assert after["size_bytes"] < before["size_bytes"]
    assert (foreign / "precious").exists()
    shutil.rmtree(foreign)
    assert len([path for path in copy.iterdir() if not path.is_symlink()]) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "said", [r"Back up \| Create and verify", r"Copy to controller \| Copy the snapshot"], ids=["made", "copied"]
)
def test_a_backup_whose_controller_is_killed_is_made_again(
    cluster: Cluster, playbooks: Playbooks, copy: Path, made: str, said: str
) -> None:
    before = (copy / "latest").resolve()
    playbooks.kill_at(said, "playbooks/backup.yml")
    assert (copy / "latest").resolve() == before
    assert (before / "backup.json").is_file()
    playbooks.run("playbooks/backup.yml").must_succeed()
    after = (copy / "latest").resolve()
    assert json.loads((after / "backup.json").read_text())["label"] == last(cluster)["label"]
    # Nothing is left of the interrupted run, on the controller and on the host.
    assert [path for path in copy.iterdir() if not path.is_symlink()] == [after]
    assert Machines(cluster).shell(cluster.first("postgres"), f"ls -A {REPOSITORY}").split() == ["archive", "backup"]


def test_bad_parameters_are_refused_before_anything_is_touched(cluster: Cluster, playbooks: Playbooks) -> None:
    before = last(cluster)
    playbooks.run("playbooks/backup.yml", "-e", "cluster_backup_kind=half").must_fail("Expected: full, or diff")
    assert last(cluster) == before


def test_a_damaged_repository_is_noticed(cluster: Cluster, made: str) -> None:
    machines, control = Machines(cluster), cluster.first("postgres")
    bundle = machines.shell(control, f"ls -d {REPOSITORY}/backup/main/*F/bundle/1 | tail -n 1").strip()
    machines.run(control, "cp", "--archive", bundle, f"{bundle}.whole")
    try:
        machines.shell(control, f"printf xxxxxxxx | dd of={bundle} bs=1 seek=5000 conv=notrunc status=none")
        machines.run(control, "systemctl", "start", "airflow-backup@diff.service", check=False)
        found = last(cluster)
        assert found["verified"] is False
        assert "damaged" in found["problem"]
    finally:
        machines.run(control, "mv", f"{bundle}.whole", bundle)
    machines.run(control, "systemctl", "start", "airflow-backup@diff.service")
    assert last(cluster)["verified"] is True


def test_every_change_is_in_the_archive(cluster: Cluster, made: str) -> None:
    before = sql(cluster, "SELECT archived_count FROM pg_stat_archiver")
    sql(cluster, "SELECT pg_switch_wal()")
    sql(cluster, "CHECKPOINT")
    machines, control = Machines(cluster), cluster.first("postgres")
    # It asks for the archive itself, and waits for it.
    machines.run(control, "runuser", "-u", "postgres", "--", "pgbackrest", "--stanza=main", "check")
    assert int(sql(cluster, "SELECT archived_count FROM pg_stat_archiver")) > int(before)
    assert sql(cluster, "SELECT failed_count FROM pg_stat_archiver") == "0"


@pytest.mark.parametrize(
    "timer", ["airflow-backup-full", "airflow-backup-diff", "airflow-db-clean", "airflow-log-clean"]
)
def test_timers_wait_for_their_time(cluster: Cluster, timer: str) -> None:
    machines, control = Machines(cluster), cluster.first("postgres")
    assert machines.run(control, "systemctl", "is-active", f"{timer}.timer").strip() == "active"
    assert machines.run(control, "systemctl", "is-enabled", f"{timer}.timer").strip() == "enabled"
    shown = machines.run(control, "systemctl", "show", "--property=NextElapseUSecRealtime", "--value", f"{timer}.timer")
    assert shown.strip() not in ("", "n/a")


@pytest.mark.parametrize("unit", ["airflow-backup@full", "airflow-db-clean", "airflow-log-clean"])
def test_units_are_sandboxed(cluster: Cluster, unit: str) -> None:
    said = Machines(cluster).run(cluster.first("postgres"), "systemd-analyze", "security", "--no-pager", unit)
    match = re.search(r"Overall exposure level.*?: ([0-9.]+)", said)
    assert match is not None
    assert float(match[1]) <= MOST_EXPOSURE


def test_old_logs_go_and_young_ones_stay(cluster: Cluster) -> None:
    machines = Machines(cluster)
    store = "/var/lib/airflow-log-store"
    # Days after which a file goes: airflow_housekeeping_local_log_days, and airflow_housekeeping_log_days.
    for host, logs, days in (
        (cluster.workers[0], "/var/lib/airflow/logs", 7),
        (cluster.first("postgres"), "/var/lib/airflow/scheduler/logs", 7),
        (cluster.first("airflow_api_server"), f"{store}/tasks", 30),
        (cluster.first("airflow_api_server"), f"{store}/units", 30),
    ):
        machines.shell(
            host,
            f"mkdir -p {logs}/probe/old {logs}/probe/young {logs}/probe/empty; "
            f"touch -d '{days + 2} days ago' {logs}/probe/old/log; "
            f"touch -d '{days - 2} days ago' {logs}/probe/young/log; "
            f"touch -d '2 hours ago' {logs}/probe/empty; "
            # Outside of the logs, and through a link, nothing is removed.
            "mkdir -p /var/lib/airflow/kept; touch -d '40 days ago' /var/lib/airflow/kept/log; "
            f"ln -sfn /var/lib/airflow/kept {logs}/probe/link",
        )
        machines.run(host, "systemctl", "start", "airflow-log-clean.service")
        left = set(machines.shell(host, f"cd {logs}/probe; find . -mindepth 1").split())
        assert left >= {"./young", "./young/log", "./link"}
        assert not {"./old/log", "./empty"} & left
        assert machines.run(host, "ls", "/var/lib/airflow/kept").split() == ["log"]
        machines.run(host, "rm", "-r", f"{logs}/probe", "/var/lib/airflow/kept")


def removed_dag(cluster: Cluster) -> str:
    """Make what a DAG leaves that was removed 100 days ago while a task of its last scheduled run had not started.

    Rows of a real run are copied, so that columns of which this test knows nothing have sound values. Returns its id.
    """
    client = cluster.client()
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    run_id = client.trigger(DAG, {"tasks": 1, "seconds": 1})
    assert client.wait_for_run(DAG, run_id, seconds=120).state == "success"
    old, name = "now() - interval '100 days'", "removed_dag"
    run = f"dag_id = '{DAG}' AND run_id = '{run_id}'"
    sql(
        cluster,
        f"""
        BEGIN;
        CREATE TEMP TABLE d ON COMMIT DROP AS SELECT * FROM dag WHERE dag_id = '{DAG}';
        UPDATE d SET dag_id = '{name}', last_parsed_time = {old}, is_stale = true, is_paused = true;
        INSERT INTO dag SELECT * FROM d;
        CREATE TEMP TABLE r ON COMMIT DROP AS SELECT * FROM dag_run WHERE {run};
        CREATE TEMP TABLE v ON COMMIT DROP AS SELECT * FROM dag_version WHERE dag_id = '{DAG}' LIMIT 1;
        UPDATE v SET dag_id = '{name}', id = gen_random_uuid(), created_at = {old}, last_updated = {old};
        INSERT INTO dag_version SELECT * FROM v;
        UPDATE r SET dag_id = '{name}', id = (SELECT nextval(pg_get_serial_sequence('dag_run', 'id'))),
          run_type = 'scheduled', start_date = {old}, created_dag_version_id = NULL;
        INSERT INTO dag_run SELECT * FROM r;
        CREATE TEMP TABLE t ON COMMIT DROP AS SELECT * FROM task_instance WHERE {run} LIMIT 1;
        UPDATE t SET dag_id = '{name}', id = gen_random_uuid(), start_date = NULL, dag_version_id = (SELECT id FROM v);
        INSERT INTO task_instance SELECT * FROM t;
        COMMIT;
        """,
    )
    assert sql(cluster, f"SELECT count(*) FROM task_instance WHERE dag_id = '{name}' AND start_date IS NULL") == "1"
    return name


def test_a_table_that_cannot_be_cleaned_does_not_stop_the_others(cluster: Cluster) -> None:
    machines, control = Machines(cluster), cluster.first("airflow_scheduler")
    dag_id = removed_dag(cluster)
    try:
        sql(cluster, "INSERT INTO log (dttm, event) VALUES (now() - interval '100 days', 'probe-skipped')")
        machines.run(control, "systemctl", "start", "airflow-db-clean.service")
        assert sql(cluster, "SELECT count(*) FROM log WHERE event = 'probe-skipped'") == "0"
        said = machines.run(control, "journalctl", "--unit=airflow-db-clean", "--output=cat", "--lines=5000")
        assert "WARNING: table dag was skipped" in said
        assert sql(cluster, f"SELECT count(*) FROM dag WHERE dag_id = '{dag_id}'") == "1"
    finally:
        sql(cluster, f"DELETE FROM dag_run WHERE dag_id = '{dag_id}'")
        sql(cluster, f"DELETE FROM dag WHERE dag_id = '{dag_id}'")


def test_old_rows_go_and_young_ones_stay(cluster: Cluster) -> None:
    machines, control = Machines(cluster), cluster.first("airflow_scheduler")
    for days in (1, 100):
        sql(cluster, f"INSERT INTO log (dttm, event) VALUES (now() - interval '{days} days', 'probe-{days}')")
        sql(
            cluster,
            "INSERT INTO celery_taskmeta (id, task_id, date_done) VALUES "
            f"(nextval('task_id_sequence'), 'probe-{days}', now() AT TIME ZONE 'UTC' - interval '{days} days')",
            "celery_results",
            5433,
        )
    machines.run(control, "systemctl", "start", "airflow-db-clean.service")
    assert sql(cluster, "SELECT event FROM log WHERE event LIKE 'probe-%'") == "probe-1"
    results = sql(cluster, "SELECT task_id FROM celery_taskmeta WHERE task_id LIKE 'probe-%'", "celery_results", 5433)
    assert results == "probe-1"
