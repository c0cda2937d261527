"""The filters of role firewall. Each is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.addresses import origins

LOOPBACK = ("127.0.0.1", "localhost", "::1")

Groups = Mapping[str, Iterable[str]]
Services = Iterable[Mapping[str, Any]]


def _served(services: Services, groups: Groups, host: str) -> list[Mapping[str, Any]]:
    """Return the services of a host that others reach."""
    return [
        service
        for service in services
        if host in groups.get(service["group"], ()) and service.get("bind", "0.0.0.0") not in LOOPBACK
    ]


def firewall_rules(services: Services, groups: Groups, host: str) -> list[dict[str, Any]]:
    """Return what a host lets in because of the groups that it is in."""
    return [
        {
            "ports": list(range(int(service["port"]), int(service["port"]) + int(service.get("count", 1)))),
            "clients": list(service.get("clients", ())),
            "sources": list(service.get("sources", ())),
            "comment": service["name"],
        }
        for service in _served(services, groups, host)
    ]


def firewall_clients(
    services: Services, groups: Groups, hostvars: Mapping[str, Mapping[str, Any]], host: str
) -> dict[str, dict[str, list[str]]]:
    """Return, for each group that a host serves, from which names and addresses the group's other hosts come."""
    wanted = {group for service in _served(services, groups, host) for group in service.get("clients", ())}
    return {
        group: {other: origins(other, hostvars[other]) for other in groups.get(group, ()) if other != host}
        for group in sorted(wanted)
    }


def firewall_servers(services: Services, groups: Groups, play_hosts: Iterable[str]) -> list[str]:
    """Return the hosts outside the play that serve hosts of the play."""
    inside = set(play_hosts)
    members = {group for group, hosts in groups.items() if inside & set(hosts)}
    return sorted(
        {
            host
            for service in services
            if members & set(service.get("clients", ()))
            for host in groups.get(service["group"], ())
            if host not in inside and _served([service], groups, host)
        }
    )


class FilterModule:
    """The role's filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "firewall_clients": firewall_clients,
            "firewall_rules": firewall_rules,
            "firewall_servers": firewall_servers,
        }
