"""A worker is drained under load and comes back, also after an interruption: no task is lost, retried or run twice."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from airflow_client import AirflowClient, wait_for
from cluster_inventory import Cluster
from faults import ledger
from faults.harness import DAG
from faults.load import Load
from faults.machines import Machines
from faults.operation import Playbooks, problems

DRAIN, UNDRAIN = "playbooks/drain_worker.yml", "playbooks/undrain_worker.yml"
MARKER = "/etc/airflow/worker/drained"


@pytest.fixture
def worker(cluster: Cluster, playbooks: Playbooks) -> Iterator[str]:
    """The worker that is drained; back in service afterwards."""
    name = cluster.workers[-1]
    yield name
    playbooks.run(UNDRAIN, "-e", f"cluster_worker={name}").must_succeed()


def active(machines: Machines, worker: str) -> str:
    """Return systemd's state of the worker's unit."""
    return machines.run(worker, "systemctl", "is-active", "airflow-worker", check=False).strip()


def marker(machines: Machines, worker: str) -> dict[str, str]:
    """Return what the worker's marker says; nothing when it is not drained."""
    text = machines.shell(worker, f"test ! -e {MARKER} || cat {MARKER}")
    return dict(json.loads(text)) if text else {}


def queues(machines: Machines, worker: str) -> list[str]:
    """Return the queues that the worker consumes from."""
    look = ("/usr/local/sbin/airflow-run", "worker", "airflow_celery_cluster.worker_queues", "look")
    return list(json.loads(machines.run(worker, *look, f"celery@{worker}"))["queues"])


def executions(machines: Machines, cluster: Cluster, run_id: str) -> list[ledger.Execution]:
    """Return what the ledgers of a run say now."""
    return ledger.read(machines.ledger(run_id, cluster.workers))


def start_long_run(
    client: AirflowClient, machines: Machines, cluster: Cluster, worker: str, seconds: int
) -> tuple[str, set[str]]:
    """Fill every slot of the cluster; return the run, and its tasks that run on the worker."""
    slots = sum(int(cluster.variables[name]["airflow_worker_concurrency"]) for name in cluster.workers)
    run_id = client.trigger(DAG, {"tasks": slots, "seconds": seconds})

    def all_begun() -> list[ledger.Execution]:
        found = executions(machines, cluster, run_id)
        return found if len(found) == slots else []

    found = wait_for(all_begun, what=f"{slots} running tasks", seconds=120)
    here = {one.task for one in found if one.host == worker}
    assert here
    return run_id, here


def test_the_last_worker_of_a_queue_is_not_drained(playbooks: Playbooks) -> None:
    # What needs no machine to be refused is in tests/preflight.
    done = playbooks.run(DRAIN, "-e", "cluster_worker=airflow_worker").must_fail(
        "no other worker takes tasks from queue default"
    )
    assert "Nothing was touched" in done.text
    assert done.changed == 0


def test_a_drained_worker_takes_no_task_and_stays_so(
    cluster: Cluster, machines: Machines, playbooks: Playbooks, client: AirflowClient, worker: str
) -> None:
    with Load(cluster) as load:
        wait_for(lambda: any(load.runs.values()), what="the load under way", seconds=300)
        done = playbooks.run(DRAIN, "-e", f"cluster_worker={worker}", "-e", "cluster_why='a new disk'").must_succeed()
        assert f"{worker}: no task runs" in done.output
        assert active(machines, worker) == "inactive"
        assert marker(machines, worker)["why"] == "a new disk"

        # Drained is drained: a second time, a deployment, a boot
        assert playbooks.run(DRAIN, "-e", f"cluster_worker={worker}").must_succeed().changed == 0
        assert playbooks.run("site.yml", "--limit", worker).must_succeed().changed == 0
        machines.reboot(worker)
        assert active(machines, worker) == "inactive"
        run_id = client.trigger(DAG, {"tasks": 4, "seconds": 1})
        assert client.wait_for_run(DAG, run_id, seconds=120).state == "success"
        assert {one.host for one in executions(machines, cluster, run_id)} == set(cluster.workers) - {worker}

        playbooks.run(UNDRAIN, "-e", f"cluster_worker={worker}").must_succeed()
        assert playbooks.run(UNDRAIN, "-e", f"cluster_worker={worker}").must_succeed().changed == 0
        wait_for(
            lambda: any(one.host == worker for run in list(load.runs) for one in executions(machines, cluster, run)),
            what=f"a task on {worker}",
            seconds=120,
        )
    assert set(load.runs.values()) == {"success"}
    assert problems(machines, cluster.workers, load.runs) == []


@pytest.mark.long
def test_a_setting_that_was_changed_meanwhile_counts_after_the_drain(
    cluster: Cluster, machines: Machines, playbooks: Playbooks, worker: str
) -> None:
    playbooks.run(DRAIN, "-e", f"cluster_worker={worker}").must_succeed()
    change = ("-e", json.dumps({"airflow_worker_queues": ["default", "later"]}))
    playbooks.run("site.yml", *change).must_succeed()
    assert active(machines, worker) == "inactive"
    playbooks.run(UNDRAIN, "-e", f"cluster_worker={worker}", *change).must_succeed()
    assert sorted(queues(machines, worker)) == ["default", "later"]
    playbooks.run("site.yml").must_succeed()


