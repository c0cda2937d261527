"""Which ports of a machine are free, at which addresses it can listen, and what it can connect to.

Runs on hosts, for the module host_check: no syntax newer than Python 3.8.
"""

from __future__ import annotations

import errno
import fnmatch
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.module_utils.host_state import finding

LISTEN = "0A"
# Loopback addresses of /proc/net/tcp and /proc/net/tcp6, whose words of four bytes are turned round: 127.0.0.0/8, the
# same as IPv6, and ::1.
LOOPBACK = re.compile(r"(0{16}FFFF0{4})?[0-9A-F]{6}7F|0{24}01000000")
SILENCE = "no answer within"


def listening_ports(tables: list[str], loopback: bool = True) -> set[int]:
    """Return the TCP ports that something listens on.

    :param tables: texts of /proc/net/tcp and /proc/net/tcp6.
    :param loopback: whether ports count that no other host can reach.
    """
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    sockets = [row[1].rsplit(":", 1) for row in rows if len(row) > 3 and row[3] == LISTEN]
    return {int(port, 16) for address, port in sockets if loopback or not LOOPBACK.fullmatch(address)}


def holders(sockets: str) -> dict[int, list[tuple[str, str]]]:
    """Return for each TCP port who holds it: cgroup ("" if the kernel does not say) and processes.

    The cgroup of a socket says which unit it belongs to. The open files of the processes would, too, but root in a
    container may not look at those of other users.

    :param sockets: what `ss --no-header --numeric --tcp --listening --processes --cgroup` prints.
    """
    found: dict[int, list[tuple[str, str]]] = {}
    for line in sockets.splitlines():
        fields = line.split()
        if len(fields) < 5:
            continue
        cgroup = re.search(r"\bcgroup:(/\S+)", line)
        processes = re.findall(r'\("([^"]+)",pid=(\d+)', line)
        who = ", ".join(sorted({f"{name} (process {pid})" for name, pid in processes}))
        found.setdefault(int(fields[3].rsplit(":", 1)[1]), []).append((cgroup.group(1) if cgroup else "", who))
    return found


def unit_of(cgroup: str) -> str:
    """Return the systemd unit that a cgroup is.

    In a container the path starts with the groups of the host, and a unit may have groups below its own; the last
    service or scope is the one that counts.
    """
    units = re.findall(r"([^/]+\.(?:service|scope))(?=/|$)", cgroup)
    return units[-1] if units else cgroup


def check_ports(
    ports: list[dict[str, Any]],
    listening: set[int],
    held_by: dict[int, list[tuple[str, str]]],
    is_active: Callable[[list[str]], bool],
) -> tuple[list[dict[str, str]], list[int]]:
    """Return findings for ports that something foreign holds, and the ports that our own units hold.

    :param is_active: says whether a unit with one of these names runs; asked where the kernel does not name a holder.
    """
    found, own = [], []
    for entry in ports:
        port, patterns = entry["port"], entry["units"]
        if port not in listening:
            continue
        groups = {unit_of(cgroup) for cgroup, _who in held_by.get(port, []) if cgroup}
        ours = [any(fnmatch.fnmatch(unit, pattern) for pattern in patterns) for unit in groups]
        if all(ours) if groups else is_active(patterns):
            own.append(port)
            continue
        who = sorted({who for _cgroup, who in held_by.get(port, []) if who} | groups)
        found.append(
            finding(
                entry["variable"],
                "{}, held by {}".format(port, ", ".join(who) or "a process that cannot be seen from here"),
                "a port that is free, or held by {}".format(" or ".join(patterns)),
                "stop what holds port {}, or set {} to another port".format(port, entry["variable"].split(" ")[0]),
            )
        )
    return found, own


