"""Programs that a run needs on the controller."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Host, Inventory

# Programs that a playbook may ask for.
PROGRAMS = ("rsync", "uv")
Find = Callable[[str], str | None]


def find_program(name: str) -> str | None:
    """Return the path of a program: beside the Python that runs Ansible, or on PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def check_programs(inventory: Inventory, wanted: Sequence[str], find: Find = find_program) -> Iterator[Finding]:
    """Each program that this run needs is on the controller.

    :param wanted: of ``PROGRAMS``, what the playbook uses if the inventory lets it.
    """
    needs: dict[str, tuple[str, str]] = {}
    by_ssh = [host.name for host in inventory.cluster if text_of(host, "ansible_connection", "ssh") in ("ssh", "smart")]
    if by_ssh:
        needs["ssh"] = (f"to connect to {by_ssh[0]}", "apt install openssh-client")
    if "uv" in wanted:
        needs["uv"] = ("to lock and build the runtime", f"{sys.executable} -m pip install uv")
        if any("git+" in str(text) for host in inventory.cluster for text in added_requirements(host)):
            needs["git"] = ("to lock a requirement from git", "apt install git; or name a wheel instead")
    if "rsync" in wanted and any(copies_backups(host) for host in inventory.members("postgres")):
        needs["rsync"] = ("to copy backups (backup_fetch_dir)", "apt install rsync; or set backup_fetch_dir to nothing")
    for program, (purpose, remedy) in needs.items():
        if find(program) is None:
            yield Finding("controller", f"program {program}", "not found", f"{program} on PATH, {purpose}", remedy)


def copies_backups(host: Host) -> bool:
    """Return whether the backups of a host are copied to the controller and back: not those of an object store."""
    settings = host.get("backup_settings", {})
    kind = settings.get("repo1-type", "posix") if isinstance(settings, Mapping) else "posix"
    return kind in ("posix", "cifs") and text_of(host, "backup_fetch_dir", "") != ""


def added_requirements(host: Host) -> list[str]:
    """Return the requirements that a site adds for a host."""
    names = ["airflow_runtime_extra_requirements"]
    names += ["airflow_worker_extra_requirements"] if topology.WORKER_GROUP in host.groups else []
    lists = (host.get(name, []) for name in names)
    return [str(text) for found in lists if isinstance(found, list) for text in found]


def text_of(host: Host, variable: str, default: str) -> str:
    """Return a variable as text."""
    return str(host.get(variable, default))
