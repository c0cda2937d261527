"""An inventory without a finding, to which each test makes its changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import secret_values, topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    AirflowOptions,
    Host,
    Inventory,
    Unresolvable,
)

ROLES = Path(__file__).resolve().parents[1] / "roles"
OPTIONS = AirflowOptions.load(ROLES / "preflight" / "files" / "airflow_options.json")
SECRETS = {name: make() for name, make in secret_values.GENERATORS.items()}


def load_roles() -> tuple[dict[str, Any], dict[str, Any]]:
    specs: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        entries = yaml.safe_load(path.read_text())["argument_specs"]
        specs.update((entries.get("main") or entries["variables"]).get("options") or {})
        defaults.update(yaml.safe_load((path.parents[1] / "defaults" / "main.yml").read_text()) or {})
    # A default with a template needs Ansible, and no rule looks at one.
    return specs, {k: v for k, v in defaults.items() if not (isinstance(v, str) and "{{" in v)}


SPECS, DEFAULTS = load_roles()
TEMPLATE_ERROR = object()


def inventory(
    variables: Mapping[str, Mapping[str, Any]] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    everywhere: Mapping[str, Any] | None = None,
) -> Inventory:
    """Return control1, worker1 and worker2, with changes."""
    members: dict[str, list[str]] = {group: ["control1"] for group in topology.CONTROL_GROUPS}
    members |= {"airflow_worker": ["worker1", "worker2"], "control_plane": ["control1"]}
    members["airflow"] = ["control1", "worker1", "worker2"]
    for group, names in (groups or {}).items():
        members[group] = list(names)
    everyone = sorted({name for names in members.values() for name in names})
    members["all"] = everyone
    hosts = {}
    for number, name in enumerate(everyone):
        own = {**SECRETS, **(everywhere or {}), **(variables or {}).get(name, {})}
        own = {key: value for key, value in own.items() if value is not Ellipsis}
        known = {**DEFAULTS, "ansible_host": f"192.0.2.{number}", **own}

        def render(variable: str, known: Mapping[str, Any] = known) -> Any:
            if known[variable] is TEMPLATE_ERROR:
                raise Unresolvable("'nothing' is undefined")
            return known[variable]

        ours = {key: value for key, value in own.items() if key.startswith(rules.PREFIXES)}
        hosts[name] = Host(name, [group for group, names in members.items() if name in names], ours, render)
    return Inventory(members, hosts, SPECS, OPTIONS)


def only(findings: Sequence[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]
