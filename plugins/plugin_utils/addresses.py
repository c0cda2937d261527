"""Names and addresses of a host. Firewall, pg_hba.conf, certificates, URLs and checks all have them from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any


def known(variables: Mapping[str, Any]) -> list[str]:
    """Return the addresses that the inventory sets for a host: that of the cluster's network, and that of SSH."""
    found = (str(variables.get(name) or "") for name in ("airflow_address", "ansible_host"))
    return list(dict.fromkeys(name for name in found if name))


def address(host: str, variables: Mapping[str, Any]) -> str:
    """Return how the other hosts of the cluster reach a host."""
    return [*known(variables), host][0]


def origins(host: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the names and addresses from which a host connects to others: packets may come from each of them."""
    return known(variables) or [host]


def service_names(host: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the names by which clients reach the services of a host, on the host itself, too."""
    return list(dict.fromkeys([host, *known(variables), "localhost", "127.0.0.1"]))


def is_ip(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_ipv6(text: str) -> bool:
    """Return whether a text is an IPv6 address."""
    return is_ip(text) and isinstance(ip_address(text), IPv6Address)


def host_port(host: str, port: int | str) -> str:
    """Return host and port as a URL has them: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if is_ipv6(str(host)) else f"{host}:{port}"


def local_address(binds: str | Iterable[str]) -> str:
    """Return the address at which a service is reached on its own host, for the address or addresses of its listener.

    Loopback if the service listens there, else the first address.
    """
    # Redis ignores an address with a leading "-" that the host does not have.
    found = [str(bind).removeprefix("-") for bind in ([binds] if isinstance(binds, str) else binds)]
    wildcards = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "localhost": "127.0.0.1", "::": "::1", "::*": "::1"}
    local = [wildcards.get(bind, bind) for bind in found]
    for loopback in ("127.0.0.1", "::1"):
        if loopback in local:
            return loopback
    return local[0] if local else "127.0.0.1"


def networks(clients: Iterable[str], resolved: Mapping[str, Iterable[str]]) -> list[str]:
    """Return clients as pg_hba.conf names them: keywords and networks as they are, each address as a network.

    PostgreSQL accepts a name only if the client's address resolves back to the name, which many sites' DNS does not
    do. So the addresses of a name come first, and the name itself for addresses that change.

    :param resolved: IP addresses of names, as PostgreSQL's host resolves them.
    """
    found: list[str] = []
    names: list[str] = []
    for client in map(str, clients):
        if is_ip(client):
            found.append(_network(client))
        elif client in resolved:
            found += [_network(one) for one in resolved[client] if is_ip(one) and not ip_address(one).is_loopback]
            names.append(client)
        else:
            found.append(client)
    return list(dict.fromkeys([*found, *names]))


def _network(one: str) -> str:
    return f"{one}/{128 if is_ipv6(one) else 32}"
