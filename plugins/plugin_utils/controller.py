"""What a run needs on the controller: programs, and logins that they can use without a person."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Host, Inventory

# Steps of a playbook that need programs besides ssh, if the inventory has them: copies of backups on the controller,
# copies of logs between the log stores, the build of the runtime.
STEPS = ("backup_copies", "log_copies", "runtime")
# Where ansible.posix.synchronize looks for the password of a login, and where else Ansible does.
LOGIN_PASSWORDS = ("ansible_password", "ansible_ssh_pass")
OTHER_LOGIN_PASSWORD = "ansible_ssh_password"
SUDO_PASSWORDS = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
Find = Callable[[str], str | None]


@dataclass(frozen=True)
class CommandLine:
    """What the command line and ansible.cfg say of the logins of all hosts.

    :param user: the login.
    :param login_password: whether its password is not a variable.
    :param sudo_password: whether its password for sudo is not a variable.
    """

    user: str = ""
    login_password: bool = False
    sudo_password: bool = False


@dataclass(frozen=True)
class Copies:
    """Hosts with which the controller exchanges files by rsync: where rsync runs as root, and where as the login.

    :param purpose: what is copied.
    """

    purpose: str
    remedy: str
    as_root: Sequence[Host]
    as_login: Sequence[Host] = ()


def find_program(name: str) -> str | None:
    """Return the path of a program: beside the Python that runs Ansible, or on PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def check_controller(
    inventory: Inventory, steps: Sequence[str], given: CommandLine, find: Find = find_program
) -> Iterator[Finding]:
    """Check the controller for the steps of a playbook."""
    copies = list(copies_of(inventory, steps))
    yield from check_programs(inventory, steps, copies, find)
    for one in copies:
        yield from check_logins(one, given)


def check_programs(
    inventory: Inventory, steps: Sequence[str], copies: Sequence[Copies], find: Find
) -> Iterator[Finding]:
    """Each program that this run needs is on the controller."""
    needs: dict[str, tuple[str, str]] = {}
    by_ssh = [host.name for host in inventory.cluster if uses_ssh(host)]
    if by_ssh:
        needs["ssh"] = (f"to connect to {by_ssh[0]}", "apt install openssh-client")
    if "runtime" in steps:
        needs["uv"] = ("to lock and build the runtime", f"{sys.executable} -m pip install uv")
        if any("git+" in str(text) for host in inventory.cluster for text in added_requirements(host)):
            needs["git"] = ("to lock a requirement from git", "apt install git; or name a wheel instead")
    for one in copies:
        needs.setdefault("rsync", (f"to copy {one.purpose}", f"apt install rsync{one.remedy}"))
        for host in (*one.as_root, *one.as_login):
            if uses_ssh(host) and (variable := first_set(host, LOGIN_PASSWORDS)):
                purpose = f"for rsync, which copies {one.purpose}, to log in to {host.name} with {variable}"
                needs.setdefault("sshpass", (purpose, f"apt install sshpass; or use a key{one.remedy}"))
    for program, (purpose, remedy) in needs.items():
        if find(program) is None:
            yield Finding("controller", f"program {program}", "not found", f"{program} on PATH, {purpose}", remedy)


def check_logins(copies: Copies, given: CommandLine) -> Iterator[Finding]:
    """rsync has an SSH connection of its own, in which nobody answers a question for a password."""
    for host in filter(uses_ssh, dict.fromkeys((*copies.as_root, *copies.as_login))):
        where = f"host {host.name}"
        variable = first_set(host, [OTHER_LOGIN_PASSWORD]) or ("--ask-pass" if given.login_password else "")
        if variable and not first_set(host, LOGIN_PASSWORDS):
            value = "given" if variable.startswith("--") else "(hidden)"
            expected = f"a key, or the variable ansible_password: rsync, which copies {copies.purpose}, knows no other"
            yield Finding(where, variable, value, expected, f"use a key, or set ansible_password{copies.remedy}")
        variable = first_set(host, SUDO_PASSWORDS) or ("--ask-become-pass" if given.sudo_password else "")
        if variable and host in copies.as_root and login_of(host, given) != "root":
            value = "given" if variable.startswith("--") else "(hidden)"
            expected = f"sudo without a password: rsync, which copies {copies.purpose}, cannot type one"
            remedy = f"log in as root (ansible_user), or with NOPASSWD in /etc/sudoers.d, and without {variable}"
            yield Finding(where, variable, value, expected, remedy + copies.remedy)


def copies_of(inventory: Inventory, steps: Sequence[str]) -> Iterator[Copies]:
    """Yield the copies by rsync that the steps make."""
    databases = [host for host in inventory.members("postgres") if copies_backups(host)]
    if "backup_copies" in steps and databases:
        # The DAGs are copied too, by the login.
        with_dags = inventory.members("airflow_dag_processor")[:1]
        remedy = "; or set backup_fetch_dir to nothing"
        yield Copies("backups (backup_fetch_dir)", remedy, databases, with_dags)
    stores = inventory.members("airflow_api_server")
    if "log_copies" in steps and len(stores) > 1 and text_of(stores[0], "airflow_task_logs", "") != "local":
        yield Copies("logs between the log stores", "", stores)


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


def uses_ssh(host: Host) -> bool:
    """Return whether Ansible calls ssh for a host."""
    return text_of(host, "ansible_connection", "ssh") in ("ssh", "smart")


def login_of(host: Host, given: CommandLine) -> str:
    """Return the login of a host, "" if SSH decides."""
    return text_of(host, "ansible_user", "") or text_of(host, "ansible_ssh_user", "") or given.user


def first_set(host: Host, variables: Sequence[str]) -> str:
    """Return the first of the variables that has a value, or ""."""
    return next((variable for variable in variables if text_of(host, variable, "") != ""), "")


def text_of(host: Host, variable: str, default: str) -> str:
    """Return a variable as text."""
    return str(host.get(variable, default))
