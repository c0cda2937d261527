#!/usr/bin/python
"""Check a machine before it is changed."""

# Says what a machine with an older Python lacks, so it must run there: no syntax newer than Python 3.8.
from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_check
short_description: Check whether a machine meets the requirements of its part of the cluster
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Reads, and changes nothing. One run answers every question that the preflight has about a machine.
  - Does not fail on a finding, so that the findings of all machines can be told together.
  - The clock is compared by the action plugin of this name, which knows the controller's time before and after. It also
    compares what the inventory gives to the parts of the cluster with the machine's memory.
options:
  min_memory_mb:
    description: Memory in MB that the machine must have.
    type: int
    default: 0
  min_memory_variable:
    description: Variable that I(min_memory_mb) comes from, to be named in a finding.
    type: str
    default: preflight_min_memory_mb
  min_disk_mb:
    description: Space in MB that must be free on the file systems of I(disk_paths).
    type: int
    default: 0
  disk_paths:
    description: Where space is needed. For a path that does not exist, its nearest parent that does.
    type: list
    elements: path
    default: [/opt, /var/lib]
  max_clock_offset:
    description: Seconds by which the machine's clock may differ from the controller's.
    type: int
    default: 5
  airflow_version:
    description: Airflow version to install; a newer one on the machine is a finding. Empty for none.
    type: str
    default: ""
  ports:
    description: TCP ports that processes of the cluster will listen on.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      variable:
        description: Variable that says so.
        type: str
        required: true
      units:
        description: systemd units that may hold it already, as patterns.
        type: list
        elements: str
        default: []
  endpoints:
    description: Services that this machine will connect to.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Host name or address.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        required: true
      variable:
        description: Variable that says so.
        type: str
        required: true
      host:
        description: Inventory name of the host behind the address, if there is one.
        type: str
        default: ""
      filtered:
        description:
          - Whether that host has the cluster's firewall, which may not know this machine yet. Silence is no finding
            then.
        type: bool
        default: false
  names:
    description: Names that this machine must be able to resolve.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Host name or address.
        type: str
        required: true
      host:
        description: Inventory name of the host behind it.
        type: str
        required: true
  firewall:
    description: Whether the cluster keeps a firewall on this machine. Another one that is active is a finding then.
    type: bool
    default: false
  packages:
    description:
      - Debian packages that will be installed. A name that the package lists of the machine do not have is a finding,
        unless the machine has no lists yet.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the package, with C(:ARCHITECTURE) or C(=VERSION) if the inventory says so.
        type: str
        required: true
      variable:
        description: Variable that says so.
        type: str
        required: true
  components:
    description:
      - Components that the cluster installs on this machine. One that something else has installed is a finding.
      - Known are C(postgres), C(backup), C(redis), C(haproxy) and C(airflow).
    type: list
    elements: str
    choices: [postgres, backup, redis, haproxy, airflow]
    default: []
  binds:
    description: Addresses that services of this machine will listen on.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable that says so.
        type: str
        required: true
      addresses:
        description: Addresses to listen on.
        type: list
        elements: str
        required: true
      reached:
        description: Name or address at which clients connect. Empty for loopback.
        type: str
        default: ""
  sandbox:
    description:
      - Settings of a systemd unit as C(NAME=VALUE), which systemd must be able to apply. A transient unit that runs
        C(true) tries them.
    type: list
    elements: str
    default: []
  take_over:
    description: Components that the cluster may take over although something else has installed them.
    type: list
    elements: str
    default: []
  account:
    description: User that the cluster creates for Airflow; with I(components) C(airflow).
    type: str
    default: ""
  repository:
    description: Directory of the backups. Empty for none.
    type: str
    default: ""
  restoring:
    description: Whether the run restores the database from I(repository).
    type: bool
    default: false
  identity:
    description:
      - What the controller has of the cluster's identity. The action plugin compares the deployed identity with it.
      - Empty for no comparison.
    type: dict
    default: {}
  connect_timeout:
    description: Seconds after which an attempt to connect is given up.
    type: int
    default: 5
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check the machine
  airflow_celery.cluster.host_check:
    min_memory_mb: 1800
    min_disk_mb: 2000
    ports:
      - port: 8793
        variable: airflow_worker_log_port
        units: [airflow-worker.service]
    endpoints:
      - address: control1
        port: 6379
        variable: airflow_broker_url
        host: control1
"""

RETURN = r"""
findings:
  description: What is wrong with the machine.
  returned: always
  type: list
  elements: dict
  contains:
    variable:
      description: Variable or property of the machine.
      type: str
    value:
      description: What it is.
      type: str
    expected:
      description: What would be right.
      type: str
    remedy:
      description: How to get there.
      type: str
    about:
      description: Inventory name of another host that the finding is about, if any.
      type: str
