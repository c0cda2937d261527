"""Two hosts in each group that may have several: operations work, and who leaves a group keeps nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_client import wait_for
from cluster_inventory import PROJECT, Cluster
from faults.machines import Machines
from faults.operation import Playbooks

pytestmark = pytest.mark.long

STATUS = "playbooks/status.yml"
SECOND = "worker2"
# Units, and files that hold secrets or settings, of what the second host has for a while.
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
def machines(small: Cluster) -> Machines:
    """All machines, from outside."""
    return Machines(small)


@pytest.fixture(scope="module")
def before(small: Cluster, machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """What the second host has before; afterwards the cluster is as it was."""
    found = set(machines.shell(SECOND, LEFT).split())
    yield found
    Playbooks(small, tmp_path_factory.mktemp("after")).run("site.yml").must_succeed()


def test_operations_work_with_two_hosts_in_each_group(
    small: Cluster, pairs: Cluster, before: set[str], machines: Machines, tmp_path: Path
) -> None:
    playbooks = Playbooks(pairs, tmp_path)
    playbooks.run("site.yml").must_succeed()
    assert "airflow-scheduler.service" in machines.shell(SECOND, LEFT)
    # The heartbeats of the second of each are some seconds away.
    wait_for(lambda: playbooks.run(STATUS).status == 0, what="both hosts healthy", seconds=120, interval=5)
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
    assert set(machines.shell(SECOND, LEFT).split()) - {"inactive"} == before - {"inactive"}
    assert single.run("site.yml").must_succeed().changed == 0
