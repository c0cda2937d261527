"""Run the load of a failover drill, one phase at a time, with the configuration of a scheduler.

``start`` starts the DAG ``failover_load`` and ends when each of its tasks runs, some of them on the worker that is to
be cut off. ``moved`` ends when each of those runs on another worker or will not run again. ``finish`` ends when the DAG
run is over. A DAG that was paused is unpaused by ``start``, and paused again by ``finish``.

Prints one JSON object as its last line. Ends with 1, and the reason on standard error, when ``start`` fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from functools import partial
from typing import Any

from airflow_celery_cluster.cluster_runs import Late, Runs, wait

DAG = "failover_load"
# Celery gives tasks to whoever asks first. So often it may leave out the worker that is to be cut off.
ATTEMPTS = 5
OVER = ("success", "failed")


def load_tasks(runs: Runs, run_id: str) -> list[dict[str, Any]]:
    """Return the load's task instances of a DAG run."""
    return [task for task in runs.tasks(run_id) if task["task_id"] == "load" and task["map_index"] >= 0]


def start(runs: Runs, tasks: int, seconds: int, worker: str, timeout: float) -> dict[str, Any]:
    """Start the load until some of it runs on the worker. Raises Late."""

    def over(run_id: str) -> bool:
        return runs.state(run_id) in OVER

    was_paused = bool(wait(runs.known, f"DAG {DAG} known to Airflow", timeout)["is_paused"])
    if was_paused:
        runs.pause(False)
    everywhere: Counter[str] = Counter()
    for _attempt in range(ATTEMPTS):
        run_id = runs.trigger({"tasks": tasks, "seconds": seconds})

        def running(run_id: str = run_id) -> list[dict[str, Any]] | None:
            found = [task for task in load_tasks(runs, run_id) if task["state"] == "running"]
            return found if len(found) == tasks else None

        try:
            found = wait(running, f"all {tasks} tasks of the load running (are there {tasks} free slots?)", timeout)
        except Late:
            runs.abandon(run_id)
            raise
        hit = sorted(int(task["map_index"]) for task in found if task["hostname"] == worker)
        everywhere = Counter(str(task["hostname"]) for task in found)
        if hit:
            return {"run_id": run_id, "hit": hit, "running": dict(everywhere), "was_paused": was_paused}
        runs.abandon(run_id)
        wait(partial(over, run_id), f"run {run_id} ended", timeout)
    raise Late(f"none of {ATTEMPTS} runs of {tasks} tasks had one on {worker}; they ran on {sorted(everywhere)}")


def elsewhere(runs: Runs, run_id: str, hit: set[int], worker: str) -> bool:
    """Whether each task that ran on the worker runs on another one, or will not run again."""
    done = {
        int(task["map_index"])
        for task in load_tasks(runs, run_id)
        if task["state"] in ("success", "failed", "upstream_failed")
        or (task["state"] == "running" and task["hostname"] != worker)
    }
    return hit <= done


def moved(runs: Runs, run_id: str, hit: set[int], worker: str, timeout: float) -> dict[str, Any]:
    """Wait until the tasks run elsewhere. That they do not is a result: the worker must be healed now."""
    try:
        wait(lambda: elsewhere(runs, run_id, hit, worker), "tasks running elsewhere", timeout)
    except Late:
        return {"moved": False}
    return {"moved": True}


def finish(runs: Runs, run_id: str, was_paused: bool, timeout: float) -> dict[str, Any]:
    """Wait for the end of the load, or end it."""
    try:
        wait(lambda: runs.state(run_id) in OVER, f"run {run_id} over", timeout)
    except Late:
        runs.abandon(run_id)
        state = "given up"
    else:
        state = runs.state(run_id)
    if was_paused:
        runs.pause(True)
    return {"state": state}


def main() -> int:
    """Do one phase."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["start", "moved", "finish"])
    parser.add_argument("--worker", default="", help="address of the worker that is to be cut off, as Airflow knows it")
    parser.add_argument("--tasks", type=int, default=4, help="how many tasks the load has")
    parser.add_argument("--seconds", type=int, default=30, help="how long each task works")
    parser.add_argument("--run-id", default="", help="the DAG run that start has returned")
    parser.add_argument("--hit", default="", help="index of each task that ran on the worker, with commas between them")
    parser.add_argument("--was-paused", action="store_true", help="for finish: pause the DAG")
    parser.add_argument("--timeout", type=float, default=120, help="seconds to wait")
    given = parser.parse_args()
    runs = Runs(DAG)
    try:
        if given.phase == "start":
            result = start(runs, given.tasks, given.seconds, given.worker, given.timeout)
        elif given.phase == "moved":
            hit = {int(index) for index in given.hit.split(",") if index}
            result = moved(runs, given.run_id, hit, given.worker, given.timeout)
        else:
            result = finish(runs, given.run_id, given.was_paused, given.timeout)
    except Late as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
