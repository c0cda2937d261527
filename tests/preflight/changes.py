"""What the tests change in a sound inventory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conftest import Draft


def everywhere(**variables: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.everywhere.update(variables)


def on(host: str, **variables: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.host(host).update(variables)


def members(group: str, *hosts: str) -> Callable[[Draft], None]:
    return lambda draft: draft.group(group).update({group: {"hosts": {host: {} for host in hosts}}})


def without(group: str) -> Callable[[Draft], None]:
    return lambda draft: draft.group(group).pop(group)


def renamed(group: str, name: str) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        parent = draft.group(group)
        parent[name] = parent.pop(group)
        draft.layout["all"]["children"]["airflow"]["children"].pop(group, None)

    return change


def secret(name: str, value: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.secrets.update({name: value})


def lost_secret(name: str) -> Callable[[Draft], None]:
    return lambda draft: draft.secrets.pop(name)


def site_file(text: str) -> Callable[[Draft], None]:
    """Have the file of airflow_webserver_config in the directory of the inventory."""

    def change(draft: Draft) -> None:
        draft.files[".files/webserver_config.py"] = text
        draft.everywhere["airflow_webserver_config"] = "{{ inventory_dir }}/.files/webserver_config.py"

    return change


def setting(section: str, **options: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.everywhere.setdefault("airflow_config", {}).setdefault(section, {}).update(options)
