"""Rules for addresses and ports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import addresses, topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding, show
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Host, Inventory


def check_addresses(inventory: Inventory) -> Iterator[Finding]:
    """No two hosts are the same machine, and none calls itself loopback in front of others."""
    cluster = inventory.cluster
    machines: dict[tuple[str, str], str] = {}
    first_with: dict[str, str] = {}
    for host in cluster:
        machine = (str(host.get("ansible_host", "") or host.name), str(host.get("ansible_port", 22)))
        first = machines.setdefault(machine, host.name)
        if first != host.name:
            yield Finding(
                f"host {host.name}",
                "ansible_host",
                f"{machine[0]} port {machine[1]}, as of host {first}",
                "a machine of its own for each host of the inventory",
                f"set ansible_host of {host.name} or {first} to its own address",
            )
            continue
        first = first_with.setdefault(host.address, host.name)
        if first != host.name:
            yield Finding(
                f"host {host.name}",
                "airflow_address",
                f"{show(host.address)}, as of host {first}",
                "an address of its own for each host",
                f"set airflow_address of {host.name} and {first} per host",
            )
        if addresses.is_ipv6(host.address):
            yield Finding(
                f"host {host.name}",
                "airflow_address",
                show(host.address),
                "an IPv4 address, or a name that has one: the services listen with IPv4",
                f"set airflow_address of {host.name} to its IPv4 address in the network of the cluster; ansible_host "
                "may be an IPv6 address",
            )
        if len(cluster) > 1 and is_loopback(host.address):
            yield Finding(
                f"host {host.name}",
                "airflow_address",
                show(host.address),
                "an address at which the other hosts reach this one",
                f"set airflow_address of {host.name} to its address in the network of the cluster",
            )


def check_web_url(inventory: Inventory) -> Iterator[Finding]:
    """The address of the UI is one at which HAProxy listens. It may follow from an IPv6 address for SSH."""
    for host in inventory.members("haproxy"):
        url, binds = str(host.get("airflow_web_url", "")), host.get("haproxy_bind")
        listens = [str(one) for one in (binds if isinstance(binds, list) else [binds])]
        with suppress(ValueError):  # a URL that is none is another rule's finding
            name = urlsplit(url).hostname or ""
            if addresses.is_ipv6(name) and not any(":" in one for one in listens):
                yield Finding(
                    f"host {host.name}",
                    "airflow_web_url",
                    show(url),
                    f"an address at which HAProxy listens: haproxy_bind is {show(binds)}, which is IPv4",
                    "set airflow_web_url to a name or an IPv4 address of the host, or haproxy_bind: '::' for both",
                )


def is_loopback(address: str) -> bool:
    """Return whether an address means the host itself only."""
    text = address.removeprefix("-")
    try:
        return text == "localhost" or ip_address(text).is_loopback
    except ValueError:
        return False


def listening(inventory: Inventory, host: Host) -> Iterator[tuple[int, str, list[str]]]:
    """Return each port that the cluster's processes will hold on a host: port, variable, units that may hold it."""
    for listener in topology.LISTENERS:
        names = [name for name in (listener.variable, listener.count) if name]
        if listener.group not in host.groups or not inventory.sound(host, *names):
            continue
        first = host.number(listener.variable)
        count = host.number(listener.count) if listener.count else 1
        if first is None or count is None:
            continue
        for port in range(first, first + count):
            variable = listener.variable if port == first else f"{listener.variable} + {port - first}"
            yield port, variable, [unit.format(port=port) for unit in listener.units]


def check_ports(inventory: Inventory) -> Iterator[Finding]:
    """On one host each port belongs to one process."""
    for host in inventory.cluster:
        taken: dict[int, str] = {}
        ssh = host.number("ansible_port") or 22
        if str(host.get("ansible_connection", "ssh")) in ("ssh", "smart"):
            taken[ssh] = "SSH (ansible_port)"
        for port, variable, _units in listening(inventory, host):
            if port > 65535:
                yield Finding(
                    f"host {host.name}",
                    variable,
                    str(port),
                    "a port up to 65535 for each process",
                    f"set {variable.split(' ')[0]} lower",
                )
            elif port in taken:
                yield Finding(
                    f"host {host.name}",
                    variable,
                    str(port),
                    f"a port of its own; {taken[port]} has {port} on the same host",
                    f"set {variable.split(' ')[0]} or {taken[port].split(' ')[0]} to another port, in group_vars/all",
                )
            else:
                taken[port] = variable


def check_binds(inventory: Inventory) -> Iterator[Finding]:
    """A service listens where its clients connect: with IPv4, at the address of its host or at all of them."""
    for variable, bind in topology.BINDS.items():
        for host in inventory.members(bind.group):
            if variable not in host.names or not inventory.sound(host, variable):
                continue
            value = host.get(variable)
            listens = [str(one) for one in (value if isinstance(value, list) else [value])]
            clients = [other.name for other in inventory.cluster if other.groups & bind.clients]
            others = [name for name in clients if name != host.name]
            who = f"{', '.join(others[:3])}{' and others' if len(others) > 3 else ''}" if others else "HAProxy"
            remedy = f"set {variable} to 0.0.0.0 or to the address of {host.name}, or remove it for the default"
            expected = ""
            if listens and all(is_loopback(one) for one in listens):
                if others:
                    expected = f"an address that {who} can connect to"
                elif bind.loopback and listens != ["127.0.0.1"]:
                    expected = "127.0.0.1, at which HAProxy connects on the same host, or an address of the network"
                    remedy = f"set {variable}: 127.0.0.1, or remove it for the default"
                elif not bind.loopback and clients and not is_loopback(host.address):
                    expected = f"{host.address}, at which the processes of {host.name} itself connect"
            elif all(":" in one for one in listens) and not (bind.dual and "::" in listens):
                expected = f"an IPv4 address: {who} connects to {host.address} with IPv4"
            if expected:
                yield Finding(f"host {host.name}", variable, show(value), expected, remedy)
