"""What a host tells of itself, with real files, a real certificate's date and systemd's own format."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.callback.drift import described
from ansible_collections.airflow_celery.cluster.plugins.modules import cluster_status

SHOWN = """\
NRestarts=2
MemoryCurrent=1048576
EnvironmentFiles=/etc/airflow/secrets/scheduler.env (ignore_errors=no)
EnvironmentFiles=/etc/airflow/scheduler.env (ignore_errors=no)
Id=airflow-scheduler.service
Type=exec
LoadState=loaded
ActiveState=active
SubState=running
Result=success
FragmentPath=/etc/systemd/system/airflow-scheduler.service
UnitFileState=enabled
StateChangeTimestamp=Sun 2026-11-22 20:49:14.500000 UTC
NeedDaemonReload=no

Id=postgresql@17-main.service
LoadState=loaded
ActiveState=failed
SubState=failed
Result=exit-code
UnitFileState=enabled-runtime
StateChangeTimestamp=
MemoryCurrent=18446744073709551615
NRestarts=0
NeedDaemonReload=yes
"""


def test_units_are_read_from_what_systemd_shows() -> None:
    scheduler, postgres = (cluster_status.unit_status(unit) for unit in cluster_status.blocks(SHOWN))
    assert (scheduler["name"], scheduler["state"], scheduler["restarts"]) == ("airflow-scheduler.service", "active", 2)
    assert scheduler["type"] == "exec"
    assert scheduler["since"] == pytest.approx(1795380554.5)
    assert (scheduler["memory"], scheduler["enabled"], scheduler["reload"]) == (1048576, True, False)
    assert (postgres["state"], postgres["result"], postgres["since"]) == ("failed", "exit-code", None)
    assert (postgres["memory"], postgres["enabled"], postgres["reload"]) == (None, True, True)


def test_a_unit_reads_its_unit_file_its_configuration_and_its_environment_files() -> None:
    unit = cluster_status.blocks(SHOWN)[0]
    assert cluster_status.files_of("airflow-scheduler.service", unit) == [
        "/etc/systemd/system/airflow-scheduler.service",
        "/etc/airflow/scheduler/airflow.cfg",
        "/etc/airflow/secrets/scheduler.env",
        "/etc/airflow/scheduler.env",
    ]
    assert "/etc/airflow/api-server@8081/airflow.cfg" in cluster_status.files_of("airflow-api-server@8081.service", {})


def test_a_file_that_is_newer_than_the_unit_is_stale(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path, time in ((old, 99), (new, 101)):
        path.touch()
        os.utime(path, (time, time))
    files = [str(old), str(new), str(tmp_path / "missing")]
    assert cluster_status.stale_files(files, 100) == [str(new)]
    assert cluster_status.stale_files(files, None) == []


def test_a_disk_is_measured_and_a_missing_path_is_left_out(tmp_path: Path) -> None:
    found = cluster_status.disk(str(tmp_path))
    assert found is not None and 0 <= found["free"] <= found["total"]
    assert cluster_status.disk(str(tmp_path / "missing")) is None


def test_the_expiry_of_a_certificate() -> None:
    assert cluster_status.expiry("notAfter=Nov 22 20:49:14 2026 GMT\n") == 1795380554
    assert cluster_status.expiry("unable to load certificate") is None
    assert cluster_status.expiry("notAfter=soon") is None


def test_the_last_backup_tells_no_more_than_it_may(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    assert cluster_status.last_backup(str(path)) is None
    told = {"when": "2026-11-22T20:49:14+00:00", "label": "20261122F", "kind": "full", "verified": True}
    path.write_text(json.dumps(told | {"password": "hunter2"}))
    expected = {"time": 1795380554.0, "label": "20261122F", "kind": "full", "ok": True}
    assert cluster_status.last_backup(str(path)) == expected
    path.write_text(json.dumps(told | {"verified": False}))
    assert cluster_status.last_backup(str(path)) == expected | {"ok": False}
    path.write_text("{half a li")
    assert cluster_status.last_backup(str(path)) == {"ok": False}


def test_a_drain_says_who_and_why(tmp_path: Path) -> None:
    path = tmp_path / "drained"
    assert cluster_status.drained(str(path)) is None
    path.write_text(json.dumps({"since": "2026-11-22T20:49:14Z", "by": "patch", "why": "updates"}))
    assert cluster_status.drained(str(path)) == {"since": "2026-11-22T20:49:14Z", "by": "patch", "why": "updates"}
    # Whoever made it by hand has drained the worker as well.
    path.write_text("")
    assert cluster_status.drained(str(path)) == {"since": "", "by": "", "why": ""}


def test_a_quarantine_says_why(tmp_path: Path) -> None:
    canary, failure = tmp_path / "canary.env", tmp_path / "canary.json"
    told = {"since": "2026-11-22T20:49:14Z", "release": "3.3.2-ba9876543210", "why": "run x was still queued"}
    failure.write_text(json.dumps(told))
    assert cluster_status.quarantined(str(canary), str(failure)) is None
    canary.write_text("AIRFLOW_WORKER_QUEUES=cluster_canary")
    assert cluster_status.quarantined(str(canary), str(failure)) == told
    # Its first canary has not run, or its restart failed.
    failure.unlink()
    assert cluster_status.quarantined(str(canary), str(failure)) == {"since": "", "release": "", "why": ""}


def test_drift_names_task_and_paths_and_no_content() -> None:
    result = {"changed": True, "dest": "/etc/redis/redis.conf", "diff": {"after": "requirepass hunter2"}}
    assert described("Configure Redis", result) == "Configure Redis (/etc/redis/redis.conf)"
    loop = {"changed": True, "results": [{"changed": False, "path": "/a"}, {"changed": True, "path": "/b"}]}
    assert described("Make", loop) == "Make (/b)"
    several = {"changed": True, "changed_files": ["/a", "/b"], "diff": [{"after": "requirepass hunter2"}]}
    assert described("Ensure", several) == "Ensure (/a, /b)"
    assert described("Write the secrets", {"changed": True, "censored": "hidden"}) == "Write the secrets"


def test_a_unit_that_has_nothing_to_do_tells_the_end_of_its_last_run() -> None:
    idle = """Id=airflow-log-clean.service
LoadState=loaded
ActiveState=inactive
SubState=dead
UnitFileState=static
StateChangeTimestamp=Sun 2026-11-22 20:49:14.500000 UTC
InactiveEnterTimestamp={}
"""
    (ran,) = cluster_status.blocks(idle.format("Sun 2026-11-22 20:49:14.500000 UTC"))
    (never,) = cluster_status.blocks(idle.format(""))
    assert cluster_status.unit_status(ran)["since"] == pytest.approx(1795380554.5)
    assert cluster_status.unit_status(never)["since"] is None
    assert cluster_status.last_entry('{"__REALTIME_TIMESTAMP": "1795380554500000", "MESSAGE": "x"}') == 1795380554.5
    assert cluster_status.last_entry("") is None


def test_a_unit_of_a_package_is_the_clusters_where_it_has_a_drop_in() -> None:
    (scheduler, postgres) = cluster_status.blocks(SHOWN)
    drop_in = "/etc/systemd/system/postgresql@17-main.service.d/airflow-memory.conf"
    assert cluster_status.unit_status(scheduler)["ours"]
    assert not cluster_status.unit_status(postgres | {"DropInPaths": ["/etc/systemd/system/x.d/override.conf"]})["ours"]
    assert cluster_status.unit_status(postgres | {"DropInPaths": [f"/run/a/b.conf {drop_in}"]})["ours"]
