#!/usr/bin/python
"""Query the state of a worker: its unit, its running tasks, its drain."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: worker_tasks
short_description: Query the running tasks of a worker, or wait until no task runs
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Looks at the unit of the host's Celery worker and at the task processes below it, and says whether the worker is
    drained. Changes nothing.
  - With O(timeout), looks every few seconds until no task is left, and shows how far it is whenever that has changed.
    No task is left when no task process is there and the worker itself says that it has none, or when its unit has
    stopped. A worker that does not answer is taken at its processes' word; its stop waits for what may be left. A
    connection that is lost meanwhile is tried again.
options:
  worker:
    description: Celery's name of the worker.
    type: str
    required: true
  unit:
    description: Its unit.
    type: str
    default: airflow-worker.service
  drained:
    description: File that says that the worker is drained.
    type: path
    default: /etc/airflow/worker/drained
  timeout:
    description: Seconds to wait until no task runs. The task does not fail when they are over; see RV(over).
    type: int
  ask:
    description: Whether the worker itself is asked, if no task process is there. The action plugin sets it.
    type: bool
    default: false
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Wait until the worker runs no task
  airflow_celery.cluster.worker_tasks:
    worker: celery@worker1
    timeout: 600
  register: waited

- name: Give up
  ansible.builtin.fail:
    msg: "{{ waited.tasks }} tasks still run"
  when: waited.over
"""

RETURN = r"""
installed:
  description: Whether there is such a unit.
  returned: always
  type: bool
active:
  description: systemd's ActiveState of the unit.
  returned: always
  type: str
tasks:
  description: Tasks that run, or that the worker has taken and is about to run.
  returned: always
  type: int
oldest:
  description: Seconds since the first of them began.
  returned: always
  type: float
marker:
  description: What the file says of the drain, C(since), C(by) and C(why). Empty when the worker is not drained.
  returned: always
  type: dict
over:
  description: Whether the time was over before the last task.
  returned: O(timeout) is given
  type: bool
"""

import json
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.worker_processes import processes, task_processes

AIRFLOW_RUN = "/usr/local/sbin/airflow-run"


def marker_of(path: str) -> dict[str, Any]:
    """Return what the file of a drain says; nothing for no file."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    unknown = {"since": "", "by": "", "why": ""}
    try:
        said = json.loads(text)
    except ValueError:
        return unknown
    # That it is there is what counts: somebody may have made it by hand.
    return {**unknown, **said} if isinstance(said, dict) else unknown


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "worker": {"type": "str", "required": True},
            "unit": {"type": "str", "default": "airflow-worker.service"},
            "drained": {"type": "path", "default": "/etc/airflow/worker/drained"},
            "timeout": {"type": "int"},
            "ask": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    _code, shown, _error = module.run_command(
        ["systemctl", "show", "--property=LoadState,ActiveState,MainPID", given["unit"]], check_rc=True
    )
    unit = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    active, worker = unit.get("ActiveState", ""), int(unit.get("MainPID") or 0)
    found = task_processes(worker, processes())
    tasks = len(found)
    if given["ask"] and not found and active == "active" and os.path.exists(AIRFLOW_RUN):
        code, out, _error = module.run_command(
            [AIRFLOW_RUN, "worker", "airflow_celery_cluster.worker_queues", "look", given["worker"], "--timeout=5"]
        )
        if code == 0:
            tasks = int(json.loads(out)["tasks"])
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    module.exit_json(
        changed=False,
        installed=unit.get("LoadState") not in ("not-found", None),
        active=active,
        tasks=tasks,
        oldest=round(max((now - process.started for process in found), default=0.0), 1),
        marker=marker_of(given["drained"]),
    )


if __name__ == "__main__":
    main()
