"""What a rotation of secrets does to the secrets file.

A rotation has three steps, each one write of the file, and a run of ``site.yml`` after each:

``begin``
    The new values stand in ``airflow_secrets_next``. Whoever checks a secret accepts the new value, too.
``switch``
    The new values take the place of the old ones, and those stand in ``airflow_secrets_previous``. Whoever uses a
    secret uses the new value now, and both are still accepted.
``retire``
    The old values are gone.

The file records the progress of a rotation, so that an interrupted rotation continues from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import yaml
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import secret_values

NEXT = "airflow_secrets_next"
PREVIOUS = "airflow_secrets_previous"
STEPS = ("begin", "switch", "retire")
# A database role has one password. While two must be accepted there are two roles, and the rotation moves from one to
# the other: variable with the password, variable with the role's name, and its default, which owns the database.
LOGINS: Mapping[str, tuple[str, str]] = {
    "airflow_database_password": ("airflow_database_user", "airflow"),
    "airflow_results_password": ("airflow_results_user", "celery"),
}
OTHER = "_b"
COMMENT = "# A rotation is under way: the playbook rotate_secrets goes on with it.\n"

State = Literal["none", "begun", "switched"]


class RotationError(ValueError):
    """The secrets file does not allow the step: what was found, what is expected, and the remedy."""


def state(text: str) -> State:
    """Return how far the rotation in the secrets file is."""
    entries = _entries(text)
    if PREVIOUS in entries:
        return "switched"
    return "begun" if NEXT in entries else "none"


def rotating(text: str) -> list[str]:
    """Return the secrets that are being rotated, sorted."""
    values = _values(text)
    names = {**values.get(NEXT, {}), **values.get(PREVIOUS, {})}
    return sorted(set(names) & set(secret_values.GENERATORS))


def begin(text: str, names: Iterable[str], foreign: Iterable[str] = ()) -> str:
    """Return the text of the secrets file with a new value for each of the names beside the present one.

    :param foreign: secrets of external services, which only their owner can change.
    """
    values, fresh = _values(text), {}
    for name in sorted(set(names)):
        if name not in secret_values.GENERATORS:
            known = ", ".join(secret_values.GENERATORS)
            raise RotationError(f"{name} is no secret of the cluster. Expected: all, or some of {known}")
        if name in foreign:
            raise RotationError(
                f"{name} is not rotated: group {secret_values.LOGIN_OF[name]} is empty, so the login is one of an "
                "external service. Change the password there, then in the URL that the inventory sets, and deploy the "
                "cluster"
            )
        if name in secret_values.NOT_ROTATED:
            raise RotationError(f"{name} is not rotated: {secret_values.NOT_ROTATED[name]}")
        if not isinstance(values.get(name), str):
            raise RotationError(
                f'{name} has no plain value in the secrets file. Expected: a line `{name}: "..."` there. Fix: move '
                "it there (the file as a whole is what ansible-vault encrypts), or rotate it where it is kept"
            )
        fresh[name] = secret_values.GENERATORS[name]()
        if name in LOGINS:
            user, owner = LOGINS[name]
            present = values.get(user, owner)
            fresh[user] = owner if present == owner + OTHER else owner + OTHER
    if not fresh:
        raise RotationError("no secret was named. Expected: -e cluster_rotate=all, or names separated by commas")
    return _with_mapping(text, NEXT, fresh)


def switch(text: str) -> str:
    """Return the text of the secrets file with the new values in place, and the old ones kept as the previous ones."""
    values = _values(text)
    fresh: Mapping[str, str] = values[NEXT]
    owners = dict(LOGINS.values())
    old = {name: str(values.get(name, owners.get(name))) for name in fresh}
    text = _without(text, NEXT)
    for name, value in fresh.items():
        text = _with_value(text, name, value)
    return _with_mapping(text, PREVIOUS, old)


def retire(text: str) -> str:
    """Return the text of the secrets file without the old values."""
    return _without(text, PREVIOUS)


def _entries(text: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Return key and value of each entry by name, with their places in the text."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise RotationError("the secrets file holds no mapping. Expected: lines `name: value`")
    return {str(key.value): (key, value) for key, value in node.value}


def _values(text: str) -> dict[str, Any]:
    """Return the values of the file; of a kind that only Ansible knows (``!vault``), None."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda *_: None)
    loaded = yaml.load(text, Loader=Loader)
    return loaded if isinstance(loaded, dict) else {}


def _with_value(text: str, name: str, value: str) -> str:
    entry = _entries(text).get(name)
    if entry is None:
        return _ended(text) + f"{name}: {json.dumps(value)}\n"
    start, end = entry[1].start_mark.index, entry[1].end_mark.index
    # A block scalar reaches to the start of the next line.
    return text[:start] + json.dumps(value) + ("\n" if text[start:end].endswith("\n") else "") + text[end:]


def _with_mapping(text: str, name: str, values: Mapping[str, str]) -> str:
    return _ended(text) + f"{COMMENT}{name}: {json.dumps(values)}\n"


def _without(text: str, name: str) -> str:
    key, value = _entries(text)[name]
    start, end = key.start_mark.index, value.end_mark.index
    if text[:start].endswith(COMMENT):
        start -= len(COMMENT)
    return text[:start] + text[end:].removeprefix("\n")


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
