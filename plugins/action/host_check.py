"""Run the module of this name; compare clock, memory and identity of the host. See plugins/modules/host_check.py."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import memory, process_memory
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.clock import proven_offset, uncertainty
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.identity import identity_problems

# The first sample may contain an SSH login; asking again over the open connection takes a fraction of a second.
MOST_SAMPLES = 4


class ActionModule(ActionBase):
    """Take the controller's time before and after the module; add findings of clock, memory and identity."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        before = time.time()
        result.update(self._execute_module(task_vars=task_vars))
        if result.get("failed") or result.get("unreachable"):
            return result
        for found in result["findings"]:
            # A host does not know how the controller calls the playbook.
            if found["variable"] == "airflow_version":
                found["remedy"] += f" with {command('rollback')}"
        samples = [(before, float(result["time"]), time.time())]
        allowed = int(self._task.args.get("max_clock_offset", 5))
        while uncertainty(samples) > allowed / 2 and len(samples) < MOST_SAMPLES:
            before = time.time()
            answer = self._low_level_execute_command("date +%s.%N", sudoable=False)
            samples.append((before, float(answer["stdout"].strip()), time.time()))
        offset = proven_offset(samples)
        result["clock_offset"] = round(offset, 1)
        if abs(offset) > allowed:
            result["findings"].append(
                {
                    "variable": "clock",
                    "value": f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the controller's",
                    "expected": f"at most {allowed} s apart (preflight_max_clock_offset): tokens of tasks expire by it",
                    "remedy": "synchronise the clocks of host and controller, with systemd-timesyncd or chrony",
                    "about": "",
                }
            )
        identity = self._of_identity(result["identity"], task_vars or {})
        if self._task.delegate_to:
            # The other machine is asked for the identity of the cluster, and for nothing else.
            result["findings"] = identity
            return result
        result["findings"] += identity + self._of_memory(int(result["ansible_facts"]["memtotal_mb"]), task_vars or {})
        return result

    def _of_identity(self, deployed: Mapping[str, Any], variables: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return what the machine was deployed with and the controller does not have."""
        expected = self._task.args.get("identity")
        if not expected:
            return []
        # Where the task is delegated, the machine is another one, and the secrets are those of the whole cluster.
        own = variables["hostvars"][self._task.delegate_to or variables["inventory_hostname"]]
        restoring = boolean(self._task.args.get("restoring", False))
        return identity_problems(expected, deployed, own, restoring)

    def _of_memory(self, machine: int, variables: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return what the inventory asks of the machine's memory and cannot have."""

        def value(host: str, variable: str) -> Any:
            return variables["hostvars"][host].get(variable, memory.DEFAULTS[variable])

        found = process_memory.problems(variables["inventory_hostname"], machine, variables["groups"], value)
        return [{**asdict(problem), "about": ""} for problem in found]
