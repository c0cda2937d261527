"""The nftables table of a host as text: the rules, and the addresses of the groups that they let in.

The module firewall loads it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

TABLE = "airflow_firewall"

HEAD = """\
# Managed by Ansible: role firewall of airflow_celery.cluster. Changes are lost with the next deployment.
"""
# One transaction: there is no moment without rules, and none with the rules of two files.
REMOVE = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
SADDR = {4: "ip saddr", 6: "ip6 saddr"}
TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}
SET_LINE = re.compile(r"^\tset (?P<group>\w+)_(?P<version>[46]) \{.*$", re.MULTILINE)

# As text: ansible-test assumes Python 3.8.
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Networks = dict[int, list[Network]]
EVERYBODY: Networks = {4: [ipaddress.ip_network("0.0.0.0/0")], 6: [ipaddress.ip_network("::/0")]}


class Unresolved(Exception):
    """A name that cannot be resolved on this host."""


def system_addresses(name: str) -> list[str]:
    """Return the IP addresses of a name as this host resolves it.

    :raises Unresolved: if it has none.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"{name!r}: {error}") from None
    return [str(entry[4][0]).partition("%")[0] for entry in found]


def networks_of(source: str, resolve: Callable[[str], list[str]]) -> list[Network]:
    """Return an address, network or name as networks.

    :raises Unresolved: if it is a name that has no address.
    """
    try:
        return [ipaddress.ip_network(source, strict=False)]
    except ValueError:
        return [ipaddress.ip_network(address) for address in resolve(source)]


def by_version(networks: Iterable[Network]) -> Networks:
    """Return networks by IP version, sorted, without what another one contains: nft takes no overlaps."""
    found = list(networks)
    return {
        version: list(ipaddress.collapse_addresses(network for network in found if network.version == version))  # type: ignore[type-var]
        for version in (4, 6)
    }


def client_networks(
    hosts: Mapping[str, Iterable[str]], resolve: Callable[[str], list[str]]
) -> tuple[Networks, list[str]]:
    """Return where the hosts of a group connect from, and what could not be resolved but has another address.

    :raises Unresolved: if nothing is known of a host.
    """
    found: list[Network] = []
    unresolved = []
    for host, sources in hosts.items():
        networks: list[Network] = []
        problems = []
        for source in sources:
            try:
                networks += networks_of(source, resolve)
            except Unresolved as error:
                problems.append(str(error))
        # A host's own name may stand for 127.0.1.1 in its /etc/hosts; loopback is accepted anyway.
        networks = [network for network in networks if not network.is_loopback]
        if problems and not networks:
            raise Unresolved(
                f"host {host}: {'; '.join(problems)}. "
                f"Set airflow_address or ansible_host of {host} to an IP address, or "
                "to a name that this host can resolve"
            )
        unresolved += [f"host {host}: {problem}" for problem in problems]
        found += networks
    return by_version(found), unresolved


def elements(networks: Iterable[Network]) -> str:
    """Return networks as nft writes the elements of a set."""
    return ", ".join(
        str(network.network_address if network.prefixlen == network.max_prefixlen else network) for network in networks
    )


def set_line(group: str, version: int, networks: list[Network]) -> str:
    """Return the declaration of a group's addresses."""
    content = f" elements = {{ {elements(networks)} }};" if networks else ""
    return f"\tset {group}_{version} {{ type {TYPE[version]}; flags interval;{content} }}"


def rule_lines(rule: Mapping[str, Any], resolve: Callable[[str], list[str]]) -> list[str]:
    """Return the lines of one rule.

    :raises Unresolved: if one of its sources is a name that has no address.
    """
    comment = re.sub(r'["\\\s]+', " ", rule["comment"]).strip()[:120]
    end = f"{rule['protocol']} dport {{ {', '.join(map(str, sorted(set(rule['ports']))))} }} accept" + (
        f' comment "{comment}"' if comment else ""
    )
    try:
        found = by_version(network for source in rule["sources"] for network in networks_of(source, resolve))
    except Unresolved as error:
        raise Unresolved(
            f"a source of the rule {comment or end!r} is not an IP address, network or name: {error}"
        ) from None
    if found == EVERYBODY:
        return [f"\t\t{end}"]
    lines = [
        f"\t\tmeta nfproto ipv{version} {end}"
        if found[version] == EVERYBODY[version]
        else f"\t\t{SADDR[version]} {{ {elements(found[version])} }} {end}"
        for version in (4, 6)
        if found[version]
    ]
    return lines + [f"\t\t{SADDR[version]} @{group}_{version} {end}" for group in rule["clients"] for version in (4, 6)]


def table(rules: Iterable[Mapping[str, Any]], sets: Mapping[str, Networks], resolve: Callable[[str], list[str]]) -> str:
    """Return the table for ``nft -f``.

    :param rules: as in the options of the module.
    :param sets: addresses of each group that a rule names.
    :raises Unresolved: if a source is a name that has no address.
    """
    used = [group for rule in rules for group in rule["clients"]]
    return "\n".join(
        [
            HEAD + REMOVE + f"table inet {TABLE} {{",
            *(set_line(group, version, sets[group][version]) for group in sorted(set(used)) for version in (4, 6)),
            "\tchain input {",
            "\t\ttype filter hook input priority filter; policy drop;",
            '\t\tiifname "lo" accept',
            "\t\tct state established,related accept",
            # Before conntrack's opinion: without neighbour discovery and path MTU there is no IPv6.
            "\t\ticmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request,"
            " mld-listener-query, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept",
            "\t\tct state invalid drop",
            "\t\ticmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request } accept",
            # DHCP clients use raw sockets and link-local addresses, of which conntrack knows nothing.
            '\t\tudp sport 67 udp dport 68 accept comment "DHCP"',
            '\t\tip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment "DHCPv6"',
            *(line for rule in rules for line in rule_lines(rule, resolve)),
            "\t}",
            "}",
            "",
        ]
    )


def with_clients(text: str, sets: Mapping[str, Networks]) -> str:
    """Return a table with the addresses of these groups in place of those it has; other lines stay."""

    def line(match: re.Match[str]) -> str:
        group, version = match["group"], int(match["version"])
        return set_line(group, version, sets[group][version]) if group in sets else match[0]

    return SET_LINE.sub(line, text)
