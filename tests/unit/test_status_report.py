"""When a cluster is healthy, what is said when it is not, and how it looks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from airflow_celery_cluster.status import without_secrets
from ansible_collections.airflow_celery.cluster.plugins.action.cluster_status_report import host_of, probed
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import status_report
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.health import Cluster, Host, Limits, reasons

NOW = 1795380554.0
DAY = 86400


def unit(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"{name}.service",
        "state": "active",
        "sub": "running",
        "type": "exec",
        "result": "success",
        "enabled": True,
        "since": NOW - 3600,
        "restarts": 0,
        "memory": 300 * 2**20,
        "stale": [],
        "reload": False,
        "ours": True,
    } | changes


def status(*units: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "time": NOW,
        "debian": "13.1",
        "release": "3.3.2-0123456789ab",
        "units": [unit("airflow-log-shipper"), *units],
        "disks": {"/": {"total": 100 * 2**30, "free": 60 * 2**30}},
        "certificates": {"/etc/airflow/tls/ca.pem": NOW + 300 * DAY},
        "backup": None,
        "drained": None,
        "quarantined": None,
    } | changes


CLOCK = {"offset": 0.002, "uncertainty": 0.001}
CONTROL = Host(
    "control1",
    "10.0.0.1",
    ["airflow", "airflow_scheduler", "control_plane", "postgres"],
    status(unit("airflow-scheduler"), unit("postgresql@17-main")),
    clock=CLOCK,
    drift=[],
)


def worker(name: str, address: str, *units: dict[str, Any], **changes: Any) -> Host:
    found = status(*(units or (unit("airflow-worker"),)), **changes)
    return Host(name, address, ["airflow", "airflow_worker"], found, clock=CLOCK, drift=[])


PROBE: dict[str, Any] = {
    "database": {
        "running": {"10.0.0.2": 3},
        "queued": {"default": {"tasks": 2, "oldest": 75.0}},
        "jobs": [
            {"type": "SchedulerJob", "host": "10.0.0.1", "age": 2.0, "limit": 30.0},
            {"type": "SchedulerJob", "host": "of-the-past", "age": 9e6, "limit": 30.0},
        ],
        "pool_slots": 8,
        "default_queue": "default",
    },
    "workers": {
        "celery@worker1": {"concurrency": 4, "active": 3, "queues": ["default"]},
        "celery@worker2": {"concurrency": 4, "active": 0, "queues": ["default", "gpu"]},
    },
    "queues": {"default": 1, "gpu": 0},
    "errors": {},
}


def cluster(*hosts: Host, **probe: Any) -> Cluster:
    given = {host.name: host for host in hosts}
    workers = [worker("worker1", "10.0.0.2"), worker("worker2", "10.0.0.3")]
    return Cluster(NOW, [given.get(host.name, host) for host in [CONTROL, *workers]], PROBE | probe)


def test_a_healthy_cluster_has_no_reasons() -> None:
    assert reasons(cluster()) == []
    assert status_report.text(cluster()).endswith("Healthy.")


def test_a_failed_unit_says_since_when() -> None:
    bad = unit("airflow-worker", state="failed", sub="failed", result="oom-kill", since=NOW - 10)
    assert reasons(cluster(worker("worker2", "10.0.0.3", bad))) == [
        "worker2: unit airflow-worker is failed (oom-kill) since 2026-11-22 20:49:04 UTC"
    ]


def test_a_unit_of_another_group_is_told() -> None:
    """Whatever its state is, unless the unit may be somebody else's."""
    foreign = unit("redis-server", ours=False)
    off = unit("haproxy", state="inactive", sub="dead", enabled=False)
    left = [
        unit("airflow-api-server@8081"),
        unit("airflow-db-clean", state="inactive", enabled=False),
        unit("redis-server"),
    ]
    assert reasons(cluster(worker("worker2", "10.0.0.3", unit("airflow-worker"), foreign, off))) == []
    missing = {
        "airflow-api-server@8081": "airflow_api_server",
        "airflow-db-clean": "airflow_scheduler[0]",
        "redis-server": "redis",
    }
    assert reasons(cluster(worker("worker2", "10.0.0.3", unit("airflow-worker"), *left))) == [
        f"worker2: unit {name} is there, and the host is not in group {group}: run ansible-playbook site.yml"
        for name, group in missing.items()
    ]


