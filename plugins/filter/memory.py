"""Filters that divide a host's memory. Each is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import memory, memory_settings, process_memory
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command


def memory_plan(
    host: str, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the limits of a host's parts in MiB, and the most connections of PostgreSQL's clusters."""

    def value(name: str, variable: str) -> Any:
        return hostvars[name].get(variable, memory.DEFAULTS[variable])

    facts = hostvars[host].get("ansible_facts", {})
    total = int(value(host, "airflow_host_memory_mb")) or int(facts.get("memtotal_mb", 0))
    if not total:
        raise AnsibleFilterError(
            f"the memory of {host} is not known: run {command('preflight')} before, or set airflow_host_memory_mb"
        )
    found = memory.host_plan(host, total, groups, value)
    result: dict[str, Any] = {"total": total, "system": found.system, **found.parts}
    result["processes"] = process_memory.limits(found.parts.get("airflow", 0), memory.load_of(host, groups, value))
    if "postgres" in found.parts:
        counts = memory.connections(groups, value)
        result["postgres_clusters"] = {
            name: memory.cluster_share(found.parts["postgres"], name, counts) for name in counts
        }
        # Twice, because workers can be added without a restart of the database.
        result["connections"] = {name: memory.step_up(2 * count) for name, count in counts.items()}
    return result


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "memory_plan": memory_plan,
            "postgres_memory_settings": memory_settings.postgres_settings,
            "redis_memory_settings": memory_settings.redis_settings,
        }