held:
  description: Ports of I(ports) that the cluster's own units hold already.
  returned: always
  type: list
  elements: int
identity:
  description: >-
    What the machine was deployed with: the text of the authority that it trusts, salted digests of the secrets of the
    control plane, and the broker of the worker.
  returned: always
  type: dict
owned:
  description: Components that this project has installed on the machine.
  returned: always
  type: list
  elements: str
refused:
  description: Entries of I(endpoints) whose host answered, but where nothing listens.
  returned: always
  type: list
  elements: dict
ansible_facts:
  description: The fact C(memtotal_mb).
  returned: always
  type: dict
silent:
  description: Entries of I(endpoints) that are I(filtered), and did not answer.
  returned: always
  type: list
  elements: dict
time:
  description: The machine's clock, in seconds since the epoch.
  returned: always
  type: float
"""

import errno
import fnmatch
import glob
import json
import os
import platform
import re
import secrets
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils import host_state
from ansible_collections.airflow_celery.cluster.plugins.module_utils.host_state import finding, read

DEBIAN = ("12", "13")
ARCHITECTURES = ("x86_64", "aarch64")
PYTHON = (3, 11)
RELEASE_FILE = "/opt/airflow/current/release.json"
DEBIAN_MODULES = "/usr/lib/python3/dist-packages"
SANDBOX_STATUS = {217: "217/USER", 218: "218/CAPABILITIES", 226: "226/NAMESPACE", 228: "228/SECCOMP"}
LISTEN = "0A"
SILENCE = "no answer within"


def check_system(os_release: str, machine: str, python: tuple[int, ...], systemd: bool) -> list[dict[str, str]]:
    """Check distribution, architecture, Python and init system.

    :param os_release: text of /etc/os-release.
    """
    found = []
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', os_release, re.MULTILINE))
    if system.get("ID") != "debian" or system.get("VERSION_ID") not in DEBIAN:
        found.append(
            finding(
                "operating system",
                system.get("PRETTY_NAME") or "unknown",
                "Debian 12 or Debian 13",
                "install Debian 13 on this machine, or take the host out of the inventory",
            )
        )
    if machine not in ARCHITECTURES:
        found.append(
            finding(
                "architecture",
                machine,
                " or ".join(ARCHITECTURES),
                "use a 64-bit x86 or ARM machine, or take the host out of the inventory",
            )
        )
    if tuple(python[:2]) < PYTHON:
        found.append(
            finding(
                "Python",
                ".".join(str(part) for part in python[:3]),
                "3.11 or newer",
                "install python3 of Debian 12 or 13, or point ansible_python_interpreter to it",
            )
        )
    if not systemd:
        found.append(
            finding(
                "init system",
                "not systemd",
                "systemd as process 1, which runs every process of the cluster",
                "boot the machine with systemd",
            )
        )
    return found


def check_interpreter(executable: str, path: list[str]) -> list[dict[str, str]]:
    """Check whether Python finds the modules of Debian packages."""
    if DEBIAN_MODULES in path:
        return []
    return [
        finding(
            "ansible_python_interpreter",
            executable,
            f"the Python of Debian, which has {DEBIAN_MODULES} in its path: the roles install python3-apt, "
            "python3-cryptography and python3-psycopg2 for it",
            "set ansible_python_interpreter: /usr/bin/python3",
        )
    ]


def sandbox_command(settings: list[str]) -> list[str]:
    """Return the command that tries a sandbox."""
    properties = [f"--property={setting}" for setting in settings]
    return ["systemd-run", "--quiet", "--wait", "--collect", *properties, "/bin/true"]


def check_sandbox(code: int, error: str) -> list[dict[str, str]]:
    """Return a finding for a sandbox that systemd could not make.

    :param code: exit status of sandbox_command. systemd's own are documented in systemd.exec(5).
    """
    if code == 0:
        return []
    reason = error.strip().splitlines()[-1:] or ["the unit ended with status " + SANDBOX_STATUS.get(code, str(code))]
    return [
        finding(
            "systemd",
            f"the sandbox of the cluster's units cannot be made: {reason[0]}",
            "a machine, or a container in which systemd may create namespaces",
            "allow nesting in the container (LXC, Proxmox: features: nesting=1), or use a virtual machine; single "
            "settings can be left out with airflow_sandbox (docs/sandbox.md)",
        )
    ]


def total_mb(meminfo: str) -> int:
    """Return the machine's memory in MB from the text of /proc/meminfo; 0 where it does not say."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(match.group(1)) // 1024 if match else 0


