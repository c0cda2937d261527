#!/usr/bin/python
"""Run one real task on one worker through Airflow's REST API."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.airflow_api import (
    TRANSIENT,
    Api,
    Late,
    Refused,
    path_of,
    wait,
)

DOCUMENTATION = r"""
---
module: canary
short_description: Run one task on one worker, and say whether it came back
version_added: 0.1.0
author: The airflow-celery-cluster maintainers
description:
  - Runs on a host with an API server and speaks to it over loopback, so the controller needs SSH and nothing else.
  - >-
    Starts the DAG C(cluster_canary) and waits for its task, which goes the way of every task: scheduler, broker,
    worker, Execution API. It runs on the worker that consumes from the queue C(cluster_canary), which is the caller's
    business.
  - Fails when the task fails, does not end in time, ran on another worker, or ran with another release of the runtime.
options:
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
    required: true
  password:
    description: Password of the user.
    type: str
    required: true
  worker:
    description: Address of the worker, as Airflow knows it.
    type: str
    required: true
  release:
    description: Id of the release that the worker is to run.
    type: str
    required: true
  timeout:
    description: Seconds to wait, for the DAG to be known and again for the task to end.
    type: int
    default: 120
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Run a task on this worker
  airflow_celery.cluster.canary:
    url: http://127.0.0.1:8081
    user: admin
    password: "{{ airflow_admin_password }}"
    worker: worker2
    release: 3.3.2-0123456789ab
  delegate_to: control1
"""

RETURN = r"""
run_id:
  description: The DAG run.
  returned: success
  type: str
"""

DAG = "cluster_canary"
TASK = "canary"
OVER = ("success", "failed", "upstream_failed", "skipped", "removed")


def problem(task: dict[str, Any], release: object, worker: str, wanted: str) -> str:
    """Return what is wrong with a canary that is over; "" when nothing is.

    :param task: the task instance, as the REST API gives it.
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


def run(api: Api, worker: str, release: str, timeout: float) -> str:
    """Run the canary, and return the id of its DAG run. Raises Late and Refused."""
    known = wait(lambda: api.known(DAG), f"DAG {DAG} known to Airflow", timeout)
    if known["is_paused"]:
        api.pause(DAG, False)
    try:
        run_id = api.trigger(DAG, {})

        def over() -> dict[str, Any] | None:
            return next((task for task in api.tasks(DAG, run_id) if task["state"] in OVER), None)

        try:
            task = wait(over, f"the task of {DAG}, run {run_id}, over", timeout)
        except Late:
            state = next((task["state"] for task in api.tasks(DAG, run_id)), None)
            api.abandon(DAG, run_id)
            raise Late(f"run {run_id} of {DAG} was still {state} after {timeout:g} s") from None
        returned = None
        if task["state"] == "success":
            path = f"{path_of(DAG, run_id)}/taskInstances/{TASK}/xcomEntries/return_value?deserialize=true"
            returned = api.call("GET", path)["value"]
        wrong = problem(task, returned, worker, release)
        if wrong:
            raise Late(f"run {run_id} of {DAG}: {wrong}")
        return run_id
    finally:
        if known["is_paused"]:
            api.pause(DAG, True)


def main() -> None:
    """Run it once."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "ca_file": {"type": "path"},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "worker": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
        },
    )
    given = module.params
    api = Api(given["url"], given["user"], given["password"], given["ca_file"])
    try:
        run_id = run(api, given["worker"], given["release"], given["timeout"])
    except (Refused, Late, *TRANSIENT) as error:
        module.fail_json(msg=f"{given['url']}: {error}")
    module.exit_json(changed=True, run_id=run_id)


if __name__ == "__main__":
    main()