def test_a_task_that_does_not_end_puts_the_worker_back(
    cluster: Cluster, machines: Machines, playbooks: Playbooks, client: AirflowClient, worker: str
) -> None:
    run_id, here = start_long_run(client, machines, cluster, worker, seconds=60)
    done = playbooks.run(DRAIN, "-e", f"cluster_worker={worker}", "-e", "cluster_drain_timeout=5").must_fail(
        "takes tasks again"
    )
    assert f"{len(here)} tasks still ran after 5 s" in done.text
    assert marker(machines, worker) == {}
    assert queues(machines, worker) == ["default"]
    assert client.wait_for_run(DAG, run_id, seconds=180).state == "success"
    found = executions(machines, cluster, run_id)
    # Where it ran it ended, in one go.
    assert {one.task for one in found if one.host == worker} >= here
    assert ledger.interrupted(found) == []


@pytest.mark.long
def test_force_hands_over_what_does_not_end(
    cluster: Cluster, machines: Machines, playbooks: Playbooks, client: AirflowClient, worker: str
) -> None:
    run_id, here = start_long_run(client, machines, cluster, worker, seconds=45)
    playbooks.run(
        DRAIN, "-e", f"cluster_worker={worker}", "-e", "cluster_drain_timeout=3", "-e", "cluster_force=yes"
    ).must_succeed()
    assert active(machines, worker) == "inactive"
    assert client.wait_for_run(DAG, run_id, seconds=300).state == "success"
    found = executions(machines, cluster, run_id)
    assert ledger.overlapping(found) == []
    assert {one.task for one in ledger.interrupted(found)} == here
    assert {one.host for one in found if one.task in here and one.ended} == set(cluster.workers) - {worker}


@pytest.mark.long
@pytest.mark.parametrize("then", [DRAIN, UNDRAIN], ids=["gone on with", "taken back"])
def test_a_drain_whose_controller_is_killed(
    cluster: Cluster, machines: Machines, playbooks: Playbooks, client: AirflowClient, worker: str, then: str
) -> None:
    run_id, here = start_long_run(client, machines, cluster, worker, seconds=60)
    playbooks.kill_at(
        rf"{worker}: \d+ tasks? run", DRAIN, "-e", f"cluster_worker={worker}", "-e", "cluster_drain_timeout=300"
    )
    assert marker(machines, worker)["by"] == "drain_worker"
    assert active(machines, worker) == "active"
    # Its watchdog, restarted, does not give it its queues back.
    machines.run(worker, "systemctl", "restart", "airflow-worker-watchdog")
    other = client.trigger(DAG, {"tasks": 2, "seconds": 1})
    assert queues(machines, worker) == []
    playbooks.run(then, "-e", f"cluster_worker={worker}").must_succeed()
    assert active(machines, worker) == ("inactive" if then == DRAIN else "active")
    assert bool(marker(machines, worker)) == (then == DRAIN)
    for run in (run_id, other):
        assert client.wait_for_run(DAG, run, seconds=180).state == "success"
        assert ledger.interrupted(executions(machines, cluster, run)) == []
    assert {one.task for one in executions(machines, cluster, run_id) if one.host == worker} >= here


@pytest.mark.long
def test_an_undrain_whose_controller_is_killed(machines: Machines, playbooks: Playbooks, worker: str) -> None:
    playbooks.run(DRAIN, "-e", f"cluster_worker={worker}").must_succeed()
    # The worst moment: nothing says any more that it is drained, and nothing has started it.
    playbooks.kill_at(r"Undrain \| Ensure the worker is running", UNDRAIN, "-e", f"cluster_worker={worker}")
    playbooks.run(UNDRAIN, "-e", f"cluster_worker={worker}").must_succeed()
    assert active(machines, worker) == "active"
    assert queues(machines, worker) == ["default"]


@pytest.mark.long
def test_a_worker_that_crashes_while_it_is_drained_stays_down(
    cluster: Cluster, machines: Machines, playbooks: Playbooks, client: AirflowClient, worker: str
) -> None:
    run_id, _ = start_long_run(client, machines, cluster, worker, seconds=40)
    process, log = playbooks.start(DRAIN, "-e", f"cluster_worker={worker}")
    wait_for(lambda: f"{worker}: " in log.read_text(), what="the wait for its tasks", seconds=120)
    machines.kill_unit(worker, "airflow-worker")
    assert process.wait(timeout=120) == 0, log.read_text()[-6000:]
    assert active(machines, worker) in ("inactive", "failed")
    # Its tasks died with it, and run elsewhere.
    assert client.wait_for_run(DAG, run_id, seconds=240).state == "success"
    assert ledger.overlapping(executions(machines, cluster, run_id)) == []
