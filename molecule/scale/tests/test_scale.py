"""Two workers, four, and two again, under load: nothing is lost. One is removed cleanly, one is dead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_client import AirflowClient, wait_for
from cluster_inventory import Cluster
from faults import ledger
from faults.harness import DAG, Scene, wait_for_logs
from faults.load import Load
from faults.machines import Machines
from faults.operation import Done, Playbooks, problems

pytestmark = pytest.mark.long

REMOVE = "playbooks/remove_worker.yml"
# Whatever the deployment brings to a worker, and the firewall's table
LEFT = """
for path in /opt/airflow /var/lib/airflow /var/lib/airflow-log-shipper /var/cache/airflow; do
    test ! -e $path || echo $path
done
find /etc /usr/local -name '*airflow*' -prune
getent passwd airflow airflow-worker airflow-log-shipper || true
getent group airflow || true
nft list tables | grep airflow || true
"""


def slots(cluster: Cluster) -> int:
    """Return the slots of all workers."""
    return sum(int(cluster.variables[name]["airflow_worker_concurrency"]) for name in cluster.workers)


def counted(cluster: Cluster, machines: Machines) -> int:
    """Return the slots that the scheduler counts."""
    text = machines.run(cluster.first("airflow_scheduler"), "cat", "/etc/airflow/scheduler.env")
    [number] = re.findall(r'AIRFLOW__CORE__PARALLELISM="(\d+)"', text)
    return int(number)


def let_in(cluster: Cluster, machines: Machines, address: str) -> bool:
    """Whether the control node's firewall lets an address in."""
    table = machines.run(cluster.first("redis"), "nft", "list", "table", "inet", "airflow_firewall")
    return re.search(rf"\b{re.escape(address)}\b", table) is not None


@pytest.fixture(scope="module")
def machines(large: Cluster) -> Machines:
    """All machines, from outside."""
    return Machines(large)


@pytest.fixture(scope="module")
def playbooks(large: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playbooks]:
    """The playbooks on the large cluster; the machines that it has more go with these tests."""
    found = Playbooks(large, tmp_path_factory.mktemp("logs"))
    yield found
    gone = ("--limit", "worker3,worker4", "-e", "local_machines_state=absent")
    found.run("playbooks/local_machines.yml", *gone).must_succeed()


def changed_hosts(done: Done) -> set[str]:
    """Return the hosts on which a playbook changed something."""
    recap = done.output.partition("PLAY RECAP")[2]
    return set(re.findall(r"^(\S+)\s*: ok=\d+\s+changed=[1-9]", recap, re.MULTILINE))


def test_two_workers_become_four_and_two_again(
    small: Cluster, large: Cluster, machines: Machines, playbooks: Playbooks, client: AirflowClient, tmp_path: Path
) -> None:
    added = [name for name in large.workers if name not in small.workers]
    assert len(added) == 2
    leaving, dying = added
    limit = ("--limit", ",".join(added))
    playbooks.run("playbooks/local_machines.yml", *limit).must_succeed()
    with Load(small) as load:
        wait_for(lambda: any(load.runs.values()), what="the load under way", seconds=300)
        # The worst moment: the new count of slots is written down, and the scheduler runs with the old one.
        playbooks.kill_at(
            r"Slots \| Ensure the scheduler runs with the number of slots", "site.yml", *limit, "--flush-cache"
        )
        done = playbooks.run("site.yml", *limit, "--flush-cache").must_succeed()
        # The new machines, and on the control node the count of slots and the firewall's addresses
        assert changed_hosts(done) <= {*added, small.first("control_plane")}
        assert counted(large, machines) == slots(large)
        assert client.call("GET", "/pools/default_pool")["slots"] == slots(large)
        wait_for(
            lambda: (
                {one.host for run in list(load.runs) for one in ledger.read(machines.ledger(run, large.workers))}
                >= set(added)
            ),
            what="tasks on both new workers",
            seconds=240,
        )

        # A clean removal: first without a confirmation, then with one, with the controller killed in between.
        before = machines.shell(leaving, LEFT)
        playbooks.run(REMOVE, "-e", f"cluster_worker={leaving}").must_fail("-e cluster_confirm=yes")
        assert machines.shell(leaving, LEFT) == before
        assert counted(large, machines) == slots(large)
        options = ("-e", f"cluster_worker={leaving}", "-e", "cluster_confirm=yes", "-e", "cluster_keep_logs=yes")
        playbooks.kill_at(
            r"TASK \[airflow_celery.cluster.airflow_host : Absent \| Remove the users\]", REMOVE, *options
        )
        said = playbooks.run(REMOVE, *options).must_succeed().text
        assert f"{leaving} is removed. Remove its lines from" in said
        assert playbooks.run(REMOVE, *options).must_succeed().changed == 0
        assert machines.shell(leaving, LEFT).split() == ["/var/lib/airflow"]
        own = int(large.variables[leaving]["airflow_worker_concurrency"])
        assert counted(large, machines) == slots(large) - own
        assert not let_in(large, machines, large.address(leaving))
        assert let_in(large, machines, large.address(dying))

        # Dead: it has to be, and then its tasks run elsewhere.
        playbooks.run(REMOVE, "-e", f"cluster_worker={dying}", "-e", "cluster_machine=dead").must_fail(
            "the machine is not dead"
        )
        wait_for(
            lambda: any(
                not one.ended
                for run, state in list(load.runs.items())
                if not state
                for one in ledger.read(machines.ledger(run, [dying]))
            ),
            what=f"a running task on {dying}",
            seconds=240,
            interval=0.5,
        )
        machines.power_off(dying)
        playbooks.run(REMOVE, "-e", f"cluster_worker={dying}").must_fail("-e cluster_machine=dead")
        # Both are named: the one that is removed already must not be counted again.
        done = playbooks.run(
            REMOVE, "-e", f"cluster_worker={dying},{leaving}", "-e", "cluster_machine=dead", "-e", "cluster_confirm=yes"
        )
        done.must_succeed()
        assert counted(large, machines) == slots(small)
        assert client.call("GET", "/pools/default_pool")["slots"] == slots(small)
        assert not let_in(large, machines, large.address(dying))
    # The disk of the dead one has its part of the ledgers.
    machines.power_on(dying)
    assert set(load.runs.values()) == {"success"}
    assert problems(machines, large.workers, load.runs, retries=True) == []
    # So are the logs of what ran on the removed ones, which send nothing any more.
    scene = Scene(large, machines, client)
    for scene.run_id in load.runs:
        assert wait_for_logs(scene, scene.executions()) == []

    # The inventory without them is the whole truth.
    again = Playbooks(small, tmp_path).run("site.yml").must_succeed()
    assert again.changed == 0
    assert set(client.health().values()) == {"healthy"}


def test_the_removed_ones_may_not_come_back_by_themselves(large: Cluster, small: Cluster, machines: Machines) -> None:
    # It was switched on again, with its old secrets: the firewall keeps it out.
    dying = large.workers[-1]
    control = small.first("airflow_scheduler")
    assert machines.silent_workers(control, [dying]) == [dying]
    run_id = (found := small.client()).trigger(DAG, {"tasks": slots(small), "seconds": 1})
    assert found.wait_for_run(DAG, run_id, seconds=120).state == "success"
    assert ledger.read(machines.ledger(run_id, [dying])) == []
