"""Two hosts in each group that may have several: operations work, and who leaves a group keeps nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from airflow_client import ApiError, wait_for
from cluster_inventory import PROJECT, SECRETS, Cluster
from faults.harness import DAG, Scene, wait_for_logs
from faults.load import Load
from faults.machines import Machines
from faults.operation import Playbooks, problems

pytestmark = pytest.mark.long

STATUS = "playbooks/status.yml"
SECOND = "worker2"
# Units, and files that hold secrets or settings.
LEFT = r"""
systemctl list-units --all --plain --no-legend 'airflow-*' | cut -d' ' -f1
find /etc/systemd/system /etc/airflow/secrets /etc/airflow/tls -name '*airflow*' -o -name '*.env' -o -name '*.key'
systemctl is-active haproxy || true
"""


@pytest.fixture(scope="module")
def pairs(small: Cluster) -> Cluster:
    """The cluster of scenario ``default`` with a second host in most groups."""
    return Cluster.read(*small.inventories, PROJECT / "molecule/scale/inventory-pairs")


@pytest.fixture(scope="module")
def single_again(small: Cluster, machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Return to one host in each group afterwards, also when the deployment of the second one has failed."""
    yield
    begun = machines.shell(SECOND, "date '+%F %T'").strip()
    Playbooks(small, tmp_path_factory.mktemp("after")).run("site.yml").must_succeed()
    # The firewall of the databases drops what the leaving processes send; they end within their time nevertheless.
    ended = f"journalctl --quiet --output=cat --since='{begun}' --unit='airflow-*' --grep='timed out. Killing' || true"
    assert machines.shell(SECOND, ended) == ""


