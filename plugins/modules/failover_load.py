#!/usr/bin/python
"""Run the load of a failover drill through Airflow's REST API."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.airflow_api import (
    TRANSIENT,
    Api,
    Late,
    Refused,
    wait,
)

DOCUMENTATION = r"""
---
module: failover_load
short_description: Start the load of a failover drill and follow it
version_added: 0.1.0
author: The airflow-celery-cluster maintainers
description:
  - Runs on a host with an API server and speaks to it over loopback, so the controller needs SSH and nothing else.
  - >-
    O(phase=start) starts the DAG C(failover_load) and
    returns when each of its tasks runs, some of them on O(worker). O(phase=moved) returns when each of O(hit) runs
    on another worker or will not run again. O(phase=finish) returns when the DAG run is over.
  - A DAG that was paused is unpaused by O(phase=start), and paused again by O(phase=finish).
options:
  phase:
    description: What to do.
    type: str
    choices: [start, moved, finish]
    required: true
  url:
    description: Where an API server listens.
    type: str
    required: true
  ca_file:
    description: PEM file with the authorities that may sign the certificate of an C(https) O(url).
    type: path
  user:
    description: User of the REST API.
    type: str
  password:
    description: Password of the user.
    type: str
  worker:
    description: Address of the worker that is to be cut off, as Airflow knows it.
    type: str
  tasks:
    description: How many tasks the load has.
    type: int
    default: 4
  seconds:
    description: How long each task works.
    type: int
    default: 30
  run_id:
    description: The DAG run that O(phase=start) returned.
    type: str
  hit:
    description: Index of each task that ran on the worker.
    type: list
    elements: int
    default: []
  was_paused:
    description: Whether O(phase=finish) is to pause the DAG.
    type: bool
    default: false
  timeout:
    description: Seconds to wait. O(phase=moved) and O(phase=finish) return when they are over, the others fail.
    type: int
    default: 120
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Start the load
  airflow_celery.cluster.failover_load:
    phase: start
    url: http://127.0.0.1:8081
    user: admin
    password: "{{ airflow_admin_password }}"
    worker: worker2
"""

RETURN = r"""
run_id:
  description: The DAG run.
  returned: O(phase=start)
  type: str
hit:
  description: Index of each task that runs on the worker.
  returned: O(phase=start)
  type: list
  elements: int
running:
  description: Number of tasks on each worker, by address.
  returned: O(phase=start)
  type: dict
was_paused:
  description: Whether the DAG was paused before.
  returned: O(phase=start)
  type: bool
state:
  description: How the DAG run ended, or the state it is in.
  returned: O(phase=finish)
  type: str
"""

DAG = "failover_load"
# Celery gives tasks to whoever asks first. So often it may leave out the worker that is to be cut off.
ATTEMPTS = 5


def load_tasks(api: Api, run_id: str) -> list[dict[str, Any]]:
    """Return the load's task instances of a DAG run."""
    return [task for task in api.tasks(DAG, run_id) if task["task_id"] == "load" and task["map_index"] >= 0]


def start(api: Api, tasks: int, seconds: int, worker: str, timeout: float) -> dict[str, Any]:
    """Start the load until some of it runs on the worker."""

    def over(run_id: str) -> bool:
        return api.run(DAG, run_id) in ("success", "failed")

    was_paused = bool(wait(lambda: api.known(DAG), f"DAG {DAG} known to Airflow", timeout)["is_paused"])
    if was_paused:
        api.pause(DAG, False)
    everywhere: Counter[str] = Counter()
    for _ in range(ATTEMPTS):
        run_id = api.trigger(DAG, {"tasks": tasks, "seconds": seconds})

        def running(run_id: str = run_id) -> list[dict[str, Any]] | None:
            found = [task for task in load_tasks(api, run_id) if task["state"] == "running"]
            return found if len(found) == tasks else None

        try:
            found = wait(running, f"all {tasks} tasks of the load running (are there {tasks} free slots?)", timeout)
        except Late:
            api.abandon(DAG, run_id)
            raise
        hit = sorted(int(task["map_index"]) for task in found if task["hostname"] == worker)
        everywhere = Counter(str(task["hostname"]) for task in found)
        if hit:
            return {"run_id": run_id, "hit": hit, "running": dict(everywhere), "was_paused": was_paused}
        api.abandon(DAG, run_id)
        wait(partial(over, run_id), f"run {run_id} ended", timeout)
    raise Late(f"none of {ATTEMPTS} runs of {tasks} tasks had one on {worker}; they ran on {sorted(everywhere)}")


def elsewhere(api: Api, run_id: str, hit: set[int], worker: str) -> bool:
    """Whether each task that ran on the worker runs on another one, or will not run again."""
    done = {
        int(task["map_index"])
        for task in load_tasks(api, run_id)
        if task["state"] in ("success", "failed", "upstream_failed")
        or (task["state"] == "running" and task["hostname"] != worker)
    }
    return hit <= done


def main() -> None:
    """Do one phase."""
    module = AnsibleModule(
        argument_spec={
            "phase": {"type": "str", "choices": ["start", "moved", "finish"], "required": True},
            "url": {"type": "str", "required": True},
            "ca_file": {"type": "path"},
            "user": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "worker": {"type": "str"},
            "tasks": {"type": "int", "default": 4},
            "seconds": {"type": "int", "default": 30},
            "run_id": {"type": "str"},
            "hit": {"type": "list", "elements": "int", "default": []},
            "was_paused": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 120},
        },
        required_if=[
            ("phase", "start", ("user", "password", "worker")),
            ("phase", "moved", ("user", "password", "worker", "run_id")),
            ("phase", "finish", ("user", "password", "run_id")),
        ],
    )
    given = module.params
    api = Api(given["url"], given["user"] or "", given["password"] or "", given["ca_file"])
    phase, run_id, timeout = given["phase"], given["run_id"], given["timeout"]
    result: dict[str, Any] = {"changed": phase in ("start", "finish")}
    try:
        if phase == "start":
            result |= start(api, given["tasks"], given["seconds"], given["worker"], timeout)
        elif phase == "moved":
            hit = set(given["hit"])
            try:
                wait(lambda: elsewhere(api, run_id, hit, given["worker"]), "tasks running elsewhere", timeout)
                result["moved"] = True
            except Late:
                result["moved"] = False  # the report says which; the worker must be healed now
        else:
            try:
                wait(lambda: api.run(DAG, run_id) in ("success", "failed"), f"run {run_id} over", timeout)
            except Late:
                api.abandon(DAG, run_id)
                result["given_up"] = True
            result["state"] = "given up" if result.get("given_up") else api.run(DAG, run_id)
            if given["was_paused"]:
                api.pause(DAG, True)
    except (Refused, Late, *TRANSIENT) as error:
        module.fail_json(msg=f"{given['url']}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