def ip_addresses(name: str) -> list[str]:
    """Return the IP addresses of a name; raises OSError or UnicodeError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


def resolve(name: str) -> str | None:
    """Return why a name can't be resolved, or None."""
    try:
        found = ip_addresses(name)
    except (OSError, UnicodeError) as error:
        return str(error)
    if not any("." in address for address in found):
        return "no IPv4 address, {} only".format(", ".join(found))
    return None


def is_local(address: str) -> bool:
    """Return whether a service of this machine can listen on an IP address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def check_binds(binds: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return findings for addresses that this machine does not have, and for those at which no client connects."""
    found = []
    for entry in binds:
        # Redis ignores an address with a leading "-" that the machine does not have.
        addresses = [address for address in entry["addresses"] if not address.startswith("-")]
        if {"0.0.0.0", "*", "::"} & set(addresses):
            continue
        strange = [address for address in addresses if address != "localhost" and not is_local(address)]
        try:
            reached = [one for one in ip_addresses(entry["reached"]) if is_local(one)] if entry["reached"] else []
        except (OSError, UnicodeError):
            reached = []
        # Behind address translation the address that clients use is not one of this machine.
        missed = bool(reached) and not set(reached) & set(addresses)
        if strange or missed:
            found.append(
                finding(
                    entry["variable"],
                    ", ".join(strange or addresses),
                    "an address of this machine"
                    + (f"; clients connect to {entry['reached']}" if missed else "")
                    + ", or 0.0.0.0 for all of them",
                    "correct {}, or remove it for the default".format(entry["variable"]),
                )
            )
    return found


def connect(address: str, port: int, timeout: float) -> str:
    """Try to connect; return ``ok``, ``refused`` (the host answers, nothing listens), or why it is out of reach."""
    try:
        socket.create_connection((address, port), timeout).close()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return f"{SILENCE} {timeout:g} s"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "") + " " + str(error.strerror or error)
    return "ok"


def check_network(
    endpoints: list[dict[str, Any]], names: list[dict[str, Any]], timeout: float
) -> tuple[list[dict[str, str]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return findings for names and services out of reach, endpoints where nothing listens yet, and silent ones.

    Silent is an endpoint whose own firewall may not know this machine yet.
    """
    found, refused, silent = [], [], []
    wanted = list(dict.fromkeys(entry["address"] for entry in names + endpoints))
    with ThreadPoolExecutor(max_workers=16) as pool:
        unresolved = {name: why for name, why in zip(wanted, pool.map(resolve, wanted)) if why}  # noqa: B905
        reachable = [entry for entry in endpoints if entry["address"] not in unresolved]
        answers = list(pool.map(lambda entry: connect(entry["address"], entry["port"], timeout), reachable))
    for name, why in unresolved.items():
        # A service matters in any case; another host may be dead, and then Ansible names it.
        services = [entry for entry in endpoints if entry["address"] == name]
        host = next(entry["host"] for entry in services + names if entry["address"] == name)
        variable = f"airflow_address of {host}" if host else services[0]["variable"]
        found.append(
            finding(
                variable,
                f"{name!r}, not resolved ({why})",
                "a name that this host can resolve, or an IP address",
                f"set {variable} to what this host can resolve, or add {name} to DNS or /etc/hosts",
                "" if services else host,
            )
        )
    for entry, answer in zip(reachable, answers):  # noqa: B905
        if answer == "refused":
            refused.append(entry)
        elif answer.startswith(SILENCE) and entry.get("filtered"):
            silent.append(entry)
        elif answer != "ok":
            found.append(
                finding(
                    entry["variable"],
                    "{}:{}, {}".format(entry["address"], entry["port"], answer.strip()),
                    "a service that this host can connect to, or a host that answers where the service is not yet",
                    "open TCP port {} from this host to {} in routing and firewalls, or correct {}".format(
                        entry["port"],
                        entry["host"] or entry["address"],
                        "airflow_address of " + entry["host"] if entry["host"] else entry["variable"],
                    ),
                )
            )
    return found, refused, silent
