"""Security updates, host by host, with reboots: a machine that reboots comes back and takes tasks; nothing is lost."""

from __future__ import annotations

import pytest
from airflow_client import AirflowClient, wait_for
from cluster_inventory import Cluster
from faults.load import Load
from faults.machines import Machines
from faults.operation import Playbooks, problems
from test_10_drain import MARKER, active, marker

pytestmark = pytest.mark.long

PATCH = "playbooks/patch.yml"


def boots(machines: Machines, name: str) -> str:
    """Return when the first process of a machine began, in the kernel's ticks."""
    return machines.run(name, "cut", "-d ", "-f22", "/proc/1/stat").strip()


@pytest.mark.usefixtures("firmware")
def test_updates_are_installed_and_a_second_run_changes_nothing(
    cluster: Cluster, machines: Machines, playbooks: Playbooks
) -> None:
    # What the updates themselves restart is the distribution's affair.
    playbooks.run(PATCH, "-e", "cluster_reboot=never").must_succeed()
    for name in machines.names:
        simulated = machines.run(name, "apt-get", "--simulate", "dist-upgrade")
        assert "Debian-Security" not in simulated
    assert playbooks.run(PATCH, "-e", "cluster_reboot=never").must_succeed().changed == 0
    # Those that replaced libraries make a reboot due; then nothing is.
    playbooks.run(PATCH).must_succeed()
    assert playbooks.run(PATCH).must_succeed().changed == 0
    assert {active(machines, worker) for worker in cluster.workers} == {"active"}


@pytest.mark.usefixtures("firmware")
def test_workers_are_rebooted_one_after_the_other_under_load(
    cluster: Cluster, machines: Machines, playbooks: Playbooks
) -> None:
    before = {name: boots(machines, name) for name in machines.names}
    for worker in cluster.workers:
        machines.run(worker, "touch", "/run/reboot-required")
    # Drained by a person, and none of the playbook's business but for its updates
    kept = cluster.workers[-1]
    playbooks.run("playbooks/drain_worker.yml", "-e", f"cluster_worker={kept}").must_succeed()
    with Load(cluster) as load:
        wait_for(lambda: any(load.runs.values()), what="the load under way", seconds=300)
        done = playbooks.run(PATCH, "--limit", kept).must_succeed()
        assert "/run/reboot-required exists" in done.text
        assert marker(machines, kept)["by"] == "drain_worker"
        assert active(machines, kept) == "inactive"
        playbooks.run("playbooks/undrain_worker.yml", "-e", f"cluster_worker={kept}").must_succeed()
        playbooks.run(PATCH).must_succeed()
    after = {name: boots(machines, name) for name in machines.names}
    assert {name for name in machines.names if before[name] != after[name]} == set(cluster.workers)
    assert {active(machines, worker) for worker in cluster.workers} == {"active"}
    assert set(load.runs.values()) == {"success"}
    assert problems(machines, cluster.workers, load.runs) == []


@pytest.mark.usefixtures("firmware")
def test_a_run_that_was_killed_at_a_reboot_is_gone_on_with(
    cluster: Cluster, machines: Machines, playbooks: Playbooks
) -> None:
    worker = cluster.workers[0]
    machines.run(worker, "touch", "/run/reboot-required")
    playbooks.kill_at(r"TASK \[\S+ : Reboot the host", PATCH)
    # It may be about to reboot, or not.
    wait_for(
        lambda: marker(machines, worker).get("by") == "patch",
        what="the drain that was left behind",
        seconds=60,
        transient=(RuntimeError,),
    )
    playbooks.run(PATCH).must_succeed()
    assert marker(machines, worker) == {}
    assert active(machines, worker) == "active"
    assert playbooks.run(PATCH).must_succeed().changed == 0


def test_the_first_bad_host_ends_the_run(
    cluster: Cluster, machines: Machines, playbooks: Playbooks, client: AirflowClient
) -> None:
    first, second = cluster.workers[:2]
    for worker in (first, second):
        machines.run(worker, "touch", "/run/reboot-required")
    # It can be drained, and not rebooted: there is no program for that.
    machines.run(first, "mv", "/usr/sbin/shutdown", "/usr/sbin/shutdown.away")
    before = boots(machines, second)
    try:
        playbooks.run(PATCH).must_fail("The hosts after it were not changed")
    finally:
        machines.run(first, "mv", "/usr/sbin/shutdown.away", "/usr/sbin/shutdown")
    assert boots(machines, second) == before
    assert marker(machines, second) == {}
    assert machines.shell(first, f"test ! -e {MARKER} || echo drained") == ""
    assert active(machines, first) == "active"
    assert set(client.health().values()) == {"healthy"}
    for worker in (first, second):
        machines.run(worker, "rm", "/run/reboot-required")
