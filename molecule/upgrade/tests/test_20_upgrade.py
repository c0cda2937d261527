"""From an older Airflow to the present one, under load, interrupted and continued; a bad worker; and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import pytest
from airflow_client import ApiError
from cluster_inventory import Cluster
from faults.harness import DAG
from faults.load import LOAD, Load
from faults.machines import Machines
from faults.operation import Playbooks, problems
from test_10_pools import queues, release

pytestmark = pytest.mark.long

OLD, NEW = "3.3.0", "3.3.2"
UPGRADE, ROLLBACK = "playbooks/upgrade.yml", "playbooks/rollback.yml"
DRAIN, UNDRAIN = "playbooks/drain_worker.yml", "playbooks/undrain_worker.yml"
STATUS = "playbooks/status.yml"
STATE = "/var/lib/airflow/upgrade.json"
# The directory, because Python reads the bytecode of a file whose source it may not read.
CANARY_DAGS = "/opt/airflow/releases/*/lib/python3*/site-packages/airflow_celery_cluster/dags"
QUARANTINED = "/etc/airflow/worker/canary.env"
# Other packages make another release; small ones.
PACKAGES = json.dumps({"airflow_runtime_extra_requirements": ["bokeh_sampledata", "roman"]})


def units(machines: Machines, hosts: Sequence[str]) -> dict[str, str]:
    """Return when each unit of Airflow on the hosts was started."""
    script = "systemctl show --property=Id,ActiveEnterTimestampMonotonic 'airflow-*.service'"
    return {host: machines.shell(host, script) for host in hosts}


def check_load(load: Load, machines: Machines, cluster: Cluster) -> None:
    """No task was lost, ran twice, or failed."""
    assert len(load.runs) > 4
    assert set(load.runs.values()) == {"success"}
    assert problems(machines, cluster.workers, load.runs, retries=True) == []


def versions(machines: Machines, cluster: Cluster) -> set[str]:
    """Return the version of Airflow in every unit that runs it."""
    found = set()
    for host in cluster.groups["airflow"]:
        script = "systemctl show --property=ExecStart --value 'airflow-*.service' | grep -o 'releases/[^/]*' | sort -u"
        found |= {line.removeprefix("releases/").split("-")[0] for line in machines.shell(host, script).split()}
    return found


# --- Refusals ---------------------------------------------------------------------------------------------------------
def test_there_is_no_way_back_before_an_upgrade(cluster: Cluster, machines: Machines, playbooks: Playbooks) -> None:
    # What needs no machine to be refused is in tests/preflight.
    before = units(machines, cluster.groups["airflow"])
    playbooks.run(ROLLBACK).must_fail("No upgrade has left word of what ran before it")
    assert units(machines, cluster.groups["airflow"]) == before


def test_a_package_that_does_not_exist_stops_the_run_before_anything_stops(
    cluster: Cluster, machines: Machines, playbooks: Playbooks
) -> None:
    before = units(machines, cluster.groups["airflow"])
    nothing = json.dumps({"airflow_runtime_extra_requirements": ["flask==99.99"]})
    playbooks.run(UPGRADE, "-e", nothing).must_fail("flask==99.99")
    assert units(machines, cluster.groups["airflow"]) == before
    assert release(machines, "worker1")["airflow_version"] == OLD


# --- There ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def upgraded(cluster: Cluster, machines: Machines, playbooks: Playbooks) -> Iterator[Load]:
    """The load of an upgrade whose controller dies when one worker has changed, and which is run again."""
    assert versions(machines, cluster) == {OLD}
    with Load(cluster) as load:
        playbooks.kill_at(r"Canary \| Remove the canary file", UPGRADE)
        assert json.loads(machines.run("control1", "cat", STATE))["finished"] is False
        said = playbooks.run(UPGRADE).must_succeed().text
        assert "An upgrade was interrupted; this run continues" in said
    yield load


def test_no_task_notices(upgraded: Load, machines: Machines, cluster: Cluster) -> None:
    check_load(upgraded, machines, cluster)


def test_everybody_runs_the_new_version(upgraded: Load, machines: Machines, cluster: Cluster) -> None:
    assert versions(machines, cluster) == {NEW}
    assert cluster.client().version() == NEW


def test_every_worker_passed_its_canary_and_has_its_queues(
    upgraded: Load, machines: Machines, cluster: Cluster
) -> None:
    client = cluster.client()
    hosts = [cluster.host_of(task.hostname) for task in client.tasks("cluster_canary") if task.state == "success"]
    assert set(hosts) == set(cluster.workers)
    assert queues(cluster, machines) == {"worker1": {"default"}, "worker2": {"default", "reports"}}
    for worker in cluster.workers:
        assert machines.shell(worker, f"test ! -e {QUARANTINED} && echo open").strip() == "open"


def test_there_is_a_backup_and_a_way_back(upgraded: Load, machines: Machines, cluster: Cluster) -> None:
    state = json.loads(machines.run("control1", "cat", STATE))
    assert (state["finished"], state["from"]["airflow_version"]) == (True, OLD)
    assert machines.run("control1", "stat", "--format=%a %U", state["backup"]).strip() == "600 root"
    for host in cluster.groups["airflow"]:
        previous = machines.run(host, "readlink", "-f", "/opt/airflow/previous").strip()
        assert previous.endswith(state["from"]["releases"][host])


def test_all_slots_are_back(upgraded: Load, cluster: Cluster) -> None:
    assert cluster.client().call("GET", "/pools/default_pool")["slots"] == 4 + 6


def test_a_second_run_changes_nothing(
    upgraded: Load, machines: Machines, cluster: Cluster, playbooks: Playbooks
) -> None:
    before = units(machines, cluster.groups["airflow"])
    done = playbooks.run(UPGRADE).must_succeed()
    assert "Nothing to upgrade: every host has its release" in done.text
    assert done.changed == 0
    assert units(machines, cluster.groups["airflow"]) == before


def test_the_way_back_is_not_an_upgrade(upgraded: Load, cluster: Cluster, playbooks: Playbooks) -> None:
    playbooks.run(UPGRADE, "-e", f"airflow_version={OLD}").must_fail("rollback.yml")


# --- Back -------------------------------------------------------------------------------------------------------------
def test_back_to_the_release_before_under_load(
    upgraded: Load, machines: Machines, cluster: Cluster, playbooks: Playbooks
) -> None:
    state = json.loads(machines.run("control1", "cat", STATE))
    with Load(cluster) as load:
        # The controller dies when one worker is back.
        playbooks.kill_at(r"Canary \| Remove the canary file", ROLLBACK)
        assert versions(machines, cluster) == {OLD, NEW}
        done = playbooks.run(ROLLBACK).must_succeed()
    check_load(load, machines, cluster)
    assert f"airflow_version: {OLD}" in done.text
    assert versions(machines, cluster) == {OLD}
    for host in cluster.groups["airflow"]:
        assert release(machines, host)["id"] == state["from"]["releases"][host]
    playbooks.run(ROLLBACK).must_fail("rolled back already")


# --- A bad worker -----------------------------------------------------------------------------------------------------
def execution_api_port(cluster: Cluster) -> int:
    """Return the port of the front door for the Execution API."""
    return int(cluster.variables["control1"]["haproxy_execution_api_port"])


def to_execution_api(cluster: Cluster) -> str:
    """Return what matches the packets to the Execution API, in the language of nft."""
    return f"ip daddr {cluster.address('control1')} tcp dport {execution_api_port(cluster)}"


def test_a_worker_that_reaches_no_api_server_stops_the_run_before_anything_stops(
    upgraded: Load, machines: Machines, cluster: Cluster, playbooks: Playbooks
) -> None:
    before = units(machines, cluster.groups["airflow"])
    rules = "add table ip cut; add chain ip cut out { type filter hook output priority 0; }; "
    machines.run("worker1", "nft", rules + f"add rule ip cut out {to_execution_api(cluster)} drop")
    try:
        done = playbooks.run(UPGRADE, "-e", PACKAGES).must_fail(
            "worker1 failed, see above: the other hosts are not changed"
        )
    finally:
        machines.run("worker1", "nft", "delete table ip cut")
    assert f"control1:{execution_api_port(cluster)}" in done.text
    assert units(machines, cluster.groups["airflow"]) == before


def test_a_bad_worker_stops_the_run_takes_no_task_and_leaves_the_rest_alone(
    upgraded: Load, machines: Machines, cluster: Cluster, playbooks: Playbooks
) -> None:
    bad, rest = cluster.workers[0], cluster.workers[1]
    before = units(machines, [rest])
    # The broker is there, so it answers; the Execution API is not for its tasks, so they would fail. Root reaches it,
    # or the run would be over before it touches the worker.
    rules = "add table ip canary; add chain ip canary out { type filter hook output priority 0; }; "
    rules += f"add rule ip canary out {to_execution_api(cluster)} meta skuid airflow-worker drop"
    with Load(cluster) as load:
        machines.run(bad, "nft", rules)
        try:
            done = playbooks.run(UPGRADE, "-e", PACKAGES, "-e", "airflow_worker_start_timeout=60")
        finally:
            machines.run(bad, "nft", "delete table ip canary")
        done.must_fail(f"celery@{bad} did not answer within 60 s: celery@{bad} says: https://control1")
        assert queues(cluster, machines)[bad] == {"cluster_canary"}
        assert units(machines, [rest]) == before
        # The worker reaches everything now, and its tasks cannot run.
        machines.shell(bad, f"chmod 000 {CANARY_DAGS}")
        try:
            done = playbooks.run(UPGRADE, "-e", PACKAGES, "-e", "airflow_worker_start_timeout=60")
        finally:
            machines.shell(bad, f"chmod 755 {CANARY_DAGS}")
        done.must_fail(f"{bad} runs release")
        assert "It is quarantined" in done.text
        assert queues(cluster, machines)[bad] == {"cluster_canary"}
        # Whoever comes later reads why, and does not end the quarantine by a drain and its end.
        done = playbooks.run(STATUS).must_fail(f"{bad}: the worker is quarantined: its canary has not passed")
        assert re.search(r"Release \S+ failed at \S+Z: .* of cluster_canary", done.text)
        playbooks.run(DRAIN, "-e", f"cluster_worker={bad}").must_succeed()
        undrained = playbooks.run(UNDRAIN, "-e", f"cluster_worker={bad}").must_succeed()
        assert f"{bad} is quarantined, and takes tasks from cluster_canary only" in undrained.text
        assert queues(cluster, machines)[bad] == {"cluster_canary"}
        assert units(machines, [rest]) == before
        playbooks.run(UPGRADE, "-e", PACKAGES).must_succeed()
        assert queues(cluster, machines)[bad] == {"default"}
    check_load(load, machines, cluster)


def test_back_with_the_database(upgraded: Load, machines: Machines, cluster: Cluster, playbooks: Playbooks) -> None:
    client = cluster.client()
    client.call("POST", "/variables", {"key": "before_the_upgrade", "value": "1"})
    playbooks.run(UPGRADE).must_succeed()  # without the packages
    client.call("POST", "/variables", {"key": "after_the_upgrade", "value": "1"})
    # No release of this line has changed the schema: what was before is made to look like another one.
    state = json.loads(machines.run("control1", "cat", STATE))
    state["from"]["schema"] = ["an older one"]
    machines.told("control1", json.dumps(state), "tee", STATE)

    playbooks.run(ROLLBACK).must_fail("WHAT AIRFLOW HAS RECORDED SINCE IS LOST")
    assert client.call("GET", "/variables/after_the_upgrade")["value"] == "1"

    playbooks.run(ROLLBACK, "-e", "cluster_database=restore", "-e", "cluster_confirm=yes").must_succeed()
    client = cluster.client()
    assert client.call("GET", "/variables/before_the_upgrade")["value"] == "1"
    with pytest.raises(ApiError) as missing:
        client.call("GET", "/variables/after_the_upgrade")
    assert missing.value.status == 404
    run_id = client.trigger(DAG, LOAD)
    assert client.wait_for_run(DAG, run_id, seconds=120).state == "success"
