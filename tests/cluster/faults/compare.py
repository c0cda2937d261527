"""Our settings and Airflow's own side by side: a worker loses its power, on the same machines, one after the other."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from airflow_client import wait_for
from cluster_inventory import PROJECT, Cluster, run_ansible

from faults import ledger
from faults.harness import DAG, TRANSIENT, Scene
from faults.machines import Machines

PAGE = PROJECT / "docs/failover-comparison.md"
# Airflow's own settings notice after 300 s and a little.
PATIENCE = 480
# No more tasks than one worker has slots: those of the lost one must not have to wait for a slot on the other.
LOAD = {"tasks": 4, "seconds": 30}


@dataclass(frozen=True)
class Outcome:
    """What became of the tasks of a lost worker. Times are seconds since the loss; None for never.

    :param hit: tasks that ran on it.
    :param noticed: when Airflow no longer called the last of them running.
    :param again: when the last of them ran again.
    :param states: their states in the end.
    """

    hit: int
    noticed: float | None
    again: float | None
    states: dict[str, int]


def deploy(cluster: Cluster, tuned: bool) -> None:
    """Run site.yml with our tuning on or off."""
    answer = run_ansible(
        "ansible-playbook", *cluster.options, "site.yml", "-e", f"airflow_failover_tuning={str(tuned).lower()}"
    )
    if answer.returncode != 0:
        raise RuntimeError(f"site.yml: {answer.stdout[-3000:]}{answer.stderr[-1000:]}")


def lose_a_worker(cluster: Cluster) -> Outcome:
    """Cut one worker's power in the middle of its tasks, and follow them."""
    scene = Scene(cluster, Machines(cluster), cluster.client())
    scene.client.wait_for_dag(DAG, seconds=120)
    scene.client.pause(DAG, False)
    problems = scene.wait_until_healthy()
    if problems:
        raise RuntimeError("; ".join(problems))
    scene.begin_load(LOAD)
    numbers = {int(task[len("load[") : -1]) for task in scene.hit}
    scene.injected = time.monotonic()
    scene.machines.power_off(scene.worker)
    try:

        def left() -> bool:
            running = [task for task in scene.client.tasks(DAG, scene.run_id) if task.state == "running"]
            return not any(task.map_index in numbers and task.try_number == 1 for task in running)

        wait_for(left, what="tasks noticed as lost", seconds=PATIENCE, interval=0.5, transient=TRANSIENT)
        noticed = time.monotonic() - scene.injected
        run = scene.wait_for_run(scene.run_id, PATIENCE)
    finally:
        scene.machines.power_on(scene.worker)
    scene.wait_until_healthy()
    states = Counter(
        str(task.state)
        for task in scene.client.tasks(DAG, run.run_id)
        if task.task_id == "load" and task.map_index in numbers
    )
    times = ledger.recovery_times(scene.executions(), scene.injected)
    return Outcome(len(numbers), noticed, max(times) if times else None, dict(states))


def compare(cluster: Cluster) -> None:
    """Measure both, and write the page."""
    rows = []
    for name, tuned in (("Airflow's own (`airflow_failover_tuning: false`)", False), ("ours", True)):
        deploy(cluster, tuned)
        outcome = lose_a_worker(cluster)
        states = ", ".join(f"{count} {state}" for state, count in outcome.states.items())
        again = f"{outcome.again:.0f} s" if outcome.again else "never"
        rows.append(f"| {name} | {outcome.hit} | {outcome.noticed:.0f} s | {again} | {states} |")
        print(rows[-1], flush=True)
    PAGE.write_text(
        "# The same loss with Airflow's own settings\n\n"
        "A worker machine loses its power with tasks running on it; same machines, same load, one after the other,\n"
        "measured by `make compare`.\n\n"
        "| settings | tasks on the worker | noticed after | running elsewhere after | in the end |\n"
        "|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
