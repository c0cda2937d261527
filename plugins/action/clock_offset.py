"""Compare a host's clock with the controller's. See plugins/modules/clock_offset.py for the documentation."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.clock import estimate

SAMPLES = 6


class ActionModule(ActionBase):
    """Read the host's clock between two readings of the controller's."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        samples = []
        for _sample in range(SAMPLES):
            before = time.time()
            answer = self._low_level_execute_command("date +%s.%N", sudoable=False)
            samples.append((before, float(answer["stdout"].strip()), time.time()))
        offset, error = estimate(samples)
        return result | {"changed": False, "offset": round(offset, 4), "uncertainty": round(error, 4)}
