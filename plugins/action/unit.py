"""Run the module of this name until its unit is as it should be. See plugins/modules/unit.py."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.unit_progress import UnitProgress

display = Display()
# A look returns as soon as the unit is as it should be. While one works, nothing is shown.
SECONDS = 10
# How long a host may give no answer.
PATIENCE = 300


class ActionModule(ActionBase):
    """Begin, and look at the host until all is done."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        progress = UnitProgress(
            str(self._task.delegate_to or (task_vars or {})["inventory_hostname"]), str(self._task.args.get("name"))
        )
        seen = self._execute_module(task_vars=task_vars)
        answered = time.monotonic()
        while follow := seen.pop("follow", None):
            if line := progress.line(follow, time.monotonic()):
                display.display(line)
            # What was begun goes on without this connection.
            while True:
                arguments = {**self._task.args, "follow": follow, "seconds": SECONDS}
                try:
                    seen = self._execute_module(module_args=arguments, task_vars=task_vars)
                    answered = time.monotonic()
                    break
                except AnsibleConnectionFailure as error:
                    if time.monotonic() - answered > PATIENCE:
                        raise
                    if line := progress.lost(str(error), time.monotonic()):
                        display.display(line)
                    self._connection.reset()
                    time.sleep(1)  # paces the tries; what is waited for is an answer
        return result | seen
