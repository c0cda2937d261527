"""What is checked: an inventory, its hosts and their variables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import addresses, secret_values, topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import UNSET

# Not a variable of an inventory: the rendered text of the file that airflow_webserver_config names.
WEBSERVER_TEXT = "__airflow_webserver_config_text"


class Unresolvable(Exception):
    """A variable's template cannot be rendered."""


class Host:
    """A host and its variables.

    :param own: variables that the inventory sets for it, not rendered.
    :param render: returns the value of a variable that is set or has a default; raises Unresolvable, or KeyError.
    """

    def __init__(self, name: str, groups: Sequence[str], own: Mapping[str, Any], render: Callable[[str], Any]) -> None:
        self.name = name
        self.groups = frozenset(groups)
        self.own = own
        self.names = frozenset(own)
        self._render = render
        self._values: dict[str, Any] = {}

    def get(self, name: str, default: Any = UNSET) -> Any:
        """Return a variable's value, its role default, or ``default``; UNSET for what can't be rendered."""
        if name not in self._values:
            try:
                self._values[name] = self._render(name)
            except (KeyError, Unresolvable):
                self._values[name] = UNSET
        value = self._values[name]
        return default if value is UNSET else value

    def rendered(self, name: str) -> Any:
        """Return a variable's value; raises Unresolvable if it has a template that can't be rendered."""
        self._values[name] = self._render(name)
        return self._values[name]

    @property
    def address(self) -> str:
        """How other hosts reach this one."""
        return addresses.address(self.name, self.reached)

    @property
    def reached(self) -> dict[str, Any]:
        """The variables that say how this host is reached."""
        return {name: self.get(name, "") for name in ("airflow_address", "ansible_host")}

    def number(self, name: str) -> int | None:
        """Return a variable as a number, or None if it is none."""
        try:
            return int(self.get(name))
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True)
class AirflowOptions:
    """Names and types of Airflow's settings, as tools/airflow_options.py writes them.

    :param types: ``boolean``, ``float``, ``integer`` or ``json`` of each option that is no text.
    :param empty: those of them that may be empty.
    """

    airflow_version: str
    sections: Mapping[str, Sequence[str]]
    renamed: Mapping[str, str]
    sensitive: Sequence[str]
    types: Mapping[str, str]
    empty: Sequence[str]

    @classmethod
    def load(cls, path: Path) -> AirflowOptions:
        """Read the generated file."""
        return cls(**json.loads(path.read_text()))


@dataclass
class Inventory:
    """All that is checked.

    :param groups: names of all hosts of each group.
    :param hosts: all hosts.
    :param specs: options of all roles' argument specs by name.
    :param options: names of Airflow's settings.
    :param read: returns the content of a file on the controller; raises OSError.
    :param now: the time for which certificates are judged.
    """

    groups: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Host]
    specs: Mapping[str, Mapping[str, Any]]
    options: AirflowOptions
    read: Callable[[str], bytes] = lambda path: Path(path).read_bytes()
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _invalid: set[tuple[str, str]] = field(default_factory=set)

    def members(self, group: str) -> list[Host]:
        """Return the hosts of a group."""
        return [self.hosts[name] for name in self.groups.get(group, ())]

    @property
    def cluster(self) -> list[Host]:
        """The hosts that are part of the cluster."""
        ours = set(topology.PROCESS_GROUPS)
        return [host for host in self.hosts.values() if host.groups & ours]

    def is_secret(self, name: str) -> bool:
        """Return whether a variable's value must not be printed."""
        return bool(self.specs.get(name, {}).get("no_log")) or name in secret_values.GENERATORS

    def mark_invalid(self, host: Host, name: str) -> None:
        """Remember that a value is wrong already, so that later rules do not build on it."""
        self._invalid.add((host.name, name))

    def sound(self, host: Host, *names: str) -> bool:
        """Return whether nothing was found wrong with these variables of a host."""
        return not any((host.name, name) in self._invalid for name in names)


def is_true(value: Any) -> bool:
    """Return whether a value is true as Ansible's variables spell it, ``-e name=true`` included."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def text_of(host: Host, variable: str) -> str:
    """Return a variable as text, "" if it has no value."""
    return str(host.get(variable, ""))
