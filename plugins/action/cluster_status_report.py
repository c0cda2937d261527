"""Report what was found of a cluster. See plugins/modules/cluster_status_report.py for the documentation."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.airflow_celery.cluster.plugins.filter.cluster import addresses
from ansible_collections.airflow_celery.cluster.plugins.module_utils.parts import FIRST_SCHEDULER
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import status_report
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.health import Cluster, Host, Limits, reasons


class ActionModule(ActionBase):
    """Take what each host has registered, print the report, and fail when the cluster is not healthy."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        defaults = Limits()
        _validated, given = self.validate_argument_spec(
            argument_spec={
                "output": {"type": "str", "choices": ["text", "json"], "default": "text"},
                "path": {"type": "path"},
                "max_disk_percent": {"type": "float", "default": defaults.disk_percent},
                "min_certificate_days": {"type": "float", "default": defaults.certificate_days},
                "max_clock_offset": {"type": "float", "default": defaults.clock_offset},
                "max_backup_days": {"type": "float", "default": defaults.backup_days},
            }
        )
        variables = task_vars or {}
        hostvars, groups = variables["hostvars"], variables["groups"]
        names = [name for name in groups["all"] if name in {*groups["control_plane"], *groups["airflow_worker"]}]
        probe, error = probed([hostvars[name].get("cluster_status_probe") for name in groups["airflow_scheduler"]])
        cluster = Cluster(
            now=time.time(),
            hosts=[host_of(name, hostvars[name], addresses([name], hostvars)[0], groups) for name in names],
            probe=probe,
            probe_error=error,
            limits=Limits(
                given["max_disk_percent"],
                given["min_certificate_days"],
                given["max_clock_offset"],
                given["max_backup_days"],
            ),
        )
        machine = json.dumps(status_report.document(cluster))
        printed = machine if given["output"] == "json" else status_report.text(cluster)
        # Not as the task's result, which the callback would indent and wrap.
        Display().display("\n" + printed + "\n")
        if given["path"]:
            Path(given["path"]).expanduser().write_text(machine + "\n", encoding="utf-8")
        found = reasons(cluster)
        if found:
            result |= {"failed": True, "msg": f"The cluster is not healthy, {len(found)} reason(s): see the report."}
        return result | {"changed": False, "healthy": not found}


def host_of(name: str, variables: Mapping[str, Any], address: str, groups: Mapping[str, list[str]]) -> Host:
    """Return what a host has registered, or why it has not."""
    answer = variables.get("cluster_status") or {}
    clock = variables.get("cluster_status_clock") or {}
    status = answer.get("status")
    return Host(
        name=name,
        address=address,
        groups=sorted(group for group, members in groups.items() if name in members)
        + ([FIRST_SCHEDULER] if name in groups.get("airflow_scheduler", [])[:1] else []),
        pools=sorted(
            group
            for group, members in groups.items()
            if name in members and group != "airflow_worker" and {*members} <= {*groups["airflow_worker"]}
        ),
        status=status,
        error="" if status else why(answer),
        clock={key: clock[key] for key in ("offset", "uncertainty")} if "offset" in clock else None,
        drift=variables.get("airflow_drift") if status else None,
    )


def why(answer: Mapping[str, Any]) -> str:
    """Return why a host has no status."""
    message = " ".join(str(answer.get("msg", "")).split())
    if answer.get("unreachable"):
        return f"unreachable: {message}"
    return message or "not asked: it was unreachable or failed before, or --limit left it out"


def probed(answers: list[Mapping[str, Any] | None]) -> tuple[dict[str, Any] | None, str]:
    """Return the first probe of a scheduler's host that succeeded, or None and why there is none."""
    error = "no scheduler's host could be asked"
    for answer in answers:
        if not answer or answer.get("skipped"):
            continue
        lines = str(answer.get("stdout", "")).strip().splitlines()
        try:
            found = json.loads(lines[-1])
        except (IndexError, json.JSONDecodeError):
            told = str(answer.get("stderr") or answer.get("msg") or "it printed nothing").strip().splitlines()
            error = told[-1]
            continue
        return found, ""
    return None, error
