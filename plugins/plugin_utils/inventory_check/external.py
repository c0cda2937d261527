"""Rules for databases and brokers that are not the cluster's own: an empty group, and URLs instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.module_utils import service_urls
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import memory, topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import UNSET, Finding, show
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Host, Inventory

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def clients_of(inventory: Inventory, url: str) -> list[Host]:
    """Return the hosts that connect with the URL of a variable."""
    groups = topology.CLIENTS[url]
    return [host for host in inventory.cluster if host.groups & groups]


def is_external(inventory: Inventory, group: str) -> bool:
    """Return whether the inventory replaces a group by URLs: the group is empty, and a client has a URL."""
    external = topology.EXTERNAL.get(group)
    return (
        external is not None
        and not inventory.groups.get(group)
        and any(url in host.names for url in external.urls for host in clients_of(inventory, url))
    )


def service_of(host: Host, url: str) -> service_urls.Service | None:
    """Return what the URL of a variable says, or None where it is not set or says nothing."""
    if url not in host.names:
        return None
    try:
        return service_urls.parse(str(host.get(url, "")))
    except ValueError:
        return None


def check_external(inventory: Inventory) -> Iterator[Finding]:
    """A service is the cluster's own or external, and never half of each; an external one is verified."""
    for group in topology.EXTERNAL:
        if inventory.groups.get(group):
            yield from _unused(inventory, group)
        elif is_external(inventory, group):
            yield from _incomplete(inventory, group)
    yield from _shared(inventory)
    for url in topology.CLIENTS:
        for host in clients_of(inventory, url):
            yield from _unreadable(inventory, host, url)
            yield from _unverified(inventory, host, url)


def _incomplete(inventory: Inventory, group: str) -> Iterator[Finding]:
    for url in topology.EXTERNAL[group].urls:
        for host in clients_of(inventory, url):
            if url not in host.names:
                yield Finding(
                    f"host {host.name}",
                    url,
                    show(UNSET),
                    f"a URL, because group {group} has no host",
                    f"set {url} in group_vars/all, or add a host to group {group}",
                )


def _unused(inventory: Inventory, group: str) -> Iterator[Finding]:
    external = topology.EXTERNAL[group]
    own = set(LOCAL_NAMES)
    for host in inventory.members(group):
        own |= {host.name, host.address, str(host.get("ansible_host", ""))}
    own |= {str(host.get("airflow_database_host", "")) for host in inventory.cluster}
    elsewhere = {
        url
        for url in external.urls
        for host in clients_of(inventory, url)
        if inventory.sound(host, url) and (service := service_of(host, url)) and service.host not in own
    }
    names = ", ".join(inventory.groups[group])
    if elsewhere == set(external.urls):
        proxy = "; for a proxy in front of this PostgreSQL, set airflow_database_host instead"
        yield Finding(
            f"group {group}",
            "hosts",
            names,
            f"no host: {' and '.join(external.urls)} name a service elsewhere, and that of the group would run unused",
            f"take {names} out of group {group}, or remove {' and '.join(external.urls)}"
            + (proxy if group == "postgres" else ""),
        )
    for url in sorted(elsewhere) if elsewhere != set(external.urls) else ():
        others = " and ".join(other for other in external.urls if other not in elsewhere)
        yield Finding(
            f"group {group}",
            url,
            "(hidden), a service elsewhere",
            f"both databases elsewhere, or both on the host of group {group}; {others} is not elsewhere",
            f"set {others} as well and take {names} out of group {group}, or remove {url}",
        )
    for host in inventory.cluster:
        if not elsewhere and str(host.get(external.ca_file, "")):
            yield Finding(
                f"host {host.name}",
                external.ca_file,
                show(host.get(external.ca_file)),
                f"nothing while group {group} has a host: the authority of the cluster signs its certificate",
                f"remove {external.ca_file}",
            )


def _shared(inventory: Inventory) -> Iterator[Finding]:
    """Workers hold the URL of the results, and must find no way to the metadata with it."""
    metadata, results = topology.EXTERNAL["postgres"].urls
    for host in clients_of(inventory, metadata):
        one, other = service_of(host, metadata), service_of(host, results)
        if not one or not other or (one.host, one.port) != (other.host, other.port):
            continue
        same = [
            name
            for name, equal in (("database", one.database == other.database), ("user", one.user == other.user))
            if equal
        ]
        if same:
            yield Finding(
                f"host {host.name}",
                results,
                f"(hidden), the {' and '.join(same)} of {metadata}",
                "a database and a user of their own: every worker holds this URL, and must not reach the metadata",
                f"create another database with another owner on that server, and name both in {results}",
            )


def _unreadable(inventory: Inventory, host: Host, url: str) -> Iterator[Finding]:
    if url not in host.names or not inventory.sound(host, url):
        return
    try:
        service_urls.parse(str(host.get(url, "")))
    except ValueError as error:
        yield Finding(
            f"host {host.name}",
            url,
            f"(hidden), {error}",
            "a URL with one host and its port, which always lead to the primary",
            f"name a TCP proxy or the endpoint of a managed service in {url}, and write user and password with the "
            "filter airflow_celery.cluster.url_quote (docs/external-services.md)",
        )


def _unverified(inventory: Inventory, host: Host, url: str) -> Iterator[Finding]:
    service = service_of(host, url) if inventory.sound(host, url) else None
    if service is None or service.scheme not in service_urls.DEFAULT_PORTS or service.is_verified:
        return
    if service.host in LOCAL_NAMES or str(host.get(rules.UNVERIFIED_VARIABLE, False)).lower() == "true":
        return
    option, values, _authorities = service_urls.TLS_OPTIONS["rediss" if service.scheme == "redis" else service.scheme]
    yield Finding(
        f"host {host.name}",
        url,
        "(hidden), " + (f"{option}={service.options[option]}" if option in service.options else f"{service.scheme}://"),
        "TLS with a verified certificate: the connection carries passwords and the tokens of tasks",
        (f"set {option}={values[0]}, or remove {option}" if option in service.options else "write rediss://")
        + f"; to do without, set {rules.UNVERIFIED_VARIABLE}: true",
    )


def services_of(inventory: Inventory, host: Host, connections: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the external services that a host will use, as module service_check takes them.

    :param connections: what ``connections`` returns.
    """
    found = []
    for url, part in topology.PARTS.items():
        group = next(name for name, external in topology.EXTERNAL.items() if part in external.parts)
        if not is_external(inventory, group) or not host.groups & topology.CLIENTS[url]:
            continue
        variable = url if url in host.names else "airflow_broker_url"
        entry = {"variable": variable, "ca_variable": topology.EXTERNAL[group].ca_file, "part": part}
        found.append({**entry, "connections": connections.get(part, 0)} if group == "postgres" else entry)
    return found


def connections(inventory: Inventory) -> Mapping[str, int]:
    """Return how many connections the cluster may hold to each external database."""
    if not is_external(inventory, "postgres"):
        return {}

    def value(name: str, variable: str) -> Any:
        host = inventory.hosts[name]
        return host.get(variable, memory.DEFAULTS[variable]) if variable in host.names else memory.DEFAULTS[variable]

    found = memory.connections(inventory.groups, value)
    return {"metadata": found["main"], "results": found["results"]}