def test_a_unit_that_never_ran_says_so() -> None:
    idle = unit("airflow-log-clean", state="inactive", sub="dead", enabled=False)
    for since, shown in ((None, "never"), (NOW, "2026-11-22 20:49:14 UTC")):
        host = worker("worker2", "10.0.0.3", unit("airflow-worker"), idle | {"since": since})
        (line,) = (line for line in status_report.text(cluster(host)).splitlines() if "airflow-log-clean" in line)
        assert line.split(maxsplit=3)[3].startswith(shown)


def test_an_enabled_unit_that_is_stopped_is_a_reason_and_what_a_timer_starts_is_none() -> None:
    off = unit("airflow-worker", state="inactive", sub="dead")
    waiting = unit("airflow-backup", state="inactive", sub="dead", enabled=False)
    host = worker("worker2", "10.0.0.3", off, waiting)
    assert reasons(cluster(host)) == ["worker2: unit airflow-worker is inactive since 2026-11-22 19:49:14 UTC"]
    shown = {
        fields[1]: fields[2]
        for line in status_report.text(cluster(host)).splitlines()
        if len(fields := line.split()) > 3
    }
    assert (shown["airflow-worker"], shown["airflow-backup"]) == ("inactive", "idle")


@pytest.mark.parametrize(
    ("kind", "sub", "healthy"),
    [
        ("oneshot", "start", True),
        ("oneshot", "start-pre", True),
        ("oneshot", "start-post", True),
        ("oneshot", "auto-restart", False),
        ("exec", "start", False),
        ("exec", "auto-restart", False),
        ("notify", "start", False),
    ],
)
def test_a_oneshot_that_works_is_healthy(kind: str, sub: str, healthy: bool) -> None:
    busy = unit("airflow-log-clean", state="activating", sub=sub, type=kind, enabled=False)
    found = reasons(cluster(worker("worker2", "10.0.0.3", unit("airflow-worker"), busy)))
    assert [reason.partition(" since")[0] for reason in found] == (
        [] if healthy else ["worker2: unit airflow-log-clean is activating"]
    )


def test_a_oneshot_that_failed_is_a_reason() -> None:
    bad = unit("airflow-log-clean", state="failed", sub="failed", type="oneshot", result="exit-code", enabled=False)
    (found,) = reasons(cluster(worker("worker2", "10.0.0.3", unit("airflow-worker"), bad)))
    assert "unit airflow-log-clean is failed (exit-code)" in found


def test_a_missing_unit_is_a_reason() -> None:
    found = reasons(cluster(worker("worker2", "10.0.0.3", unit("airflow-worker-watchdog"))))
    assert found == ["worker2: no unit airflow-worker runs, and the host is in group airflow_worker"]


def test_a_unit_that_is_stopped_and_disabled_is_missing_on_a_host_that_should_run_it() -> None:
    off = unit("airflow-worker", state="inactive", enabled=False)
    assert len(reasons(cluster(worker("worker2", "10.0.0.3", off)))) == 1


