"""Check the parameters of a playbook. See plugins/modules/validate_parameters.py for the documentation."""

from __future__ import annotations

from typing import Any

from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding, report
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.playbook_parameters import (
    parameters_of,
    unknown_parameters,
)

HEADING = "The parameters are refused, {count} {noun}. No machine was touched."


class ActionModule(ActionBase):
    """Compare the extra variables of the run with the parameters of its playbooks."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        known = parameters_of(context.CLIARGS.get("args") or ())
        given = load_extra_vars(self._loader)
        findings = [*stray_words(given), *unknown_parameters(given, known)]
        if findings:
            return result | {"failed": True, "msg": report(findings, HEADING)}
        return result | {"changed": False}


def stray_words(given: dict[str, Any]) -> list[Finding]:
    """Find extra arguments of ``-e`` without a variable: ``-e cluster_why='a new disk'`` sets ``cluster_why=a``."""
    words = len(str(given.get("_raw_params") or "").split())
    if not words:
        return []
    # The number only, because the arguments may be the end of a secret.
    noun = "argument is" if words == 1 else "arguments are"
    value = f"{words} {noun} not assigned to a variable"
    expected = "NAME=VALUE, with quotes around a value with spaces that the shell passes on to Ansible"
    remedy = """run with -e "NAME='a value'", or as JSON -e '{"NAME": "a value"}'; separate names by commas only"""
    return [Finding("command line", "-e", value, expected, remedy)]
