"""Rules for the names of variables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import (
    Finding,
    looks_secret,
    nearest,
    show,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Inventory


def check_names(inventory: Inventory) -> Iterator[Finding]:
    """A variable with a prefix of the cluster is known, on hosts of the cluster, or may belong to another role."""
    known = [name for name in inventory.specs if name not in rules.PASSED_BY_THE_CLUSTER]
    suggestions: dict[str, str | None] = {}
    foreign = foreign_names(inventory)
    for host in inventory.cluster:
        names = host.names - rules.SET_BY_THE_ROLES - foreign.keys()
        for name in sorted(name for name in names if name.startswith(rules.PREFIXES)):
            secret = looks_secret(name) or inventory.is_secret(name)
            if name in rules.PASSED_BY_THE_CLUSTER:
                expected, remedy = "not set by an inventory: the cluster decides it", rules.PASSED_BY_THE_CLUSTER[name]
            elif name in inventory.specs:
                continue
            else:
                if name not in suggestions:
                    suggestions[name] = nearest(name, known)
                right = suggestions[name]
                secret = secret or (right is not None and inventory.is_secret(right))
                expected = "a variable of docs/variables.md" + (f"; the nearest is {right}" if right else "")
                remedy = f"rename it to {right}, or remove it" if right else "remove it"
            value = host.own[name]
            # A vaulted value is neither text nor number as long as nobody reads it, and nobody does here.
            secret = secret or not isinstance(value, str | int | float | list | dict | None)
            yield Finding(f"host {host.name}", name, show(value, secret), expected, remedy)


def foreign_names(inventory: Inventory) -> dict[str, list[str]]:
    """Return the variables that may belong to a role of another project, with the hosts that have them."""
    known = [*inventory.specs, *rules.PASSED_BY_THE_CLUSTER, *rules.SET_BY_THE_ROLES]
    found: dict[str, list[str]] = defaultdict(list)
    for host in inventory.cluster:
        for name in host.names.difference(known):
            if name.startswith(rules.SHARED_PREFIXES):
                found[name].append(host.name)
    return {name: hosts for name, hosts in found.items() if nearest(name, known, cutoff=rules.MISSPELT) is None}


def name_warnings(inventory: Inventory) -> list[str]:
    """Return the variables that the cluster does not use, although a prefix of the cluster suggests it."""
    return [
        f"{name} (host {hosts[0]}{f' and {len(hosts) - 1} more' if len(hosts) > 1 else ''}): no variable of "
        "the cluster, without effect here"
        for name, hosts in sorted(foreign_names(inventory).items())
    ]
