"""Run the module of this name, once or until no task is left. See plugins/modules/worker_tasks.py."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.drain import Progress, is_over, pace

display = Display()


class ActionModule(ActionBase):
    """Query the host every few seconds and display changes."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        seconds = arguments.pop("timeout", None)
        if seconds is None:
            return result | self._execute_module(module_args=arguments, task_vars=task_vars)
        host = str((task_vars or {})["inventory_hostname"])
        began = time.monotonic()
        progress = Progress(host, int(seconds))
        while True:
            try:
                seen = self._execute_module(module_args={**arguments, "ask": True}, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                elapsed = time.monotonic() - began
                if is_over(elapsed, int(seconds)):
                    raise
                self._show(progress.lost(str(error), elapsed))
                self._connection.reset()
            else:
                if seen.get("failed") or seen.get("unreachable"):
                    return result | seen
                elapsed = time.monotonic() - began
                self._show(progress.line(seen["tasks"], seen["oldest"], seen["active"], elapsed))
                done = progress.is_done(seen["tasks"], seen["active"])
                if done or is_over(elapsed, int(seconds)):
                    return result | seen | {"over": not done}
            time.sleep(pace(elapsed, int(seconds)))  # paces the asking; what is waited for is the last task's end

    @staticmethod
    def _show(line: str) -> None:
        if line:
            display.display(line)
