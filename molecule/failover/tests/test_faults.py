"""Some of the faults, once each; `make faults` runs all of them again and again."""

from __future__ import annotations

import pytest
from airflow_client import AirflowClient
from cluster_inventory import Cluster
from faults.catalogue import BY_NAME, SHORT, WORKER
from faults.harness import Scene, run_fault
from faults.machines import Machines

# Faults that end the executions that they hit; the others must not be noticed by any task.
INTERRUPTING = {"api-servers-away", "power-off", "freeze", "silent-drop-child", "drain-too-long"}

# What `make test` leaves out.
LONG = {"database-stall", "drain-too-long", "kill-both-execution-apis", "kill-postgresql"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in sorted(SHORT)]
)
def test_no_task_is_lost_and_none_runs_twice_at_once(cluster: Cluster, name: str) -> None:
    result = run_fault(cluster, BY_NAME[name])
    print(result.as_json())
    assert result.problems == []
    assert result.tasks > 0
    # A fault that nobody noticed was none: then the test would prove nothing.
    assert (result.interrupted > 0) == (name in INTERRUPTING), result.as_json()
    assert len(result.recovery) == result.interrupted


def test_a_task_is_what_the_kernel_ends_when_memory_runs_out(
    cluster: Cluster, machines: Machines, client: AirflowClient
) -> None:
    """Or its supervisor, which has the same score and is smaller; never the worker with all its tasks."""
    scene = Scene(cluster, machines, client)
    # Long enough for a host on which Podman removes other machines meanwhile.
    scene.begin_load({"tasks": 4, "seconds": 40})
    scores = machines.shell(
        scene.worker,
        f"main={machines.main_process(scene.worker, WORKER)}; cat /proc/$main/oom_score_adj; "
        "for supervisor in $(pgrep -P $main); do for task in $(pgrep -P $supervisor); do "
        "[ $(ps -o pgid= -p $task) != $task ] || cat /proc/$supervisor/oom_score_adj /proc/$task/oom_score_adj; "
        "done; done",
    ).split()
    worker, *others = map(int, scores)
    assert others
    assert worker < min(others)
    assert scene.wait_for_run(scene.run_id, 120).state == "success"
