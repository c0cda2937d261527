"""Whether a machine is fit for the cluster: system, memory, disk, packages.

Runs on hosts, for the module host_check: no syntax newer than Python 3.8.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from ansible_collections.airflow_celery.cluster.plugins.module_utils.host_state import finding

DEBIAN = ("12", "13")
ARCHITECTURES = ("x86_64", "aarch64")
PYTHON = (3, 11)
DEBIAN_MODULES = "/usr/lib/python3/dist-packages"
SANDBOX_STATUS = {217: "217/USER", 218: "218/CAPABILITIES", 226: "226/NAMESPACE", 228: "228/SECCOMP"}


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


def check_locale(encoding: str, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a finding for a login whose encoding is not UTF-8: Ansible cannot read what translated programs print.

    :param encoding: Python's name of the encoding of file names. It is UTF-8 in the locales C and POSIX as well.
    :param environment: of the login.
    """
    if encoding == "utf-8":
        return []
    names = [name for name in ("LC_ALL", "LC_CTYPE", "LANG") if environment.get(name)]
    return [
        finding(
            "locale",
            f"{names[0]}={environment[names[0]]} (encoding {encoding})" if names else f"encoding {encoding}",
            "a locale with encoding UTF-8, as C.UTF-8 is",
            "set LANG=C.UTF-8 in /etc/default/locale of the host; SSH may also send the locale of your own session",
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
