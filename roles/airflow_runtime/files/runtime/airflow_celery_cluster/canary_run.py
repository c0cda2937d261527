"""Run one task on the worker that takes the canary, and say whether it came back.

Starts the DAG ``cluster_canary`` and waits for its task, which goes the way of every task: scheduler, broker, worker,
Execution API. It runs on the worker that consumes from the queue ``cluster_canary``: see ``canary.py``. Runs with the
configuration of a scheduler.

Prints one JSON object as its last line: ``{"run_id": ...}``. Ends with 1, and the reason on standard error, when the
task fails, is late, ran on another worker or with another release.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from airflow_celery_cluster.cluster_runs import Late, Runs, wait

DAG = "cluster_canary"
TASK = "canary"
OVER = ("success", "failed", "upstream_failed", "skipped", "removed")


def problem(task: dict[str, Any], release: object, worker: str, wanted: str) -> str:
    """Return what is wrong with a canary that is over; "" when nothing is.

    :param task: the task instance.
    :param release: what the task returned.
    :param worker: address of the worker that it is about.
    :param wanted: id of the release that it should have run with.
    """
    if task["hostname"] and task["hostname"] != worker:
        return f"it ran on {task['hostname']}, which says nothing of {worker}"
    if task["state"] != "success":
        return f"it ended as {task['state']}"
    if release != wanted:
        return f"it ran with release {release}; expected {wanted}"
    return ""


def run(runs: Runs, worker: str, release: str, timeout: float) -> str:
    """Run the canary, and return the id of its DAG run. Raises Late."""
    known = wait(runs.known, f"DAG {DAG} known to Airflow", timeout)
    if known["is_paused"]:
        runs.pause(False)
    try:
        run_id = runs.trigger({})

        def over() -> dict[str, Any] | None:
            return next((task for task in runs.tasks(run_id) if task["state"] in OVER), None)

        try:
            task = wait(over, f"the task of {DAG}, run {run_id}, over", timeout)
        except Late:
            state = next((task["state"] for task in runs.tasks(run_id)), None)
            runs.abandon(run_id)
            raise Late(f"run {run_id} of {DAG} was still {state} after {timeout:g} s") from None
        returned = runs.returned(run_id, TASK) if task["state"] == "success" else None
        if wrong := problem(task, returned, worker, release):
            raise Late(f"run {run_id} of {DAG}: {wrong}")
        return run_id
    finally:
        if known["is_paused"]:
            runs.pause(True)


def main() -> int:
    """Run it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", required=True, help="address of the worker, as Airflow knows it")
    parser.add_argument("--release", required=True, help="id of the release that the worker is to run")
    parser.add_argument(
        "--timeout", type=float, default=120, help="seconds for the DAG to be known, and for the task to end"
    )
    arguments = parser.parse_args()
    try:
        run_id = run(Runs(DAG), arguments.worker, arguments.release, arguments.timeout)
    except Late as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"run_id": run_id}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