def test_a_dead_host_is_a_line_and_a_reason() -> None:
    dead = replace(worker("worker2", "10.0.0.3"), status=None, error="unreachable: no route", clock=None, drift=None)
    found = cluster(dead, workers={"celery@worker1": PROBE["workers"]["celery@worker1"]})
    assert reasons(found) == ["worker2: unreachable: no route", "worker2: the Celery worker does not answer"]
    row = next(line for line in status_report.text(found).splitlines() if line.startswith("worker2"))
    assert "NO ANSWER" in row


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"disks": {"/": {"total": 2**40, "free": 2**36}}}, "worker2: / is 94 % full, 64.0 GiB free"),
        ({"certificates": {"/c": NOW + 3 * DAY}}, "worker2: certificate /c expires in 3 d, on 2026-11-25 20:49:14 UTC"),
        ({"certificates": {"/c": NOW - 1}}, "worker2: certificate /c has expired on 2026-11-22 20:49:13 UTC"),
        ({"certificates": {"/c": None}}, "worker2: certificate /c can't be read"),
        ({"release": ""}, "worker2: no release of the runtime is current"),
        ({"backup": {"ok": False}}, "worker2: the last backup failed, or its verification did"),
        ({"backup": {"ok": True, "kind": "diff", "time": NOW - 3 * DAY}}, "worker2: the last backup is 3 d old"),
        (
            {"quarantined": {"since": "", "release": "", "why": ""}},
            "worker2: the worker is quarantined: its canary has not passed after an upgrade or a rollback. "
            "The run that failed has printed the cause. Fix the cause and run the same operation again",
        ),
        (
            {"quarantined": {"since": "2026-11-22T20:00:00Z", "release": "3.3.2-ba9876543210", "why": "no run"}},
            "worker2: the worker is quarantined: its canary has not passed after an upgrade or a rollback. "
            "Release 3.3.2-ba9876543210 failed at 2026-11-22T20:00:00Z: no run. "
            "Fix the cause and run the same operation again",
        ),
        (
            {"release": "3.2.1-ba9876543210"},
            "cluster: different Airflow versions: 3.2.1 on worker2; 3.3.2 on control1, worker1",
        ),
    ],
)
def test_what_makes_a_host_unhealthy(changes: dict[str, Any], reason: str) -> None:
    assert reasons(cluster(worker("worker2", "10.0.0.3", **changes))) == [reason]


def test_a_drained_worker_is_no_reason_and_says_since_when_and_why() -> None:
    drained = {"since": "2026-11-22T20:00:00Z", "by": "drain_worker", "why": "a new disk"}
    host = worker("worker2", "10.0.0.3", unit("airflow-worker", state="inactive", sub="dead"), drained=drained)
    answered = {"celery@worker1": PROBE["workers"]["celery@worker1"]}
    found = cluster(replace(host, pools=["reports"]), workers=answered)
    assert reasons(found) == []
    [row] = [
        line.split(None, 5) for line in status_report.text(found).splitlines() if line.startswith("celery@worker2")
    ]
    assert row[1:3] == ["reports", "drained"]
    assert row[5] == "none: drained since 2026-11-22T20:00:00Z by drain_worker (a new disk)"
    # While its last tasks end, it answers.
    ending = {**PROBE["workers"], "celery@worker2": {"concurrency": 4, "active": 1, "queues": []}}
    assert "draining" in status_report.text(cluster(host, workers=ending))


def test_limits_can_be_moved() -> None:
    host = worker("worker2", "10.0.0.3", certificates={"/c": NOW + 3 * DAY})
    assert reasons(replace(cluster(host), limits=Limits(certificate_days=2))) == []


def test_a_clock_is_wrong_as_far_as_that_is_proven() -> None:
    host = worker("worker2", "10.0.0.3")
    slow = replace(host, clock={"offset": 6.0, "uncertainty": 2.0})
    assert reasons(cluster(slow)) == []
    wrong = replace(host, clock={"offset": -6.0, "uncertainty": 0.1})
    assert reasons(cluster(wrong)) == ["worker2: its clock is -6.0 s off the controller's"]


def test_drift_is_a_reason_with_and_without_a_check_run() -> None:
    stale = unit("airflow-worker", stale=["/etc/airflow/worker/airflow.cfg"])
    host = replace(worker("worker2", "10.0.0.3", stale), drift=["Write airflow.cfg of worker"])
    assert reasons(cluster(host)) == [
        "worker2: drift: airflow-worker runs with an older /etc/airflow/worker/airflow.cfg",
        "worker2: drift: site.yml would change it: Write airflow.cfg of worker",
    ]


def test_a_silent_and_an_unknown_worker_are_reasons() -> None:
    answered = {"celery@worker1": PROBE["workers"]["celery@worker1"], "celery@gone": PROBE["workers"]["celery@worker2"]}
    assert reasons(cluster(workers=answered)) == [
        "worker2: the Celery worker does not answer",
        "cluster: celery@gone answers, and no host in group airflow_worker is it",
    ]


