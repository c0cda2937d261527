#!/usr/bin/python
"""List available updates and the reasons to reboot the machine."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: os_updates
short_description: List available updates and reasons to reboot
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Fetches apt's lists, unless O(refresh) is false, and asks apt what an upgrade would do. Installs nothing.
  - >-
    A machine should be rebooted when F(/run/reboot-required) says so, when a kernel was installed since it booted, or
    when a process still uses a library that was replaced since. Debian itself writes that file for some packages only,
    and for kernels not without C(unattended-upgrades).
options:
  upgrade:
    description: V(security) for the updates of Debian's security archive, V(full) for all of them.
    type: str
    choices: [security, full]
    default: security
  refresh:
    description: Whether apt's lists are fetched first.
    type: bool
    default: true
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Ask for security updates
  airflow_celery.cluster.os_updates:
  register: updates
"""

RETURN = r"""
packages:
  description: Installed packages that have an update.
  returned: always
  type: list
  elements: str
reboot:
  description: Why the machine should be rebooted; empty when there is no reason.
  returned: always
  type: list
  elements: str
"""

import os
import re
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

REBOOT_REQUIRED = "/run/reboot-required"
# As apt prints it: "Inst libssl3 [3.0.15-1] (3.0.17-1 Debian-Security:12/oldstable-security [amd64])". One that is
# not installed yet has no version in square brackets: what needs it asks for it.
INST = re.compile(r"^Inst (?P<name>\S+) \[(?P<old>[^\]]*)\] \((?P<new>\S+) (?P<origins>[^\[)]*)")
SECURITY = re.compile(r"(?:^|[ ,])Debian-Security:|-security(?:[ ,]|$)")
# Libraries of the distribution. What lies in /opt is the deployment's own, and restarted by it.
LIBRARY = re.compile(r" (/(?:usr/)?lib\S*/\S+\.so\S*) \(deleted\)$")


def updates(simulated: str, upgrade: str) -> list[str]:
    """Return the installed packages that a simulated upgrade installs anew.

    :param simulated: what ``apt-get --simulate dist-upgrade`` printed.
    :param upgrade: ``security`` leaves out what does not come from a security archive.
    """
    found = set()
    for line in simulated.splitlines():
        match = INST.match(line)
        if match and (upgrade == "full" or SECURITY.search(match["origins"].strip())):
            found.add(match["name"])
    return sorted(found)


def replaced_libraries(maps: str) -> set[str]:
    """Return the libraries of the distribution that a process uses though their files are gone, from its ``maps``."""
    return {match[1] for match in map(LIBRARY.search, maps.splitlines()) if match}


def old_libraries(root: str = "/proc") -> set[str]:
    """Return the replaced libraries that some process still uses."""
    found: set[str] = set()
    for name in os.listdir(root):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"{root}/{name}/maps", encoding="utf-8", errors="replace") as file:
                    found |= replaced_libraries(file.read())
            except OSError:  # it ended meanwhile
                continue
    return found


def new_kernels(boot: float, directory: str = "/boot") -> list[str]:
    """Return the kernels that were installed after the machine booted.

    :param boot: when that was, in seconds since the epoch.
    """
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    return [
        name.removeprefix("vmlinuz-")
        for name in names
        if name.startswith("vmlinuz-") and os.stat(os.path.join(directory, name)).st_ctime > boot
    ]


def boot_time(stat: str) -> float:
    """Return when the machine booted, in seconds since the epoch, from ``/proc/stat``."""
    return float(next(line.split()[1] for line in stat.splitlines() if line.startswith("btime ")))


def reboot_reasons(required: bool, kernels: Iterable[str], libraries: Iterable[str]) -> list[str]:
    """Return why to reboot, in a person's words."""
    reasons = [f"{REBOOT_REQUIRED} exists"] if required else []
    reasons += [f"kernel {kernel} was installed" for kernel in kernels]
    names = sorted({os.path.basename(library) for library in libraries})
    if names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        reasons.append(f"running processes use replaced libraries: {shown}")
    return reasons


def main() -> None:
    """Query apt and the machine."""
    module = AnsibleModule(
        argument_spec={
            "upgrade": {"type": "str", "choices": ["security", "full"], "default": "security"},
            "refresh": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )

    def apt_get(*arguments: str) -> str:
        code, out, error = module.run_command(
            ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-o", "APT::Update::Error-Mode=any", *arguments],
            environ_update={"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
        if code != 0:
            module.fail_json(msg=f"apt-get {' '.join(arguments)}: {error.strip() or out.strip()}")
        return str(out)

    if module.params["refresh"] and not module.check_mode:
        apt_get("--quiet", "update")
    result: dict[str, Any] = {
        "changed": False,
        "packages": updates(apt_get("--simulate", "--quiet", "dist-upgrade"), module.params["upgrade"]),
    }
    with open("/proc/stat", encoding="utf-8") as file:
        booted = boot_time(file.read())
    module.exit_json(
        **result, reboot=reboot_reasons(os.path.exists(REBOOT_REQUIRED), new_kernels(booted), old_libraries())
    )


if __name__ == "__main__":
    main()