def check_memory(meminfo: str, least: int, variable: str) -> list[dict[str, str]]:
    """Compare the machine's memory, as in /proc/meminfo, with the least that it must have."""
    total = total_mb(meminfo)
    if total >= least:
        return []
    return [
        finding(
            "memory",
            f"{total} MB",
            f"at least {least} MB ({variable})",
            f"give the machine more memory, or set {variable} lower if you know what it will run",
        )
    ]


def free_mb(path: str) -> tuple[str, int]:
    """Return the nearest existing parent of a path, and the MB that are free there."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    return path, status.f_bavail * status.f_frsize // (1024 * 1024)


def check_disk(paths: list[str], least: int) -> list[dict[str, str]]:
    """Compare the free space of the file systems that hold the paths with the least that there must be."""
    found = []
    devices: set[int] = set()
    for wanted in paths:
        path, free = free_mb(wanted)
        device = os.stat(path).st_dev
        if free < least and device not in devices:
            devices.add(device)
            found.append(
                finding(
                    f"free disk space at {wanted}",
                    f"{free} MB",
                    f"at least {least} MB (preflight_min_disk_mb)",
                    "free or add space there, or set preflight_min_disk_mb lower",
                )
            )
    return found


def version_key(version: str) -> tuple[tuple[int, ...], int, str]:
    """Return something that sorts versions; a pre-release comes before its release."""
    match = re.match(r"(\d+(?:\.\d+)*)(.*)", version)
    if not match:
        return (0,), 0, version
    release = tuple(int(part) for part in match.group(1).split("."))
    while release and release[-1] == 0:
        release = release[:-1]
    suffix = match.group(2)
    return release, -1 if re.match(r"[.-]?(?:a|b|c|rc|dev)", suffix) else 0, suffix


def check_downgrade(release_file: str, wanted: str) -> list[dict[str, str]]:
    """Compare the installed release of Airflow, if there is one, with the wanted version."""
    if not wanted or not os.path.exists(release_file):
        return []
    with open(release_file, encoding="utf-8") as file:
        installed = str(json.load(file).get("airflow_version", ""))
    if version_key(installed) <= version_key(wanted):
        return []
    return [
        finding(
            "airflow_version",
            wanted,
            f"{installed} or newer: that is installed here, and its database schema has no way back",
            f"set airflow_version to {installed}, or undo the last upgrade",
        )
    ]


def listening_ports(tables: list[str]) -> set[int]:
    """Return the TCP ports that something listens on.

    :param tables: texts of /proc/net/tcp and /proc/net/tcp6.
    """
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {int(row[1].rsplit(":", 1)[1], 16) for row in rows if len(row) > 3 and row[3] == LISTEN}


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


def check_firewalls(ufw_conf: str, firewalld: bool) -> list[dict[str, str]]:
    """Return findings for firewalls that would stand in the way of the cluster's own.

    :param ufw_conf: text of /etc/ufw/ufw.conf. Its unit is active even where ufw is not.
    :param firewalld: whether firewalld runs.
    """
    ufw = re.search(r"^ENABLED=[\"']?yes", ufw_conf, re.MULTILINE)
    return [
        finding(
            "firewall",
            f"{name} is active",
            "no other firewall beside that of the cluster: a packet must pass both",
            f"disable {name} ({command}), or set firewall_enabled: false and open the ports of docs/firewall.md there",
        )
        for name, active, command in (
            ("ufw", bool(ufw), "ufw disable"),
            ("firewalld", firewalld, "systemctl disable --now firewalld"),
        )
        if active
    ]


def ip_addresses(name: str) -> list[str]:
    """Return the IP addresses of a name; raises OSError or UnicodeError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


