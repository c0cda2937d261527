"""Check the inventory on the controller. See plugins/modules/validate_inventory.py for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from errno import EACCES
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.parsing.vault import is_encrypted
from ansible.plugins.action import ActionBase
from ansible.template import Templar, trust_as_template
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.controller import (
    STEPS,
    CommandLine,
    check_controller,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding, report
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.backups import backup_warnings
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.certificates import (
    certificate_warnings,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    WEBSERVER_TEXT,
    AirflowOptions,
    Host,
    Inventory,
    Unresolvable,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.names import name_warnings
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.plans import machine_plans
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_rules import PREFIXES

ROLES = Path(__file__).resolve().parent.parent.parent / "roles"
READ_WEBSERVER_CONFIG = trust_as_template("{{ lookup('ansible.builtin.template', airflow_webserver_config) }}")
HEADING = "The inventory is refused, {count} {noun}. No machine was touched."


class ActionModule(ActionBase):
    """Hand the inventory to the rules, and their findings to the person."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        spec = {"steps": {"type": "list", "elements": "str", "choices": STEPS, "default": []}}
        _validated, arguments = self.validate_argument_spec(argument_spec=spec)
        inventory = self._inventory_of(variables)
        findings = [*check(inventory), *check_controller(inventory, arguments["steps"], command_line())]
        result["warnings"] = certificate_warnings(inventory) + backup_warnings(inventory) + name_warnings(inventory)
        if findings:
            constants = self._constants()
            explained = [explain_constant(finding, constants) for finding in findings]
            return result | {"failed": True, "msg": report(explained, HEADING)}
        return result | {"changed": False, "machines": machine_plans(inventory, variables["ansible_play_hosts_all"])}

    def _inventory_of(self, variables: Mapping[str, Any]) -> Inventory:
        specs: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        for role in sorted(path for path in ROLES.iterdir() if path.is_dir()):
            entry_points = self._load(role / "meta" / "argument_specs.yml").get("argument_specs") or {}
            entry = entry_points.get("main") or entry_points.get("variables") or {}
            specs.update(entry.get("options") or {})
            defaults.update(self._load(role / "defaults" / "main.yml"))
        hostvars = variables["hostvars"]
        groups = {group: list(names) for group, names in variables["groups"].items()}
        raw = {name: hostvars.raw_get(name) for name in groups["all"]}
        return Inventory(
            groups=groups,
            hosts={name: self._host(name, own, defaults, hostvars) for name, own in raw.items()},
            specs=specs,
            options=AirflowOptions.load(ROLES / "preflight" / "files" / "airflow_options.json"),
            read=self._read,
        )

    def _constants(self) -> dict[str, str]:
        """Return the roles by the public variables that they define for each other in vars/main.yml."""
        files = sorted(ROLES.glob("*/vars/main.yml"))
        return {
            name: file.parent.parent.name for file in files for name in self._load(file) if not name.startswith("_")
        }

    def _read(self, path: str) -> bytes:
        """Return the content of a file as module copy would write it: decrypted, if ansible-vault encrypted it."""
        data = Path(path).read_bytes()
        if not is_encrypted(data):
            return data
        try:
            return self._loader.get_text_file_contents(path).encode()
        except AnsibleError as error:
            raise PermissionError(EACCES, "encrypted with ansible-vault, and no password opens it") from error

    def _load(self, path: Path) -> dict[str, Any]:
        if not path.exists():
            return {}
        return self._loader.load_from_file(str(path), trusted_as_template=True) or {}

    def _host(self, name: str, raw: Mapping[str, Any], defaults: Mapping[str, Any], hostvars: Any) -> Host:
        # Role defaults have the lowest precedence, as in a play.
        known = {**defaults, **raw, "hostvars": hostvars, WEBSERVER_TEXT: READ_WEBSERVER_CONFIG}
        templar = Templar(loader=self._loader, variables=known)

        def render(variable: str) -> Any:
            value = known[variable]
            try:
                return templar.template(value)
            except AnsibleError as error:
                raise Unresolvable(str(error)) from error

        own = {key: value for key, value in raw.items() if key.startswith(PREFIXES)}
        return Host(name, list(raw.get("group_names", ())), own, render)


def command_line() -> CommandLine:
    """Return what the options of the run, and those of ansible.cfg, say of the logins."""
    given = context.CLIARGS
    return CommandLine(
        user=str(given.get("remote_user") or ""),
        login_password=bool(given.get("ask_pass") or given.get("connection_password_file")),
        sudo_password=bool(given.get("become_ask_pass") or given.get("become_password_file")),
    )


def explain_constant(finding: Finding, constants: Mapping[str, str]) -> Finding:
    """Return a finding with the reason why an inventory cannot set a constant of a role.

    Otherwise it would be an unknown variable, with the nearest variable as a remedy.
    """
    role = constants.get(finding.variable)
    if role is None:
        return finding
    return replace(finding, expected=f"not set by an inventory: role {role} decides it", remedy="remove it")
