"""Write the report of a failover drill. See plugins/modules/failover_report.py for the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import drill_page, drill_report, ledger
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.drill_report import Drill
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import Failover


class ActionModule(ActionBase):
    """Bring all times to the controller's clock, and report."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        required: dict[str, dict[str, Any]] = {
            name: {"type": kind, "required": True}
            for name, kind in {
                "path": "path",
                "ledgers": "dict",
                "clocks": "dict",
                "worker": "str",
                "tasks": "int",
                "cut": "float",
                "healed": "float",
                "run_id": "str",
                "run_state": "str",
                "failover_seconds": "int",
                "retry_delay": "int",
            }.items()
        }
        _validated, given = self.validate_argument_spec(argument_spec=required | {"back": {"type": "float"}})
        clocks: Mapping[str, Mapping[str, float]] = given["clocks"]
        offset = float(clocks[given["worker"]]["offset"])
        lines = [
            line
            for host, own in given["ledgers"].items()
            for line in on_one_clock(host, own, float(clocks[host]["offset"]))
        ]
        errors = sorted((float(clock["uncertainty"]) for clock in clocks.values()), reverse=True)
        seconds = given["failover_seconds"]
        drill = Drill(
            worker=given["worker"],
            workers=list(given["ledgers"]),
            tasks=[f"load[{number}]" for number in range(given["tasks"])],
            executions=ledger.read(lines, "time"),
            cut=given["cut"] - offset,
            healed=given["healed"] - offset,
            failover=Failover(seconds, given["retry_delay"]) if seconds else None,
            run_id=given["run_id"],
            run_state=given["run_state"],
            back=None if given["back"] is None else given["back"] - given["healed"],
            clock_error=sum(errors[:2]),
        )
        path = Path(given["path"]).expanduser().resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(drill_page.html(drill), encoding="utf-8")
        return result | {
            "changed": True,
            "path": str(path),
            "text": drill_report.text(drill).splitlines(),
            "problems": drill_report.problems(drill),
        }


def on_one_clock(host: str, lines: Sequence[str], offset: float) -> Iterable[str]:
    """Yield a ledger's lines by the controller's clock, under the host's inventory name; half a line is left out."""
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        yield json.dumps(entry | {"host": host, "time": entry["time"] - offset})
