"""Record which tasks of a run in check mode would change a host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drift
type: aggregate
short_description: Record which tasks of a run in check mode would change a host
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - With C(--check), each host gets the variable C(airflow_drift), a list of the tasks that would change it, each with
    the paths that its result names. No value of a setting is kept. C(playbooks/status.yml) reports them.
  - Without C(--check) it does nothing.
requirements:
  - Enable it with C(callbacks_enabled = airflow_celery.cluster.drift).
"""

from typing import Any

from ansible import context
from ansible.playbook.handler import Handler
from ansible.plugins.callback import CallbackBase


def described(task: str, result: dict[str, Any]) -> str:
    """Return a task's name, with the paths that its result names."""
    parts = [part for part in result.get("results", [result]) if isinstance(part, dict) and part.get("changed")]
    paths = [str(part[key]) for part in parts for key in ("dest", "path") if part.get(key)]
    paths += [str(path) for part in parts for path in part.get("changed_files") or []]
    return f"{task} ({', '.join(dict.fromkeys(paths))})" if paths else task


class CallbackModule(CallbackBase):
    """Writes a variable of the host, as set_fact would."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "airflow_celery.cluster.drift"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, list[str]] = {}
        self._variables: Any = None

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._variables = play.get_variable_manager()

    def v2_runner_on_ok(self, result: Any) -> None:
        # A host without a difference has an empty list; a host without the variable was not checked.
        self._note(
            result, described(_name(result), {**_target(result), **result.result}) if result.is_changed() else ""
        )

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._note(
            result, "" if ignore_errors else f"{_name(result)}: the task failed, and later tasks were not checked"
        )

    def _note(self, result: Any, what: str) -> None:
        task = result.task
        if not context.CLIARGS.get("check"):
            return
        host = result.host.get_name()
        found = self._found.setdefault(host, [])
        # A task that runs in check mode is read-only, or is the report itself.
        if what and task.check_mode and not isinstance(task, Handler) and task.delegate_to != "localhost":
            found.append(what)
        self._variables.set_nonpersistent_facts(host, {"airflow_drift": list(found)})


def _target(result: Any) -> dict[str, str]:
    """Return the paths in the arguments of a task: in check mode the result may have none."""
    given = result.task_fields.get("args") or {}
    return {key: str(given[key]) for key in ("dest", "path") if given.get(key)}


def _name(result: Any) -> str:
    """Return a task's name without that of its role."""
    return str(result.task.get_name()).rpartition(" : ")[2].strip()