def check_packages(packages: list[dict[str, str]], policy: str) -> list[dict[str, str]]:
    """Return findings for Debian packages that the package lists do not have.

    :param policy: what `apt-cache policy` prints of them. Of an unknown package it prints nothing.
    """
    known = set(re.findall(r"^(\S+):$", policy, re.MULTILINE))
    return [
        finding(
            entry["variable"],
            entry["name"],
            "a package of the Debian release of this host, or of a repository that is set up on it",
            "correct the name; search with: apt-cache search --names-only NAME",
        )
        for entry in packages
        # The native architecture is left out.
        if known.isdisjoint({entry["name"].split("=")[0], re.split("[:=]", entry["name"])[0]})
    ]


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


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "min_memory_mb": {"type": "int", "default": 0},
            "min_memory_variable": {"type": "str", "default": "preflight_min_memory_mb"},
            "min_disk_mb": {"type": "int", "default": 0},
            "disk_paths": {"type": "list", "elements": "path", "default": ["/opt", "/var/lib"]},
            "max_clock_offset": {"type": "int", "default": 5},
            "airflow_version": {"type": "str", "default": ""},
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "port": {"type": "int", "required": True},
                    "variable": {"type": "str", "required": True},
                    "units": {"type": "list", "elements": "str", "default": []},
                },
            },
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "variable": {"type": "str", "required": True},
                    "host": {"type": "str", "default": ""},
                    "filtered": {"type": "bool", "default": False},
                },
            },
            "names": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "address": {"type": "str", "required": True},
                    "host": {"type": "str", "required": True},
                },
            },
            "firewall": {"type": "bool", "default": False},
            "packages": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "variable": {"type": "str", "required": True},
                },
            },
            "components": {
                "type": "list",
                "elements": "str",
                "choices": ["postgres", "backup", "redis", "haproxy", "airflow"],
                "default": [],
            },
            "binds": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "variable": {"type": "str", "required": True},
                    "addresses": {"type": "list", "elements": "str", "required": True},
                    "reached": {"type": "str", "default": ""},
                },
            },
            "sandbox": {"type": "list", "elements": "str", "default": []},
            "take_over": {"type": "list", "elements": "str", "default": []},
            "account": {"type": "str", "default": ""},
            "repository": {"type": "str", "default": ""},
            "restoring": {"type": "bool", "default": False},
            "identity": {"type": "dict", "default": {}},
            "connect_timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    params = module.params
    found = check_system(
        read("/etc/os-release"), platform.machine(), sys.version_info[:3], os.path.isdir("/run/systemd/system")
    )
    if os.geteuid() != 0:
        found.append(
            finding(
                "become",
                f"user {os.geteuid()}",
                "root, by login or by sudo",
                "set become: true and, where sudo asks for a password, --ask-become-pass",
            )
        )
    found += check_memory(read("/proc/meminfo"), params["min_memory_mb"], params["min_memory_variable"])
    found += check_disk(params["disk_paths"], params["min_disk_mb"])
    found += check_downgrade(RELEASE_FILE, params["airflow_version"])

    def output_of(*command: str) -> str:
        # Not every machine has the program, and a very old one not the option; it only adds detail.
        if not module.get_bin_path(command[0]):
            return ""
        code, out, _error = module.run_command(list(command))
        return str(out) if code == 0 else ""

    sockets = output_of("ss", "--no-header", "--numeric", "--tcp", "--listening", "--processes", "--cgroup")

    def is_active(units: list[str]) -> bool:
        command = ("systemctl", "list-units", "--state=active", "--plain", "--no-legend")
        return bool(output_of(*command, *units).strip())

    of_ports, held = check_ports(
        params["ports"],
        listening_ports([read("/proc/net/tcp"), read("/proc/net/tcp6")]),
        holders(sockets),
        is_active,
    )
    found += check_interpreter(sys.executable, sys.path)
    found += check_binds(params["binds"])
    if params["sandbox"] and os.path.isdir("/run/systemd/system") and os.geteuid() == 0:
        code, _out, error = module.run_command(sandbox_command(params["sandbox"]))
        found += check_sandbox(code, error)
    if params["packages"] and glob.glob("/var/lib/apt/lists/*_Packages*"):
        packages = [entry["name"].split("=")[0] for entry in params["packages"]]
        found += check_packages(params["packages"], output_of("apt-cache", "policy", *packages))
    if params["firewall"]:
        known = check_firewalls(read("/etc/ufw/ufw.conf"), is_active(["firewalld.service"]))
        found += known or host_state.check_rules(
            output_of("nft", "--json", "list", "ruleset"),
            output_of("iptables", "-S", "INPUT"),
            os.path.exists(host_state.FIREWALL_FILE),
        )
    owned = host_state.own_components()
    account = params["account"] if params["account"] and host_state.has_account(params["account"]) else ""
    found += host_state.check_components(params["components"], params["take_over"], owned, account)
    if "postgres" in params["components"]:
        release = re.search(r'^VERSION_ID="?(\d+)', read("/etc/os-release"), re.MULTILINE)
        found += host_state.check_postgres_version(release.group(1) if release else "", owned)
        found += host_state.check_repository(params["repository"], owned, params["restoring"])
    of_network, refused, silent = check_network(params["endpoints"], params["names"], params["connect_timeout"])
    module.exit_json(
        changed=False,
        findings=found + of_ports + of_network,
        held=held,
        owned=owned,
        identity=host_state.identity(secrets.token_hex(16)),
        refused=refused,
        silent=silent,
        time=time.time(),
        # Read already, and under the name that Ansible's own fact has, whose subset takes a second or more to gather.
        ansible_facts={"memtotal_mb": total_mb(read("/proc/meminfo"))},
    )


if __name__ == "__main__":
    main()