def test_a_queue_that_nobody_takes_is_a_reason() -> None:
    found = reasons(cluster(queues={"default": 1, "lost": 7, "empty": 0}))
    assert found == ["cluster: queue lost has 7 messages, and no worker takes them"]


@pytest.mark.parametrize(
    ("jobs", "reason"),
    [
        ([], "control1: SchedulerJob has no heartbeat in the metadata database"),
        (
            [{"type": "SchedulerJob", "host": "10.0.0.1", "age": 300.0, "limit": 30.0}],
            "control1: the last heartbeat of SchedulerJob is 5 min old, 30 s allowed",
        ),
    ],
)
def test_a_scheduler_without_heartbeat_is_a_reason(jobs: Sequence[dict[str, Any]], reason: str) -> None:
    assert reasons(cluster(database=PROBE["database"] | {"jobs": jobs})) == [reason]


def test_a_probe_that_is_missing_whole_or_in_part_is_a_reason_and_the_rest_is_told() -> None:
    assert reasons(replace(cluster(), probe=None, probe_error="no way")) == [
        "cluster: tasks, queues and workers could not be queried: no way"
    ]
    half = cluster(database=None, errors={"database": "OperationalError: refused"})
    assert reasons(half) == ["cluster: database could not be queried: OperationalError: refused"]
    assert "celery@worker2" in status_report.text(half)


def test_the_text_fits_and_says_what_it_must() -> None:
    gpu = [f"queue-{number}" for number in range(40)]
    many = PROBE["workers"] | {"celery@worker2": {"concurrency": 4, "active": 0, "queues": gpu}}
    found = cluster(workers=many, database=PROBE["database"], queues={"default": 1})
    lines = status_report.text(found).splitlines()
    assert max(len(line) for line in lines) <= status_report.WIDTH
    assert "queue-39" in "".join(line.strip() for line in lines)
    shown = status_report.text(cluster())
    row = next(line for line in shown.splitlines() if line.startswith("celery@worker1"))
    assert row.split() == ["celery@worker1", "-", "ok", "3", "of", "4", "3", "default"]
    row = next(line for line in shown.splitlines() if line.startswith("default"))
    assert row.split() == ["default", "1", "2", "75", "s"]
    assert "of-the-past" not in shown


def test_the_document_is_json_and_whole() -> None:
    bad = cluster(worker("worker2", "10.0.0.3", unit("airflow-worker", state="failed")))
    found = json.loads(json.dumps(status_report.document(bad)))
    assert found["healthy"] is False and len(found["reasons"]) == 1
    assert found["hosts"]["worker2"]["healthy"] is False and found["hosts"]["worker1"]["healthy"] is True
    assert found["cluster"]["queues"] == {"default": 1, "gpu": 0}


def test_hosts_are_read_from_what_they_registered() -> None:
    groups = {"all": ["worker1"], "airflow_worker": ["worker1"], "redis": []}
    variables = {"cluster_status": {"status": status()}, "cluster_status_clock": CLOCK | {"changed": False}}
    found = host_of("worker1", variables, "10.0.0.2", groups)
    assert (found.groups, found.clock, found.drift, found.error) == (["airflow_worker", "all"], CLOCK, None, "")
    assert host_of("worker1", variables | {"airflow_drift": []}, "10.0.0.2", groups).drift == []
    dead = host_of("worker1", {"cluster_status": {"unreachable": True, "msg": "a\n b"}}, "10.0.0.2", groups)
    assert (dead.status, dead.error, dead.drift) == (None, "unreachable: a b", None)


def test_the_first_probe_that_succeeded_counts() -> None:
    failed = {"stdout": "", "stderr": "Traceback\nImportError: no", "rc": 1}
    assert probed([{"skipped": True}]) == (None, "no scheduler's host could be asked")
    assert probed([None, failed]) == (None, "ImportError: no")
    assert probed([failed, {"stdout": 'noise\n{"errors": {}}'}]) == ({"errors": {}}, "")


def test_a_message_loses_the_secrets_of_its_url() -> None:
    told = without_secrets("Error connecting to rediss://airflow:hunter2@10.0.0.1:6379/0.\nmore")
    assert told == "Error connecting to rediss://***@10.0.0.1:6379/0."
