"""The commands that messages recommend, in the form that fits a clone of the repository or the installed collection."""

from __future__ import annotations

import shlex
from pathlib import Path

COLLECTION = "airflow_celery.cluster"
ROOT = Path(__file__).resolve().parents[2]
# Options of ansible-playbook, by their names in CLIARGS: those that ask, and those that name a vault.
ASKING = {"ask_vault_pass": "ask-vault-pass", "ask_pass": "ask-pass", "become_ask_pass": "ask-become-pass"}
VAULTS = {"vault_ids": "vault-id", "vault_password_files": "vault-password-file"}


def shortest(path: str | Path) -> str:
    """Return a path as a person in the current directory would name it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def playbook(name: str, root: Path = ROOT) -> str:
    """Return what to give to ansible-playbook for one of our playbooks, such as ``site`` or ``drain_worker``."""
    path = root / ("site.yml" if name == "site" else f"playbooks/{name}.yml")
    return f"{COLLECTION}.{name}" if "ansible_collections" in root.parts else shortest(path)


def command(name: str, arguments: str = "", root: Path = ROOT) -> str:
    """Return the command that runs one of our playbooks on the inventory of this run.

    :param name: ``site``, or the name of a file in playbooks/ without its extension.
    :param arguments: what follows the playbook.
    """
    # Not at the top: this is the only import that a host could not satisfy.
    from ansible import constants, context  # pylint: disable=ansible-bad-module-import

    inventories = context.CLIARGS.get("inventory") or ()
    # Without -i, Ansible fills in what ansible.cfg says, and so will the next run.
    if list(inventories) == list(constants.DEFAULT_HOST_LIST):
        inventories = ()
    parts = ["ansible-playbook"]
    for inventory in inventories:
        parts += ["-i", shlex.quote(shortest(inventory))]
    parts.append(shlex.quote(playbook(name, root)))
    # What opens the vault in this run, and what asks for a password, the next run needs, too.
    parts += [f"--{flag}" for option, flag in ASKING.items() if context.CLIARGS.get(option)]
    for option, flag in VAULTS.items():
        for value in context.CLIARGS.get(option) or ():
            parts += [f"--{flag}", shlex.quote(shortest(value))]
    return " ".join([*parts, *([arguments] if arguments else [])])
