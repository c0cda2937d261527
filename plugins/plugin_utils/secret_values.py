"""The cluster's secrets: which there are, who needs them, how they are made and what is too weak."""

from __future__ import annotations

import base64
import binascii
import secrets
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import playbook

_LETTERS = string.ascii_letters + string.digits
_GUESSED_FIRST = frozenset(
    {"admin", "airflow", "change_me", "changeit", "changeme", "default", "password", "postgres", "redis", "secret"}
)
HEADER = """---
# Made by the playbook secrets, once. Whoever reads these values owns the cluster: keep the file encrypted
# (ansible-vault) or out of version control. A line that is missing is made anew at the next run, and the
# cluster then needs a deployment to learn it.
"""


def password() -> str:
    """Return a password of letters and digits only, safe in URLs, configuration files and shells."""
    return "".join(secrets.choice(_LETTERS) for _letter in range(32))


def signing_key() -> str:
    """Return a key for HMAC; 64 characters, because Airflow signs tokens with HS512."""
    return "".join(secrets.choice(_LETTERS) for _letter in range(64))


def fernet_key() -> str:
    """Return a Fernet key: 32 random bytes as URL-safe base64."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii")


GENERATORS: Mapping[str, Callable[[], str]] = {
    "airflow_admin_password": password,
    "airflow_api_secret_key": signing_key,
    "airflow_broker_password": password,
    "airflow_database_password": password,
    "airflow_fernet_key": fernet_key,
    "airflow_jwt_secret": signing_key,
    "airflow_login_jwt_secret": signing_key,
    "airflow_results_password": password,
    "airflow_session_secret": signing_key,
    "backup_passphrase": password,
    "certificates_ca_passphrase": password,
    "flower_broker_password": password,
    "flower_password": password,
}

# What a rotation leaves alone, and what to do instead.
NOT_ROTATED: Mapping[str, str] = {
    "backup_passphrase": "a repository of backups keeps its passphrase. For a new one set backup_repository to another "
    f"directory, remove the line of backup_passphrase from the secrets file, run {playbook('secrets')} and "
    f"{playbook('site')}, and keep the old passphrase as long as the old repository",
}

# The groups whose hosts get the secret; nobody else has to know it.
_METADATA = frozenset({"airflow_scheduler", "airflow_api_server", "airflow_dag_processor", "airflow_triggerer"})
NEEDED_BY: Mapping[str, frozenset[str]] = {
    "airflow_admin_password": frozenset({"airflow_scheduler"}),
    "airflow_api_secret_key": frozenset({"airflow_api_server"}),
    "airflow_broker_password": frozenset({"redis", "airflow_scheduler", "airflow_worker"}),
    "airflow_database_password": _METADATA | {"postgres"},
    "airflow_fernet_key": _METADATA,
    "airflow_jwt_secret": frozenset({"airflow_scheduler", "airflow_api_server"}),
    "airflow_login_jwt_secret": frozenset({"airflow_api_server"}),
    "airflow_results_password": frozenset({"postgres", "airflow_scheduler", "airflow_worker"}),
    "airflow_session_secret": frozenset({"airflow_api_server"}),
    "backup_passphrase": frozenset({"postgres"}),
    # On the controller, which signs the certificate with which a host sends its logs.
    "certificates_ca_passphrase": frozenset(topology.PROCESS_GROUPS),
    "flower_broker_password": frozenset({"redis", "flower"}),
    "flower_password": frozenset({"flower"}),
}

# Logins of a service that one group runs. While the group is empty they belong to an external service.
LOGIN_OF: Mapping[str, str] = {
    "airflow_broker_password": "redis",
    "airflow_database_password": "postgres",
    "airflow_results_password": "postgres",
    "backup_passphrase": "postgres",
    "flower_broker_password": "redis",
}


def foreign(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the secrets that are not the cluster's own: those of a service that none of its hosts runs."""
    return [name for name, group in LOGIN_OF.items() if not groups.get(group)]


def fernet_problem(value: str) -> str | None:
    """Return what a Fernet key should be if it is not; several keys, separated by commas, are a rotation."""
    for key in value.split(","):
        try:
            raw = base64.b64decode(key.strip().encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError, ValueError):
            return "32 random bytes as URL-safe base64 (44 characters)"
        if len(raw) != 32:
            return f"32 random bytes as URL-safe base64 (44 characters), not {len(raw)} bytes"
        # 32 random bytes with fewer than 16 different ones do not happen; a keyboard makes them.
        if len(set(raw)) < 16:
            return "32 random bytes; these repeat themselves"
    return None


def problem(name: str, value: object) -> str | None:
    """Return what is expected of a secret if this value is not fit to be one, without repeating the value."""
    if not isinstance(value, str) or not value:
        return "text that is not empty"
    if any(character.isspace() or not character.isprintable() or character in "\"'\\" for character in value):
        return "text without white space, quotes and backslashes"
    if name == "airflow_fernet_key":
        return fernet_problem(value)
    if value.lower() in _GUESSED_FIRST:
        return "text that nobody guesses first"
    if name == "flower_password" and "," in value:
        return "text without a comma, which Flower takes for the end of a login"
    least = 32 if GENERATORS.get(name) is signing_key else 8
    if len(value) < least:
        return f"at least {least} characters"
    return None


def missing(defined: Iterable[str]) -> list[str]:
    """Return the secrets that are not among the defined names, sorted."""
    return sorted(set(GENERATORS) - set(defined))


def added_lines(names: Iterable[str]) -> str:
    """Return lines of YAML with a new value for each name."""
    return "".join(f'{name}: "{GENERATORS[name]()}"\n' for name in sorted(names))


def with_missing(text: str, names: Iterable[str]) -> str:
    """Return the text of the secrets file with the missing names added; what is there stays as it is.

    :param text: the file's text in clear, or "" if there is none.
    """
    start = text or HEADER
    return start + ("" if start.endswith("\n") else "\n") + added_lines(names)


def layout_problem(inventory_dir: Path) -> tuple[str, str] | None:
    """Return (expected, remedy) if group_vars/all can't hold a file of secrets, else None.

    Ansible reads the first of ``all``, ``all.yml``, ``all.yaml`` and ``all.json`` only, so a new directory ``all``
    would hide a file that is there.
    """
    group_vars = inventory_dir / "group_vars"
    if (group_vars / "all").is_dir():
        return None
    for name in ("all", "all.yml", "all.yaml", "all.json"):
        path = group_vars / name
        if path.is_file():
            return (
                f"{group_vars / 'all'} as a directory, of which Ansible reads every file; with one, it would no "
                f"longer read {path}",
                f"mkdir {group_vars}/all.d && mv {path} {group_vars}/all.d/main.yml && "
                f"mv {group_vars}/all.d {group_vars}/all",
            )
    return None
