"""Hand URLs and authorities to the module of this name. See plugins/modules/service_check.py for the documentation."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Read the variables on the controller, where the vault and the files with authorities are."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}

        def value(name: str) -> str:
            return str(self._templar.template(variables.get(name, "")))

        services = []
        for entry in self._task.args["services"]:
            path = value(entry["ca_variable"])
            authorities = self._loader.get_text_file_contents(path) if path else ""
            services.append({**entry, "url": value(entry["variable"]), "ca": authorities})
        arguments = {**self._task.args, "services": services}
        return result | self._execute_module(module_args=arguments, task_vars=task_vars)
