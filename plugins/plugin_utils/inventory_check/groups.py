"""Rules for the groups of an inventory."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding, nearest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.external import is_external
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Inventory, is_true


def check_groups(inventory: Inventory) -> Iterator[Finding]:
    """Every process has a host, the parents hold their children, and what can't be two is one."""
    known = {*topology.PROCESS_GROUPS, *topology.PARENT_GROUPS}
    strangers = [group for group in inventory.groups if group not in known | {"all", "ungrouped"}]
    for group in topology.PROCESS_GROUPS:
        if inventory.groups.get(group) or is_external(inventory, group):
            continue
        similar = nearest(group, strangers, cutoff=0.8)
        remedy = (
            f"rename group {similar} to {group}"
            if similar
            else f"add at least one host to group {group} in the inventory"
        )
        value = "none, the group is " + ("empty" if group in inventory.groups else "missing")
        expected = "a group with at least one host"
        if group in topology.EXTERNAL:
            urls = " and ".join(topology.EXTERNAL[group].urls)
            expected += f", or {urls} of a service elsewhere"
            remedy += f", or set {urls} (docs/external-services.md)"
        yield Finding(f"group {group}", "hosts", value, expected, remedy)
    for parent, children in topology.PARENT_GROUPS.items():
        inside = set(inventory.groups.get(parent, ()))
        for child in children:
            for name in inventory.groups.get(child, ()):
                if name not in inside:
                    yield Finding(
                        f"host {name}",
                        f"group {child}",
                        f"not inside group {parent}",
                        f"every host of {child} in {parent}, which the plays are written for",
                        f"add {child} to the children of {parent}",
                    )
    for group in topology.SINGLE_HOST_GROUPS:
        names = inventory.groups.get(group, ())
        if len(names) > 1:
            yield Finding(
                f"group {group}",
                "hosts",
                ", ".join(names),
                "one host; another one would get a service of its own that nobody uses",
                f"leave one host in group {group}",
            )


def check_exclusion(inventory: Inventory) -> Iterator[Finding]:
    """A worker runs other people's code, so it shares no host with the control plane without an explicit setting."""
    for host in inventory.members(topology.WORKER_GROUP):
        shared = [group for group in topology.CONTROL_GROUPS if group in host.groups]
        if shared and not is_true(host.get(rules.SHARE_VARIABLE, False)):
            yield Finding(
                f"host {host.name}",
                "groups",
                f"{topology.WORKER_GROUP} and {', '.join(shared)}",
                "a host of its own for a worker: its tasks could read the control plane's secrets",
                f"take {host.name} out of {topology.WORKER_GROUP}, or accept the risk with "
                f"{rules.SHARE_VARIABLE}: true",
            )
