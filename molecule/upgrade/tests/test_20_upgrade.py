"""From an older Airflow to the present one, under load, broken off and gone on with; a bad worker; and back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from airflow_client import ApiError, wait_for
from cluster_inventory import PROJECT, Cluster, ansible_program
from faults import ledger
from faults.harness import DAG
from faults.load import LOAD, Load
from faults.machines import Machines
from test_10_pools import queues, release

OLD, NEW = "3.3.0", "3.3.2"
STATE = "/var/lib/airflow/upgrade.json"
CLOSED = "/etc/airflow/worker/canary.env"
# Other packages make another release; small ones.
PACKAGES = json.dumps({"airflow_runtime_extra_requirements": ["bokeh_sampledata", "humanize"]})


def begin(cluster: Cluster, playbook: str, log: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a playbook; what it says goes to a file."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [ansible_program("ansible-playbook"), *cluster.options, f"playbooks/{playbook}", *options],
            cwd=PROJECT,
            env=os.environ | {"ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def play(cluster: Cluster, playbook: str, log: Path, *options: str) -> tuple[int, str]:
    """Run a playbook; return its status and what it said, on one line."""
    status = begin(cluster, playbook, log, *options).wait(timeout=2400)
    return status, " ".join(log.read_text().split())


def units(machines: Machines, hosts: Sequence[str]) -> dict[str, str]:
    """Return when each unit of Airflow on the hosts was started."""
    script = "systemctl show --property=Id,ActiveEnterTimestampMonotonic 'airflow-*.service'"
    return {host: machines.shell(host, script) for host in hosts}


def check_load(load: Load, machines: Machines, cluster: Cluster) -> None:
    """No task was lost, ran twice, or failed."""
    assert len(load.runs) > 4
    assert set(load.runs.values()) == {"success"}
    for run_id in load.runs:
        found = ledger.read(machines.ledger(run_id, cluster.workers))
        assert ledger.lost(found, [f"load[{number}]" for number in range(LOAD["tasks"])]) == []
        assert ledger.overlapping(found) == []


def versions(machines: Machines, cluster: Cluster) -> set[str]:
    """Return the version of Airflow in every unit that runs it."""
    found = set()
    for host in cluster.groups["airflow"]:
        script = "systemctl show --property=ExecStart --value 'airflow-*.service' | grep -o 'releases/[^/]*' | sort -u"
        found |= {line.removeprefix("releases/").split("-")[0] for line in machines.shell(host, script).split()}
    return found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("upgrade") / "log"


# --- Refusals ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("playbook", "options", "said"),
    [
        ("upgrade.yml", ("-e", "airflow_version=3.2.2"), "3.3 or a later release before 3.4"),
        ("upgrade.yml", ("--limit", "worker1"), "Expected: a run without --limit"),
        ("upgrade.yml", ("-e", "batch=0"), "batch=0. Expected: how many workers"),
        ("rollback.yml", (), "No upgrade has left word of what ran before it"),
    ],
)
def test_what_cannot_be_is_refused_and_touches_nothing(
    cluster: Cluster, machines: Machines, log: Path, playbook: str, options: tuple[str, ...], said: str
) -> None:
    before = units(machines, cluster.groups["airflow"])
    status, output = play(cluster, playbook, log, *options)
    assert status != 0
    assert said in output
    assert units(machines, cluster.groups["airflow"]) == before


def test_a_package_that_does_not_exist_stops_the_run_before_anything_stops(
    cluster: Cluster, machines: Machines, log: Path
) -> None:
    before = units(machines, cluster.groups["airflow"])
    nothing = json.dumps({"airflow_runtime_extra_requirements": ["flask==99.99"]})
    status, output = play(cluster, "upgrade.yml", log, "-e", nothing)
    assert status != 0
    assert "flask==99.99" in output
    assert units(machines, cluster.groups["airflow"]) == before
    assert release(machines, "worker1")["airflow_version"] == OLD


# --- There ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def upgraded(cluster: Cluster, machines: Machines, log: Path) -> Iterator[Load]:
    """The load of an upgrade whose controller dies when one worker has changed, and which is run again."""
    client = cluster.client()
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    assert versions(machines, cluster) == {OLD}
    with Load(cluster) as load:
        process = begin(cluster, "upgrade.yml", log)
        try:
            wait_for(
                lambda: "Canary | Remember that it has passed" in log.read_text() or process.poll() is not None,
                what="the canary of the first worker",
                seconds=1800,
            )
            assert process.poll() is None, log.read_text()[-5000:]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert json.loads(machines.run("control1", "cat", STATE))["finished"] is False
        status, output = play(cluster, "upgrade.yml", log)
        assert status == 0, log.read_text()[-5000:]
        assert "An upgrade was broken off; this run goes on with it" in output
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
        assert machines.shell(worker, f"test ! -e {CLOSED} && echo open").strip() == "open"


def test_there_is_a_backup_and_a_way_back(upgraded: Load, machines: Machines, cluster: Cluster) -> None:
    state = json.loads(machines.run("control1", "cat", STATE))
    assert (state["finished"], state["from"]["airflow_version"]) == (True, OLD)
    assert machines.run("control1", "stat", "--format=%a %U", state["backup"]).strip() == "600 root"
    for host in cluster.groups["airflow"]:
        previous = machines.run(host, "readlink", "-f", "/opt/airflow/previous").strip()
        assert previous.endswith(state["from"]["releases"][host])


def test_all_slots_are_back(upgraded: Load, cluster: Cluster) -> None:
    assert cluster.client().call("GET", "/pools/default_pool")["slots"] == 4 + 6


def test_a_second_run_changes_nothing(upgraded: Load, machines: Machines, cluster: Cluster, log: Path) -> None:
    before = units(machines, cluster.groups["airflow"])
    status, output = play(cluster, "upgrade.yml", log)
    assert status == 0
    assert "Nothing to upgrade: every host has its release" in output
    recap = output[output.index("PLAY RECAP") :]
    assert "changed=0" in recap
    assert not any(f"changed={number}" in recap for number in range(1, 10))
    assert units(machines, cluster.groups["airflow"]) == before


def test_the_way_back_is_not_an_upgrade(upgraded: Load, cluster: Cluster, log: Path) -> None:
    status, output = play(cluster, "upgrade.yml", log, "-e", f"airflow_version={OLD}")
    assert status != 0
    assert "rollback.yml" in output


# --- A bad worker -----------------------------------------------------------------------------------------------------
def test_a_bad_worker_stops_the_run_takes_no_task_and_leaves_the_rest_alone(
    upgraded: Load, machines: Machines, cluster: Cluster, log: Path
) -> None:
    bad, rest = cluster.workers[0], cluster.workers[1]
    before = units(machines, [rest])
    # The broker is there, so it answers; the Execution API is not, so its tasks would fail.
    rules = "add table ip canary; add chain ip canary out { type filter hook output priority 0; }; "
    rules += "add rule ip canary out tcp dport 443 drop"
    with Load(cluster) as load:
        machines.run(bad, "nft", rules)
        try:
            status, output = play(cluster, "upgrade.yml", log, "-e", PACKAGES, "-e", "airflow_worker_start_timeout=60")
        finally:
            machines.run(bad, "nft", "delete table ip canary")
        assert status != 0
        assert f"{bad} runs release" in output
        assert "It takes no task of anybody else" in output
        assert queues(cluster, machines)[bad] == {"cluster_canary"}
        assert units(machines, [rest]) == before
        status, output = play(cluster, "upgrade.yml", log, "-e", PACKAGES)
        assert status == 0, log.read_text()[-5000:]
        assert queues(cluster, machines)[bad] == {"default"}
    check_load(load, machines, cluster)


# --- Back -------------------------------------------------------------------------------------------------------------
def test_back_to_the_release_before_under_load(upgraded: Load, machines: Machines, cluster: Cluster, log: Path) -> None:
    state = json.loads(machines.run("control1", "cat", STATE))
    with Load(cluster) as load:
        status, output = play(cluster, "rollback.yml", log)
        assert status == 0, log.read_text()[-5000:]
    check_load(load, machines, cluster)
    assert f"airflow_version: {NEW}" in output
    for host in cluster.groups["airflow"]:
        assert release(machines, host)["id"] == state["from"]["releases"][host]
    status, output = play(cluster, "rollback.yml", log)
    assert status != 0
    assert "rolled back already" in output


def test_back_with_the_database(upgraded: Load, machines: Machines, cluster: Cluster, log: Path) -> None:
    client = cluster.client()
    client.call("POST", "/variables", {"key": "before_the_upgrade", "value": "1"})
    status, _ = play(cluster, "upgrade.yml", log, "-e", PACKAGES)
    assert status == 0, log.read_text()[-5000:]
    client.call("POST", "/variables", {"key": "after_the_upgrade", "value": "1"})
    # No release of this line has changed the schema: what was before is made to look like another one.
    state = json.loads(machines.run("control1", "cat", STATE))
    state["from"]["schema"] = ["an older one"]
    machines.told("control1", json.dumps(state), "tee", STATE)

    status, output = play(cluster, "rollback.yml", log)
    assert status != 0
    assert "WHAT AIRFLOW HAS RECORDED SINCE IS LOST" in output
    assert client.call("GET", "/variables/after_the_upgrade")["value"] == "1"

    status, _ = play(cluster, "rollback.yml", log, "-e", "database=restore", "-e", "confirm=yes")
    assert status == 0, log.read_text()[-5000:]
    client = cluster.client()
    assert client.call("GET", "/variables/before_the_upgrade")["value"] == "1"
    with pytest.raises(ApiError) as missing:
        client.call("GET", "/variables/after_the_upgrade")
    assert missing.value.status == 404
    run_id = client.trigger(DAG, LOAD)
    assert client.wait_for_run(DAG, run_id, seconds=120).state == "success"