@pytest.fixture(scope="module")
def playbooks(pairs: Cluster, single_again: None, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """The playbooks, after the deployment of both hosts of each group."""
    found = Playbooks(pairs, tmp_path_factory.mktemp("pairs"))
    found.run("site.yml").must_succeed()
    return found


STORE = "/var/lib/airflow-log-store"


def stored_logs(machines: Machines, host: str, run_id: str) -> dict[str, str]:
    """Return a digest of the different lines of each log file of a run in the log store of a host."""
    digests = machines.shell(
        host,
        f"""cd {STORE}/tasks
        find . -path '*/run_id={run_id}/*' -type f | while read -r file; do
            printf '%s %s\n' "$file" "$(sort -u "$file" | sha256sum | cut -c1-64)"
        done""",
    )
    return dict(line.rsplit(" ", 1) for line in digests.splitlines())


def test_a_log_store_that_was_rebooted_under_load_gets_all_logs(
    pairs: Cluster, playbooks: Playbooks, machines: Machines
) -> None:
    first, second = pairs.groups["airflow_api_server"]
    assert second == SECOND
    client = pairs.client()
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    scene = Scene(pairs, machines, client)
    scene.begin_load({"tasks": 8, "seconds": 40, "beat": 0.1})
    others = {one.task for one in scene.executions() if one.host != SECOND}
    assert others
    machines.reboot(SECOND)
    assert scene.wait_for_run(scene.run_id, 300).state == "success"
    executions = scene.executions()
    # No task of another host has noticed.
    assert {one.task for one in executions if one.host != SECOND and one.ended} >= others
    assert {one.attempt for one in executions if one.task in others} == {1}
    assert wait_for_logs(scene, executions) == []
    wait_for(
        lambda: stored_logs(machines, second, scene.run_id) == stored_logs(machines, first, scene.run_id),
        what="the same logs in both log stores",
        seconds=120,
        interval=2,
    )
    assert len(stored_logs(machines, first, scene.run_id)) >= len(scene.tasks)


def test_an_empty_log_store_is_filled_from_the_other_one(
    pairs: Cluster, playbooks: Playbooks, machines: Machines, tmp_path: Path
) -> None:
    first, second = pairs.groups["airflow_api_server"]
    client = pairs.client()
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    scene = Scene(pairs, machines, client)
    scene.begin_load({"tasks": 4, "seconds": 2})
    assert scene.wait_for_run(scene.run_id, 120).state == "success"
    assert wait_for_logs(scene, scene.executions()) == []
    # The hosts have the logs no more.
    find = f"find /var/lib/airflow/logs -path '*/run_id={scene.run_id}/*' -type f -print -delete"
    assert [name for host in pairs.groups["airflow_worker"] for name in machines.shell(host, find).splitlines()]
    before = stored_logs(machines, first, scene.run_id)
    assert len(before) >= len(scene.tasks)
    machines.shell(second, f"systemctl stop airflow-log-store; rm -r {STORE}; systemctl reset-failed airflow-log-store")

    deployed = playbooks.run("site.yml").must_succeed()
    assert f"For the earlier logs of tasks on {second} run " in deployed.output
    # A shipper that is restarted may have sent the end of a log again.
    assert stored_logs(machines, second, scene.run_id) != before
    # A file of the last minutes is not copied, and a restarted shipper may have written to some.
    machines.shell(first, f"find {STORE} -type f -exec touch -d '1 hour ago' {{}} +")
    playbooks.run("playbooks/resend_logs.yml").must_succeed()
    assert stored_logs(machines, second, scene.run_id) == before
    # As the log store writes: its group reads the logs of tasks, and root those of units.
    assert machines.shell(second, f"find {STORE} -printf '%u:%g\\n' | sort -u").split() == [
        "airflow-log-store:airflow-log-store"
    ]
    modes = machines.shell(second, f"find {STORE}/units {STORE}/tasks -type f -printf '%m\\n' | sort -u").split()
    assert modes == ["600", "640"]


def certificates(machines: Machines, host: str) -> str:
    """Return the serial numbers of the certificates of a host's services; the authority has no key there."""
    script = "for key in /etc/airflow/tls/*.pem.key; do openssl x509 -noout -serial -in ${key%.key}; done"
    return machines.shell(host, script)


def test_no_task_notices_a_backup_and_new_secrets(pairs: Cluster, playbooks: Playbooks, machines: Machines) -> None:
    hosts = (pairs.first("control_plane"), SECOND)
    before = {name: pairs.password(name) for name in SECRETS}
    serials = {host: certificates(machines, host) for host in hosts}
    with Load(pairs) as load:
        wait_for(lambda: any(load.runs.values()), what="the load under way", seconds=300)
        playbooks.run("playbooks/backup.yml").must_succeed()
        # Certificates of the cluster have 397 days. All are renewed, and the new ones are not due.
        playbooks.run(
            *("playbooks/rotate_secrets.yml", "-e", "cluster_rotate=all"),
            *("-e", "certificates_days=800", "-e", "certificates_renew_days=400"),
        ).must_succeed()
    assert set(load.runs.values()) == {"success"}
    assert problems(machines, pairs.workers, load.runs) == []
    after = Cluster.read(*pairs.inventories)
    # A repository of backups keeps its passphrase.
    assert [name for name in SECRETS if after.password(name) == before[name]] == ["backup_passphrase"]
    for host in hosts:
        assert not set(certificates(machines, host).split()) & set(serials[host].split())
    assert playbooks.run("site.yml").must_succeed().changed == 0


@pytest.mark.usefixtures("firmware")
def test_no_task_notices_a_reboot(pairs: Cluster, playbooks: Playbooks, machines: Machines) -> None:
    with Load(pairs) as load:
        wait_for(lambda: any(load.runs.values()), what="the load under way", seconds=300)
        # Without the databases, which the first host has, tasks are interrupted.
        machines.run(SECOND, "touch", "/run/reboot-required")
        playbooks.run("playbooks/patch.yml", "--limit", SECOND).must_succeed()
    assert set(load.runs.values()) == {"success"}
    assert problems(machines, pairs.workers, load.runs) == []
    assert machines.shell(SECOND, "test ! -e /run/reboot-required || echo due") == ""
    assert playbooks.run("site.yml").must_succeed().changed == 0


def wait_until_healthy(playbooks: Playbooks) -> None:
    """Wait for the heartbeats of both hosts, which may be some seconds away."""
    wait_for(lambda: playbooks.run(STATUS).status == 0, what="both hosts healthy", seconds=120, interval=5)


@contextmanager
def stopped(machines: Machines, host: str) -> Iterator[None]:
    """Stop what a host has of the scheduler, the triggerer and the API servers, as long as the block runs."""
    names = "airflow-scheduler.service airflow-triggerer.service 'airflow-api-server@*' 'airflow-execution-api@*'"
    list_units = f"systemctl list-units --state=active --plain --no-legend {names} | cut -d' ' -f1"
    units = machines.shell(host, list_units).split()
    assert len(units) > 3
    machines.run(host, "systemctl", "stop", *units)
    try:
        yield
    finally:
        machines.run(host, "systemctl", "start", *units)


def test_both_hosts_of_each_group_work_with_the_restored_database(
    pairs: Cluster, playbooks: Playbooks, machines: Machines
) -> None:
    first = pairs.first("airflow_scheduler")
    playbooks.run("playbooks/backup.yml").must_succeed()
    machines.run(first, "airflow", "variables", "set", "kept", "1")
    moment = machines.run(pairs.first("postgres"), "date", "--utc", "+%FT%T.%6N").strip()
    machines.run(first, "airflow", "variables", "set", "undone", "1")
    restore = json.dumps({"cluster_restore_to": moment, "cluster_confirm": True})
    playbooks.run("playbooks/restore.yml", "-e", restore).must_succeed()
    client = pairs.client()
    for other in (SECOND, first):
        wait_until_healthy(playbooks)
        with stopped(machines, other):
            known = wait_for(
                lambda: {one["key"] for one in client.call("GET", "/variables")["variables"]},
                what=f"an answer without {other}",
                seconds=60,
                transient=(ApiError,),
            )
            assert "kept" in known
            assert "undone" not in known
            client.wait_for_dag(DAG, seconds=120)
            client.pause(DAG, False)
            run_id = client.trigger(DAG, {"tasks": 8, "seconds": 1})
            assert client.wait_for_run(DAG, run_id, seconds=120).state == "success"
    assert playbooks.run("site.yml").must_succeed().changed == 0


def test_operations_work_with_two_hosts_in_each_group(
    small: Cluster, pairs: Cluster, playbooks: Playbooks, machines: Machines, tmp_path: Path
) -> None:
    assert "airflow-scheduler.service" in machines.shell(SECOND, LEFT)
    wait_until_healthy(playbooks)
    added = playbooks.run("site.yml", "--limit", "worker1", "--flush-cache").must_succeed()
    assert "failed=0" in added.output
    for book in ("playbooks/drain_worker.yml", "playbooks/undrain_worker.yml"):
        playbooks.run(book, "-e", "cluster_worker=worker1").must_succeed()
    playbooks.run(
        "playbooks/remove_worker.yml", "-e", "cluster_worker=worker1", "-e", "cluster_confirm=yes"
    ).must_succeed()
    for host in pairs.groups["airflow_scheduler"]:
        slots = pairs.variables[SECOND]["airflow_worker_concurrency"]
        assert f'AIRFLOW__CORE__PARALLELISM="{slots}"' in machines.run(host, "cat", "/etc/airflow/scheduler.env")

    # The second host leaves the groups.
    single = Playbooks(small, tmp_path)
    report = single.run(STATUS, "-e", f"cluster_status_path={tmp_path}/status.json")
    assert report.status != 0
    reasons = json.loads((tmp_path / "status.json").read_text())["reasons"]
    for unit, group in (("airflow-scheduler", "airflow_scheduler"), ("haproxy", "haproxy")):
        reason = f"{SECOND}: unit {unit} is there, and the host is not in group {group}: run "
        assert [one for one in reasons if one.startswith(reason) and one.endswith(" site.yml")], reasons
    single.run("site.yml").must_succeed()
    # As a worker that has never been in these groups.
    assert set(machines.shell(SECOND, LEFT).split()) == set(machines.shell("worker1", LEFT).split())
    assert single.run("site.yml").must_succeed().changed == 0
