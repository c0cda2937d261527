"""Rules for the cluster's secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import secret_values
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import UNSET, Finding, show
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Inventory


def check_secrets(inventory: Inventory) -> Iterator[Finding]:
    """Each secret is there on the hosts that need it, is the same on all of them, and is fit to be one."""
    make = command("secrets")
    # The password of an external service is what its owner has made it, and stands in the URL.
    foreign = secret_values.foreign(inventory.groups)
    needed_by = {name: groups for name, groups in secret_values.NEEDED_BY.items() if name not in foreign}
    for host in inventory.cluster:
        absent = [name for name, groups in needed_by.items() if name not in host.names and host.groups & groups]
        if absent:
            yield Finding(
                f"host {host.name}",
                ", ".join(absent),
                show(UNSET),
                "secrets, made once for the whole cluster",
                f"run {make}",
            )
    for name, groups in needed_by.items():
        values: dict[str, str] = {}
        for host in inventory.cluster:
            if name not in host.names or not host.groups & groups:
                continue
            value = host.get(name)
            problem = secret_values.problem(name, value) if value is not UNSET else None
            if problem:
                remedy = f"remove {name} from the inventory, then run {make}"
                yield Finding(f"host {host.name}", name, show(value, True), problem, remedy)
            elif value is not UNSET:
                values[host.name] = str(value)
        usual = Counter(values.values()).most_common(1)
        for host_name, value in values.items():
            if value != usual[0][0]:
                yield Finding(
                    f"host {host_name}",
                    name,
                    show(value, True),
                    "one value for the whole cluster; the other hosts have another one",
                    f"set {name} in one place, group_vars/all/secrets.yml",
                )
