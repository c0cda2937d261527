"""Check a whole inventory on the controller, before any machine is touched.

Nothing here knows Ansible's objects: an inventory is groups and, for each host, its variables, so that every rule
can be tested by itself.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.airflow_celery.cluster.plugins.module_utils import tree
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import (
    addresses,
    config_packages,
    dag_bundles,
    dag_queues,
    memory,
    object_check,
    requirements,
    secret_values,
    webserver_check,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import certificate_check as tls
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.airflow_config import is_readable
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.external_check import (
    check_external,
    connections,
    is_external,
    services_of,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import (
    HEARTBEATS_PER_API_PROCESS,
    START_SECONDS,
    Failover,
    broken,
    least_seconds,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import (
    UNSET,
    Finding,
    looks_secret,
    nearest,
    show,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.process_environment import environment_problem

# ansible-core depends on packaging. Only ansible-test imports this file without it.
with contextlib.suppress(ImportError):
    from packaging.version import InvalidVersion, Version

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
    """Names of Airflow's settings, as scripts/airflow_options.py writes them."""

    airflow_version: str
    sections: Mapping[str, Sequence[str]]
    renamed: Mapping[str, str]
    sensitive: Sequence[str]

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
        ours = set(rules.PROCESS_GROUPS)
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


def check(inventory: Inventory) -> list[Finding]:
    """Return everything that is wrong with an inventory."""
    found: list[Finding] = []
    for rule in (
        check_groups,
        check_exclusion,
        check_names,
        check_values,
        check_same_everywhere,
        check_objects,
        check_addresses,
        check_ports,
        check_binds,
        check_secrets,
        check_external,
        check_certificates,
        check_service_authorities,
        check_dags,
        check_queues,
        check_airflow_config,
        check_config_packages,
        check_webserver_config,
        check_failover,
        check_memory,
        check_sandbox,
    ):
        found.extend(rule(inventory))
    return found


# --- Groups -----------------------------------------------------------------------------------------------------------
def check_groups(inventory: Inventory) -> Iterator[Finding]:
    """Every process has a host, the parents hold their children, and what can't be two is one."""
    known = {*rules.PROCESS_GROUPS, *rules.PARENT_GROUPS}
    strangers = [group for group in inventory.groups if group not in known | {"all", "ungrouped"}]
    for group in rules.PROCESS_GROUPS:
        if inventory.groups.get(group) or is_external(inventory, group):
            continue
        similar = nearest(group, strangers, cutoff=0.8)
        remedy = (
            f"rename group {similar} to {group}"
            if similar
            else f"add at least one host to group {group} in the inventory"
        )
        value = "none, the group is " + ("empty" if group in inventory.groups else "missing")
        expected = "a group with at least one host"
        if group in rules.EXTERNAL:
            urls = " and ".join(rules.EXTERNAL[group].urls)
            expected += f", or {urls} of a service elsewhere"
            remedy += f", or set {urls} (docs/external-services.md)"
        yield Finding(f"group {group}", "hosts", value, expected, remedy)
    for parent, children in rules.PARENT_GROUPS.items():
        inside = set(inventory.groups.get(parent, ()))
        for child in children:
            for name in inventory.groups.get(child, ()):
                if name not in inside:
                    yield Finding(
                        f"host {name}",
                        f"group {child}",
                        f"not inside group {parent}",
                        f"every host of {child} in {parent}, which the plays are written for",
                        f"add {child} to the children of {parent}",
                    )
    for group in rules.SINGLE_HOST_GROUPS:
        names = inventory.groups.get(group, ())
        if len(names) > 1:
            yield Finding(
                f"group {group}",
                "hosts",
                ", ".join(names),
                "one host; another one would get a service of its own that nobody uses",
                f"leave one host in group {group}",
            )


def check_exclusion(inventory: Inventory) -> Iterator[Finding]:
    """A worker runs other people's code, so it shares no host with the control plane without an explicit setting."""
    for host in inventory.members(rules.WORKER_GROUP):
        shared = [group for group in rules.CONTROL_GROUPS if group in host.groups]
        if shared and not is_true(host.get(rules.SHARE_VARIABLE, False)):
            yield Finding(
                f"host {host.name}",
                "groups",
                f"{rules.WORKER_GROUP} and {', '.join(shared)}",
                "a host of its own for a worker: its tasks could read the control plane's secrets",
                f"take {host.name} out of {rules.WORKER_GROUP}, or accept the risk with {rules.SHARE_VARIABLE}: true",
            )


# --- Names and values -------------------------------------------------------------------------------------------------
def check_names(inventory: Inventory) -> Iterator[Finding]:
    """A variable with a prefix of the cluster is known, on hosts of the cluster, or may belong to another role."""
    known = [name for name in inventory.specs if name not in rules.PASSED_BY_THE_CLUSTER]
    suggestions: dict[str, str | None] = {}
    foreign = foreign_names(inventory)
    for host in inventory.cluster:
        names = host.names - rules.SET_BY_THE_ROLES - foreign.keys()
        for name in sorted(name for name in names if name.startswith(rules.PREFIXES)):
            secret = looks_secret(name) or inventory.is_secret(name)
            if name in rules.PASSED_BY_THE_CLUSTER:
                expected, remedy = "not set by an inventory: the cluster decides it", rules.PASSED_BY_THE_CLUSTER[name]
            elif name in inventory.specs:
                continue
            else:
                if name not in suggestions:
                    suggestions[name] = nearest(name, known)
                right = suggestions[name]
                secret = secret or (right is not None and inventory.is_secret(right))
                expected = "a variable of docs/variables.md" + (f"; the nearest is {right}" if right else "")
                remedy = f"rename it to {right}, or remove it" if right else "remove it"
            value = host.own[name]
            # A vaulted value is neither text nor number as long as nobody reads it, and nobody does here.
            secret = secret or not isinstance(value, str | int | float | list | dict | None)
            yield Finding(f"host {host.name}", name, show(value, secret), expected, remedy)


def foreign_names(inventory: Inventory) -> dict[str, list[str]]:
    """Return the variables that may belong to a role of another project, with the hosts that have them."""
    known = [*inventory.specs, *rules.PASSED_BY_THE_CLUSTER, *rules.SET_BY_THE_ROLES]
    found: dict[str, list[str]] = defaultdict(list)
    for host in inventory.cluster:
        for name in host.names.difference(known):
            if name.startswith(rules.SHARED_PREFIXES):
                found[name].append(host.name)
    return {name: hosts for name, hosts in found.items() if nearest(name, known, cutoff=rules.MISSPELT) is None}


def name_warnings(inventory: Inventory) -> list[str]:
    """Return the variables that the cluster does not use, although a prefix of the cluster suggests it."""
    return [
        f"{name} (host {hosts[0]}{f' and {len(hosts) - 1} more' if len(hosts) > 1 else ''}): no variable of "
        "the cluster, without effect here"
        for name, hosts in sorted(foreign_names(inventory).items())
    ]


def is_true(value: Any) -> bool:
    """Return whether a value is true as Ansible's variables spell it, ``-e name=true`` included."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def type_problem(name: str, value: Any, spec: Mapping[str, Any]) -> str | None:
    """Return what is expected of a value that is not of its spec's type or choices.

    Stricter than Ansible, which would take "a,b" for a list and true for 1, while the roles read the variable as it is.
    """
    kind = spec.get("type", "str")
    strict: Mapping[str, tuple[Callable[[Any], bool], str]] = {
        "str": (lambda v: isinstance(v, str | int | float) and not isinstance(v, bool), "text"),
        "path": (lambda v: isinstance(v, str), "a path"),
        "int": (lambda v: not isinstance(v, bool | float), "a whole number"),
        "float": (lambda v: not isinstance(v, bool), "a number"),
        "bool": (lambda v: isinstance(v, bool) or str(v).lower() in ("true", "false"), "true or false"),
        "list": (lambda v: isinstance(v, list), f"a list of {spec.get('elements', 'values')}"),
        "dict": (lambda v: isinstance(v, dict), "a mapping"),
    }
    accepted, expected = strict.get(kind, (lambda _: True, str(kind)))
    if value is None:
        return f"{expected}, not an empty value"
    if not accepted(value):
        return expected
    if kind == "list" and spec.get("elements") in strict:
        element_accepted, element = strict[spec["elements"]]
        if not all(item is not None and element_accepted(item) for item in value):
            return f"{expected}, each of them {element}"
    relevant = {key: spec[key] for key in ("type", "elements", "choices", "options") if key in spec}
    result = ArgumentSpecValidator({name: relevant}).validate({name: value})
    if not result.error_messages:
        return None
    if "choices" in spec:
        near = nearest(str(value), [str(choice) for choice in spec["choices"]])
        return f"{'each of' if kind == 'list' else 'one of'} {', '.join(map(str, spec['choices']))}" + (
            f"; the nearest is {near}" if near else ""
        )
    return expected


def value_problem(name: str, value: Any) -> str | None:
    """Return what is expected of a value of the right type that is out of range or has the wrong form."""
    if name == "airflow_version":
        return version_problem(value)
    if name in ("airflow_runtime_extra_requirements", "airflow_worker_extra_requirements"):
        return next(filter(None, (requirements.problem(str(text)) for text in value)), None)
    if name == "airflow_worker_autoscale":
        return autoscale_problem(value)
    if name in rules.ENVIRONMENTS:
        return environment_problem(name, value)
    if name in object_check.CHECKS:
        return object_check.objects_problem(name, value)
    if name == "airflow_runtime_ca_file" and value and not Path(value).is_file():
        return "a file on the controller"
    if name == "airflow_dags_dir" and not Path(value).is_dir():
        return "a directory on the controller"
    if name == "airflow_webserver_config" and value and not (Path(value).is_absolute() and Path(value).is_file()):
        return 'a file on the controller by its absolute path, such as "{{ inventory_dir }}/.files/webserver_config.py"'
    if name == "airflow_plugins_dir" and value and not (Path(value).is_absolute() and Path(value).is_dir()):
        return 'a directory on the controller by its absolute path, such as "{{ inventory_dir }}/.files/plugins"'
    rule = rules.RULES.get(name)
    return rule.problem(value) if rule else None


def version_problem(value: Any) -> str | None:
    """Return what is expected of a version of Airflow that is not supported."""
    try:
        release = Version(str(value)).release
    except InvalidVersion:
        return f"a version number: {rules.AIRFLOW_RANGE}"
    # 3.3.0 to 3.3.x; a pre-release of 3.4 has release (3, 4, 0) and is out.
    return None if rules.AIRFLOW_FROM <= (*release, 0)[:2] < rules.AIRFLOW_BEFORE else rules.AIRFLOW_RANGE


def autoscale_problem(value: Sequence[Any]) -> str | None:
    """Return what is expected of an autoscale that is not one; an empty one means none."""
    if not value:
        return None
    sizes = [int(size) for size in value]
    if len(sizes) == 2 and rules.MOST_SLOTS >= sizes[0] >= sizes[1] >= 1:
        return None
    return f"two whole numbers, the most ({rules.MOST_SLOTS} at most) and the fewest (1 at least), such as [16, 2]"


def check_values(inventory: Inventory) -> Iterator[Finding]:
    """Every value that is set has its type, is one of the choices, and is in its range or form."""
    # Most values are group variables: hundreds of hosts have the same few.
    seen: dict[tuple[str, str], str | None] = {}
    for host in inventory.cluster:
        for name in sorted(host.names & inventory.specs.keys() - rules.PASSED_BY_THE_CLUSTER.keys()):
            secret = inventory.is_secret(name)
            where = f"host {host.name}"
            try:
                value = host.rendered(name)
            except Unresolvable as error:
                inventory.mark_invalid(host, name)
                yield Finding(
                    where,
                    name,
                    "a template that cannot be rendered" + ("" if secret else f": {error}"),
                    "a value, or a template of variables that this host has",
                    f"define what the template of {name} refers to, or set {name} to a plain value",
                )
                continue
            key = (name, repr(value))
            if key not in seen:
                seen[key] = type_problem(name, value, inventory.specs[name]) or (
                    None if name in secret_values.GENERATORS else value_problem(name, value)
                )
            problem = seen[key]
            if problem:
                inventory.mark_invalid(host, name)
                if name not in secret_values.GENERATORS:
                    yield Finding(where, name, show(value, secret), problem, f"set {name} to {_noun(problem)}")


def _noun(expected: str) -> str:
    return "what is expected, or remove it for the default" if len(expected) > 60 else expected


def check_same_everywhere(inventory: Inventory) -> Iterator[Finding]:
    """What one host tells the others has one value."""
    hosts = inventory.cluster
    for name in rules.SAME_EVERYWHERE:
        # A role that is not there yet has no default; nothing to compare then.
        values = {host.name: host.get(name) for host in hosts if inventory.sound(host, name)}
        texts = Counter(str(value) for value in values.values())
        if len(texts) < 2:
            continue
        usual, _count = texts.most_common(1)[0]
        for host_name, value in values.items():
            if str(value) != usual:
                yield Finding(
                    f"host {host_name}",
                    name,
                    show(value),
                    f"one value for the whole cluster; it is {usual} on the other hosts",
                    f"set {name} in group_vars/all, so that every host knows the same",
                )


def check_objects(inventory: Inventory) -> Iterator[Finding]:
    """Declared objects are the same on all hosts: the first scheduler's host applies them, and no other."""
    schedulers = inventory.members("airflow_scheduler")
    if not schedulers:
        return
    first = schedulers[0]
    for name in object_check.CHECKS:
        applied = first.get(name, {})
        for host in inventory.cluster:
            if name in host.names and inventory.sound(host, name) and host.get(name) != applied:
                yield Finding(
                    f"host {host.name}",
                    name,
                    "(hidden)",
                    f"the value of host {first.name}, which writes these objects into the metadata database",
                    f"set {name} in group_vars/all",
                )
    users, admin = first.get("airflow_users", {}), str(first.get("airflow_admin_user", ""))
    if isinstance(users, Mapping) and admin.lower() in (str(user).lower() for user in users):
        yield Finding(
            f"host {first.name}",
            "airflow_users",
            show(admin),
            "users other than airflow_admin_user, which the deployment creates itself",
            f"remove {admin} from airflow_users, and set airflow_admin_email",
        )


# --- Addresses and ports ----------------------------------------------------------------------------------------------
def check_addresses(inventory: Inventory) -> Iterator[Finding]:
    """No two hosts are the same machine, and none calls itself loopback in front of others."""
    cluster = inventory.cluster
    machines: dict[tuple[str, str], str] = {}
    first_with: dict[str, str] = {}
    for host in cluster:
        machine = (str(host.get("ansible_host", "") or host.name), str(host.get("ansible_port", 22)))
        first = machines.setdefault(machine, host.name)
        if first != host.name:
            yield Finding(
                f"host {host.name}",
                "ansible_host",
                f"{machine[0]} port {machine[1]}, as of host {first}",
                "a machine of its own for each host of the inventory",
                f"set ansible_host of {host.name} or {first} to its own address",
            )
            continue
        first = first_with.setdefault(host.address, host.name)
        if first != host.name:
            yield Finding(
                f"host {host.name}",
                "airflow_address",
                f"{show(host.address)}, as of host {first}",
                "an address of its own for each host",
                f"set airflow_address of {host.name} and {first} per host",
            )
        if addresses.is_ipv6(host.address):
            yield Finding(
                f"host {host.name}",
                "airflow_address",
                show(host.address),
                "an IPv4 address, or a name that has one: the services listen with IPv4, and Airflow fetches task logs "
                "from URLs in which it does not put an address into brackets",
                f"set airflow_address of {host.name} to its IPv4 address in the network of the cluster; ansible_host "
                "may be an IPv6 address",
            )
        if len(cluster) > 1 and is_loopback(host.address):
            yield Finding(
                f"host {host.name}",
                "airflow_address",
                show(host.address),
                "an address at which the other hosts reach this one",
                f"set airflow_address of {host.name} to its address in the network of the cluster",
            )


def is_loopback(address: str) -> bool:
    """Return whether an address means the host itself only."""
    text = address.removeprefix("-")
    try:
        return text == "localhost" or ip_address(text).is_loopback
    except ValueError:
        return False


def listening(inventory: Inventory, host: Host) -> Iterator[tuple[int, str, list[str]]]:
    """Return each port that the cluster's processes will hold on a host: port, variable, units that may hold it."""
    for listener in rules.LISTENERS:
        names = [name for name in (listener.variable, listener.count) if name]
        if listener.group not in host.groups or not inventory.sound(host, *names):
            continue
        first = host.number(listener.variable)
        count = host.number(listener.count) if listener.count else 1
        if first is None or count is None:
            continue
        for port in range(first, first + count):
            variable = listener.variable if port == first else f"{listener.variable} + {port - first}"
            yield port, variable, [unit.format(port=port) for unit in listener.units]


def check_ports(inventory: Inventory) -> Iterator[Finding]:
    """On one host each port belongs to one process."""
    for host in inventory.cluster:
        taken: dict[int, str] = {}
        ssh = host.number("ansible_port") or 22
        if str(host.get("ansible_connection", "ssh")) in ("ssh", "smart"):
            taken[ssh] = "SSH (ansible_port)"
        for port, variable, _units in listening(inventory, host):
            if port > 65535:
                yield Finding(
                    f"host {host.name}",
                    variable,
                    str(port),
                    "a port up to 65535 for each process",
                    f"set {variable.split(' ')[0]} lower",
                )
            elif port in taken:
                yield Finding(
                    f"host {host.name}",
                    variable,
                    str(port),
                    f"a port of its own; {taken[port]} has {port} on the same host",
                    f"set {variable.split(' ')[0]} or {taken[port].split(' ')[0]} to another port, in group_vars/all",
                )
            else:
                taken[port] = variable


def check_binds(inventory: Inventory) -> Iterator[Finding]:
    """A service listens where its clients connect: with IPv4, at the address of its host or at all of them."""
    for variable, bind in rules.BINDS.items():
        for host in inventory.members(bind.group):
            if variable not in host.names or not inventory.sound(host, variable):
                continue
            value = host.get(variable)
            listens = [str(one) for one in (value if isinstance(value, list) else [value])]
            clients = [other.name for other in inventory.cluster if other.groups & bind.clients]
            others = [name for name in clients if name != host.name]
            who = f"{', '.join(others[:3])}{' and others' if len(others) > 3 else ''}" if others else "HAProxy"
            remedy = f"set {variable} to 0.0.0.0 or to the address of {host.name}, or remove it for the default"
            expected = ""
            if listens and all(is_loopback(one) for one in listens):
                if others:
                    expected = f"an address that {who} can connect to"
                elif bind.loopback and listens != ["127.0.0.1"]:
                    expected = "127.0.0.1, at which HAProxy connects on the same host, or an address of the network"
                    remedy = f"set {variable}: 127.0.0.1, or remove it for the default"
                elif not bind.loopback and clients and not is_loopback(host.address):
                    expected = f"{host.address}, at which the processes of {host.name} itself connect"
            elif all(":" in one for one in listens) and not (bind.dual and "::" in listens):
                expected = f"an IPv4 address: {who} connects to {host.address} with IPv4"
            if expected:
                yield Finding(f"host {host.name}", variable, show(value), expected, remedy)


# --- Secrets ----------------------------------------------------------------------------------------------------------
def check_secrets(inventory: Inventory) -> Iterator[Finding]:
    """Each secret is there on the hosts that need it, is the same on all of them, and is fit to be one."""
    make = command("secrets")
    # The password of an external service is what its owner has made it, and stands in the URL.
    foreign = secret_values.foreign(inventory.groups)
    needed_by = {name: groups for name, groups in secret_values.NEEDED_BY.items() if name not in foreign}
    for host in inventory.cluster:
        absent = [name for name, groups in needed_by.items() if name not in host.names and host.groups & groups]
        if absent:
            yield Finding(
                f"host {host.name}",
                ", ".join(absent),
                show(UNSET),
                "secrets, made once for the whole cluster",
                f"run {make}",
            )
    for name, groups in needed_by.items():
        values: dict[str, str] = {}
        for host in inventory.cluster:
            if name not in host.names or not host.groups & groups:
                continue
            value = host.get(name)
            problem = secret_values.problem(name, value) if value is not UNSET else None
            if problem:
                remedy = f"remove {name} from the inventory, then run {make}"
                yield Finding(f"host {host.name}", name, show(value, True), problem, remedy)
            elif value is not UNSET:
                values[host.name] = str(value)
        usual = Counter(values.values()).most_common(1)
        for host_name, value in values.items():
            if value != usual[0][0]:
                yield Finding(
                    f"host {host_name}",
                    name,
                    show(value, True),
                    "one value for the whole cluster; the other hosts have another one",
                    f"set {name} in one place, group_vars/all/secrets.yml",
                )


# --- Certificates -----------------------------------------------------------------------------------------------------
CA_FILE, CA_DIR = "certificates_ca_file", "certificates_dir"
HOST_FILE, HOST_KEY_FILE = "certificates_host_file", "certificates_host_key_file"
PUBLIC_FILE, PUBLIC_KEY_FILE = "haproxy_certificate_file", "haproxy_certificate_key_file"


def check_certificates(inventory: Inventory) -> Iterator[Finding]:
    """Certificates that a person brings are fit for their services, and so is the authority that the cluster has made.

    Those that the cluster's own authority signs are renewed by each run and need no look.
    """
    seen: set[str] = set()
    for host in inventory.cluster:
        if not inventory.sound(host, CA_FILE, CA_DIR, HOST_FILE, HOST_KEY_FILE, "certificates_renew_days"):
            continue
        path = text_of(host, CA_FILE)
        needs = names_needed(inventory, host)
        authorities = None
        if path:
            data, problem = read_file(inventory, host, CA_FILE)
            if data is not None:
                authorities, problem = authorities_of(data, path, inventory.now)
            if problem:
                yield Finding(f"host {host.name}", CA_FILE, *problem)
            if needs:
                yield from _served(inventory, host, HOST_FILE, HOST_KEY_FILE, needs, authorities)
        else:
            for name in (HOST_FILE, HOST_KEY_FILE):
                if text_of(host, name):
                    yield Finding(
                        f"host {host.name}",
                        name,
                        show(text_of(host, name)),
                        f"{CA_FILE} beside it; without it the cluster makes certificates itself and ignores this one",
                        f"set {CA_FILE} to the authorities that signed it, or remove {name}",
                    )
            directory = text_of(host, CA_DIR)
            if directory and directory not in seen:
                seen.add(directory)
                yield from _own_authority(inventory, host, directory)
    for host in inventory.members("haproxy"):
        if inventory.sound(host, PUBLIC_FILE, PUBLIC_KEY_FILE) and text_of(host, PUBLIC_FILE):
            yield from _served(inventory, host, PUBLIC_FILE, PUBLIC_KEY_FILE, (), None)


def check_service_authorities(inventory: Inventory) -> Iterator[Finding]:
    """The authorities of an external service are a file of certificates that may sign others."""
    for host in inventory.cluster:
        for external in rules.EXTERNAL.values():
            if not inventory.sound(host, external.ca_file) or not text_of(host, external.ca_file):
                continue
            data, problem = read_file(inventory, host, external.ca_file)
            if data is not None:
                _authorities, problem = authorities_of(
                    data, text_of(host, external.ca_file), inventory.now, external.ca_file
                )
            if problem:
                yield Finding(f"host {host.name}", external.ca_file, *problem)


def text_of(host: Host, variable: str) -> str:
    """Return a variable as text, "" if it has no value."""
    return str(host.get(variable, ""))


def names_needed(inventory: Inventory, host: Host) -> list[tls.Need]:
    """Return the names by which the services of a host are connected to over TLS, each once."""
    found: dict[tuple[str, bool], tls.Need] = {}

    def add(name: str, who: str, haproxy: bool = False) -> None:
        found.setdefault((name, haproxy), tls.Need(name, who, haproxy))

    if "postgres" in host.groups:
        other_name = "airflow_database_host" in host.names and inventory.sound(host, "airflow_database_host")
        add(text_of(host, "airflow_database_host") if other_name else host.address, "the clients of PostgreSQL")
    if "redis" in host.groups:
        add(host.address, "the clients of Redis")
    if "haproxy" in host.groups:
        add(host.address, "the workers, at the Execution API")
        add(local_address_of(host, "haproxy_bind"), "the deployment, which waits for HAProxy on its host")
    for group, bind, service in (
        ("airflow_api_server", "airflow_api_server_bind", "the API server"),
        ("flower", "airflow_flower_bind", "Flower"),
    ):
        # On loopback they speak plain HTTP to the HAProxy beside them.
        if group in host.groups and inventory.sound(host, bind) and text_of(host, bind) not in ("", "127.0.0.1"):
            add(host.name, f"HAProxy, at {service}", haproxy=True)
            add(local_address_of(host, bind), f"the deployment, which waits for {service} on its host")
    return list(found.values())


def local_address_of(host: Host, bind: str) -> str:
    """Return the address at which site.yml waits for a service on the service's host."""
    value = host.get(bind, "0.0.0.0")
    return addresses.local_address(value if isinstance(value, list) else str(value))


FileProblem = tuple[str, str, str]


def read_file(inventory: Inventory, host: Host, variable: str) -> tuple[bytes | None, FileProblem | None]:
    """Return the content of the file that a variable names, or what is wrong with it: value, expected, remedy."""
    path = text_of(host, variable)
    remedy = f"set {variable} to the path of a PEM file on the controller"
    if not path:
        return None, (show(UNSET), "a PEM file on the controller", remedy)
    if not Path(path).is_absolute():
        # `copy` would look for it beside the role and the playbook, and not where a person stands.
        expected = "an absolute path, which means the same to every task"
        return None, (show(path), expected, f'start it with / or with "{{{{ inventory_dir }}}}/" in {variable}')
    try:
        return inventory.read(path), None
    except OSError as error:
        return None, (f"{show(path)}, {error.strerror or error}", "a file on the controller that can be read", remedy)


def authorities_of(
    data: bytes, path: str, now: datetime, variable: str = CA_FILE
) -> tuple[list[tls.x509.Certificate] | None, FileProblem | None]:
    """Return the authorities of a file, or what is wrong with it: value, expected, remedy."""
    try:
        found = tls.load_certificates(data)
    except tls.Unusable as error:
        return None, (f"{show(path)}, {error}", "authorities in PEM form", f"set {variable} to the right file")
    for certificate in found:
        if not tls.is_authority(certificate):
            return None, (
                f"{show(path)}, {tls.named(certificate)}, which is no authority",
                "certificates that may sign others (CA:TRUE, and keyCertSign if they have a key usage)",
                "remove it from the file; the authority that signed it belongs there",
            )
    # While one authority follows another both are in the file, and what hosts need of them their own chain tells.
    wrong = [tls.date_problem(certificate, now) for certificate in found]
    if all(wrong):
        return None, (
            f"{show(path)}, {tls.named(found[0])}, {wrong[0]}",
            f"an authority that is valid now, {tls.day(now)}",
            "put the authority's new certificate into the file",
        )
    return found, None


def _served(
    inventory: Inventory,
    host: Host,
    variable: str,
    key_variable: str,
    needs: Sequence[tls.Need],
    authorities: list[tls.x509.Certificate] | None,
) -> Iterator[Finding]:
    contents = []
    for name in (variable, key_variable):
        data, problem = read_file(inventory, host, name)
        if problem:
            yield Finding(f"host {host.name}", name, *problem)
        contents.append(data)
    certificate, key = contents
    if certificate is None or key is None:
        return
    for flaw in tls.server_flaws(certificate, key, inventory.now, needs, authorities):
        name = key_variable if flaw.of_key else variable
        yield Finding(
            f"host {host.name}", name, f"{show(text_of(host, name))}, {flaw.value}", flaw.expected, flaw.remedy
        )


def _own_authority(inventory: Inventory, host: Host, directory: str) -> Iterator[Finding]:
    """Check the authority that role certificates has created and will use again."""
    if not Path(directory).is_absolute():
        expected = "an absolute path, which means the same to every task"
        yield Finding("controller", CA_DIR, show(directory), expected, f"start {CA_DIR} with /, or remove it")
        return
    contents: dict[str, bytes | None] = {}
    for name in ("ca.pem", "ca.key"):
        try:
            contents[name] = inventory.read(f"{directory}/{name}")
        except FileNotFoundError:
            contents[name] = None
        except OSError as error:
            contents[name] = None
            yield Finding(
                "controller",
                CA_DIR,
                f"{show(directory)}, {name}: {error.strerror or error}",
                "files that whoever runs the playbooks can read",
                f"correct owner and mode of {directory}/{name}",
            )
            return
    certificate_data, key_data = contents["ca.pem"], contents["ca.key"]
    another = (
        "bring the old ca.key back; or, for another authority, remove ca.pem as well and run "
        f"{command('site')} without --limit, with -e preflight_new_identity=true: "
        "until it ends, hosts that have the new one and hosts that have the old "
        "one do not believe each other"
    )
    if key_data is None:
        if certificate_data is not None:
            yield Finding(
                "controller",
                CA_DIR,
                f"{show(directory)}, ca.pem without ca.key",
                "both; without its key nothing can be signed, and a run would make another authority",
                another,
            )
        # With none of them the run makes both.
        return
    key = None
    # Not every host needs to know it.
    passphrases = (one.get("airflow_ca_passphrase") for one in inventory.cluster)
    passphrase = next((one for one in passphrases if isinstance(one, str) and one), None)
    if passphrase:
        # While it is being rotated, a run encrypts the key anew.
        previous = (one.get("airflow_secrets_previous") for one in inventory.cluster)
        olds = [
            one["airflow_ca_passphrase"] for one in previous if isinstance(one, dict) and "airflow_ca_passphrase" in one
        ]
        try:
            key = _key_of_authority(key_data, [passphrase, *olds[:1]])
        except tls.Unusable as error:
            yield Finding(
                "controller",
                "airflow_ca_passphrase",
                f"(hidden), and {directory}/ca.key is {error}",
                "the passphrase with which ca.key was encrypted",
                "set the passphrase that it had when the key was made; to change it, change that of the key as well: "
                "openssl pkey -in ca.key -aes256 -out NEW",
            )
    # An interrupted run leaves a key without a certificate; so does the renewal of an authority.
    if certificate_data is None:
        return
    try:
        certificate = tls.load_certificates(certificate_data)[0]
    except tls.Unusable as error:
        yield Finding(
            "controller",
            CA_DIR,
            f"{show(directory)}, ca.pem with {error}",
            "the authority's certificate",
            f"bring the old file back, or remove it and run {command('site')}, which makes a new one for the same "
            "ca.key",
        )
        return
    if key is not None and not tls.belongs(key, certificate):
        yield Finding(
            "controller",
            CA_DIR,
            f"{show(directory)}, ca.pem for another key than ca.key",
            "one authority; a run would make another one for this ca.key",
            another,
        )
    days = host.number("certificates_renew_days") or 0
    left = certificate.not_valid_after_utc - inventory.now
    wrong = tls.date_problem(certificate, inventory.now)
    if wrong or left <= timedelta(days=days):
        yield Finding(
            "controller",
            CA_DIR,
            f"{show(directory)}, ca.pem {wrong or f'expires on {tls.day(certificate.not_valid_after_utc)}'}",
            f"more than the {days} days of certificates_renew_days to its end; no run renews an authority by itself",
            f"keep {directory}/ca.key, move ca.pem away, and run {command('site')} without --limit: it makes a new "
            "certificate for the same key, what the authority has signed stays valid, and the services are restarted",
        )


def _key_of_authority(data: bytes, passphrases: list[str]) -> Any:
    """Return the key that the first fitting passphrase opens; raises Unusable with what is wrong with the first."""
    for passphrase in passphrases[1:]:
        with contextlib.suppress(tls.Unusable):
            return tls.load_key(data, passphrase)
    return tls.load_key(data, passphrases[0])


def certificate_warnings(inventory: Inventory) -> list[str]:
    """Return what will be wrong soon, or on a newer Debian, with certificates that a person brings.

    To be asked after ``check``. What is wrong already is no matter of a warning.
    """
    found: list[str] = []
    for host in inventory.cluster:
        days = host.number("certificates_renew_days")
        brought = []
        if names_needed(inventory, host) and text_of(host, CA_FILE):
            brought.append(HOST_FILE)
        if "haproxy" in host.groups and text_of(host, PUBLIC_FILE):
            brought.append(PUBLIC_FILE)
        for variable in brought:
            data, _problem = read_file(inventory, host, variable)
            trusted, _problem = read_file(inventory, host, CA_FILE) if variable == HOST_FILE else (None, None)
            try:
                chain = tls.load_certificates(data or b"")
                if trusted:
                    chain, _problem = tls.find_chain(chain, tls.load_certificates(trusted), inventory.now)
                    found += [
                        f"host {host.name}: {variable} = {text_of(host, variable)}: {lack}, which Python 3.13 on "
                        "Debian 13 does not accept"
                        for lack in tls.lacks(chain)
                    ]
            except tls.Unusable:
                continue
            for certificate in chain:
                left = certificate.not_valid_after_utc - inventory.now
                if days is not None and timedelta() <= left <= timedelta(days=days):
                    found.append(
                        f"host {host.name}: {variable} = {text_of(host, variable)}: {tls.named(certificate)} expires "
                        f"on {tls.day(certificate.not_valid_after_utc)}, in {left.days} days; replace it, "
                        f"and run {command('site')}"
                    )
    return found


# --- Backups ----------------------------------------------------------------------------------------------------------
def backup_warnings(inventory: Inventory) -> list[str]:
    """Return what the loss of the database's host would cost with the backups as they are."""
    found = []
    for host in inventory.members("postgres"):
        settings = host.get("backup_settings", {})
        elsewhere = isinstance(settings, Mapping) and str(settings.get("repo1-type", "posix")) != "posix"
        if not is_true(host.get("backup_enabled", True)):
            found.append(
                f"host {host.name}: backup_enabled = false: no way back from a lost disk, a mistake or an upgrade"
            )
        elif host.get("backup_fetch_dir") == "" and not elsewhere:
            found.append(
                f'host {host.name}: backup_fetch_dir = "": unless {text_of(host, "backup_repository")} is another '
                f"machine's disk, the backups are lost with {host.name}"
            )
    return found


# --- DAGs, airflow_config ---------------------------------------------------------------------------------------------
NO_DAGS = "put the DAGs into a directory dags beside the playbook or the inventory, or set airflow_dags_dir"


def check_dags(inventory: Inventory) -> Iterator[Finding]:
    """A git source has a URL, a release can hold each local directory, and bundles and credentials are complete."""
    for host in inventory.cluster:
        source = str(host.get("airflow_dags_source", ""))
        for name in ("airflow_dags_dir", "airflow_plugins_dir"):
            directory = host.get(name, "")
            if not directory or not inventory.sound(host, name) or (name == "airflow_dags_dir" and source != "local"):
                continue
            try:
                tree.files(Path(directory))
            except tree.TreeError as error:
                yield Finding(
                    f"host {host.name}",
                    name,
                    show(directory),
                    f"a directory of which everything can be copied, but {error}",
                    "correct or remove that path" if Path(directory).is_dir() else NO_DAGS,
                )
        if source == "git" and not str(host.get("airflow_dags_git_url", "")):
            yield Finding(
                f"host {host.name}",
                "airflow_dags_git_url",
                show(UNSET),
                "the URL of a git repository, because airflow_dags_source is git",
                "set airflow_dags_git_url, or airflow_dags_source: local",
            )
        if not inventory.sound(host, "airflow_dag_bundles", "airflow_git_credentials", "airflow_dags_git_url"):
            continue
        credentials = host.get("airflow_git_credentials", [])
        by_name = {str(entry.get("name")): entry for entry in credentials}
        problems = [
            *dag_bundles.credential_problems(credentials),
            *dag_bundles.bundle_problems(host.get("airflow_dag_bundles", []), by_name),
        ]
        if source == "git":
            url, name = str(host.get("airflow_dags_git_url", "")), host.get("airflow_dags_git_credentials", "")
            problems += dag_bundles.credential_reference("airflow_dags_git_url", url, name, by_name)
        for problem in problems:
            yield Finding(f"host {host.name}", *problem)


def check_queues(inventory: Inventory) -> Iterator[Finding]:
    """Every queue that tasks are sent to for certain has a worker: in another one they would wait for ever."""
    workers = inventory.members(rules.WORKER_GROUP)
    if not workers or not all(inventory.sound(host, "airflow_worker_queues") for host in workers):
        return
    served = {str(queue) for host in workers for queue in host.get("airflow_worker_queues", ["default"])}
    expected = f"a queue that a worker takes tasks from: {', '.join(sorted(served))}"
    for host in inventory.members("airflow_scheduler"):
        config = host.get("airflow_config", {})
        operators = config.get("operators") if isinstance(config, Mapping) else None
        queue = str(operators.get("default_queue", "default")) if isinstance(operators, Mapping) else "default"
        if queue not in served:
            yield Finding(
                f"host {host.name}",
                "airflow_config.operators.default_queue",
                show(queue),
                f"{expected}; tasks that name none go there",
                f"add {queue} to airflow_worker_queues of a worker, or name another queue in "
                "airflow_config.operators.default_queue",
            )
    directories = {
        str(host.get("airflow_dags_dir", ""))
        for host in inventory.members("airflow_dag_processor")
        if str(host.get("airflow_dags_source", "")) == "local" and inventory.sound(host, "airflow_dags_dir")
    }
    for directory in sorted(directories - {""}):
        try:
            uses = dag_queues.find(Path(directory))
        except tree.TreeError:
            continue  # a finding of check_dags
        for use in uses:
            if use.queue not in served:
                yield Finding(
                    f"DAG file {use.file}, line {use.line}",
                    "queue",
                    show(use.queue),
                    expected,
                    f"add {use.queue} to airflow_worker_queues of a worker, or name another queue there",
                )


def check_airflow_config(inventory: Inventory) -> Iterator[Finding]:
    """Every section and option of airflow_config is one that Airflow reads and that no variable of ours is for."""
    seen: dict[str, list[tuple[str, str, str, str]]] = {}
    for host in inventory.cluster:
        if "airflow_config" not in host.names or not inventory.sound(host, "airflow_config"):
            continue
        config = host.get("airflow_config")
        extra = host.get("airflow_config_extra_sections", [])
        key = repr((config, extra))
        if key not in seen:
            seen[key] = list(config_problems(config, extra if isinstance(extra, list) else [], inventory.options))
        for variable, value, expected, remedy in seen[key]:
            yield Finding(f"host {host.name}", variable, value, expected, remedy)


def check_config_packages(inventory: Inventory) -> Iterator[Finding]:
    """Each package that a setting needs is in the runtime. Without it Airflow only logs an error."""
    seen: dict[str, list[config_packages.Missing]] = {}
    lists = ("airflow_runtime_extra_requirements", "airflow_worker_extra_requirements")
    for host in inventory.cluster:
        config = host.get("airflow_config", {})
        if "airflow_config" not in host.names or not inventory.sound(host, "airflow_config", *lists):
            continue
        added = [*host.get(lists[0], []), *(host.get(lists[1], []) if rules.WORKER_GROUP in host.groups else [])]
        # Airflow imports from its plugins folder, too.
        plugins = text_of(host, "airflow_plugins_dir")
        key = repr((config, added, plugins))
        if key not in seen:
            seen[key] = list(config_packages.missing(config, added, [Path(plugins)] if plugins else []))
        for problem in seen[key]:
            package = problem.requirement or "the package that has it"
            yield Finding(
                f"host {host.name}",
                f"airflow_config.{problem.option}",
                problem.needs,
                "what the lock of the runtime has, or a package of airflow_runtime_extra_requirements brings",
                f"add {package} to airflow_runtime_extra_requirements",
            )


Problem = tuple[str, str, str, str]


def config_problems(
    config: Mapping[str, Any], extra_sections: Sequence[str], options: AirflowOptions
) -> Iterator[Problem]:
    """Return (variable, value, expected, remedy) for everything that is wrong with airflow_config."""
    for section, entries in config.items():
        variable = f"airflow_config.{section}"
        if not isinstance(entries, Mapping):
            yield variable, show(entries, looks_secret(section)), "a mapping {option: value}", f"nest it in {variable}"
            continue
        for option, value in entries.items():
            if not is_readable(str(option), value):
                name = f"{section}.{option}"
                yield (
                    f"airflow_config.{name}",
                    show(value, looks_secret(str(option)) or name in options.sensitive),
                    "a value that airflow.cfg can hold: no blanks at the beginning or end of a line, and no line after "
                    "the first that begins with # or ;",
                    "write it on one line, or write JSON as a YAML mapping or list",
                )
        if section in extra_sections:
            continue
        if section in options.sections:
            for option, value in entries.items():
                problem = _mail_problem(str(section), str(option), value, config) or _option_problem(
                    str(section), str(option), value, options
                )
                if problem:
                    yield problem
        else:
            old = {option: f"{section}.{option}" for option in entries if f"{section}.{option}" in options.renamed}
            for option, name in old.items():
                yield _renamed(name, entries[option], options.renamed[name])
            if old.keys() != entries.keys() or not entries:
                right = nearest(str(section), options.sections)
                yield (
                    variable,
                    f"a section with {', '.join(map(str, entries)) or 'nothing'}",
                    _known("a section", options, right),
                    (f"rename it to {right}; " if right else "")
                    + f"if a provider of airflow_runtime_extra_requirements reads it, add {section} to "
                    "airflow_config_extra_sections",
                )


def check_failover(inventory: Inventory) -> Iterator[Finding]:
    """The time of a failover can be kept: by the number itself, by the load that it makes, and by airflow_config."""
    names = ("airflow_failover_seconds", "airflow_failover_tuning", "airflow_default_task_retry_delay")
    hosts = [host for host in inventory.cluster if inventory.sound(host, *names)]
    hosts = [host for host in hosts if is_true(host.get("airflow_failover_tuning", True))]
    if not hosts:
        return
    seconds, delay = hosts[0].number("airflow_failover_seconds"), hosts[0].number("airflow_default_task_retry_delay")
    if seconds is None or delay is None:
        return
    failover = Failover(seconds, delay)
    tasks = sum(slots_of(inventory, host) for host in inventory.members(rules.WORKER_GROUP))
    servers = sum(
        host.number("airflow_execution_api_instances") or 1 for host in inventory.members("airflow_api_server")
    )
    capacity = servers * HEARTBEATS_PER_API_PROCESS
    where = "group airflow"
    if not failover.possible:
        least = least_seconds(delay)
        yield Finding(
            where,
            "airflow_failover_seconds",
            show(seconds),
            f"at least {least}: without {failover.detection_interval} (detection), {delay} (retry delay) and "
            f"{START_SECONDS} (start), {failover.heartbeat_timeout} s are left for heartbeats, fence and margin",
            f"set airflow_failover_seconds: {least}, or a shorter airflow_default_task_retry_delay",
        )
        return
    rate = failover.requests_per_second(tasks)
    if servers and rate > capacity:
        least = least_seconds(delay, tasks, capacity)
        more = f"set airflow_failover_seconds: {least}, or " if least else ""
        yield Finding(
            where,
            "airflow_failover_seconds",
            show(seconds),
            f"at most {capacity} heartbeats per second for {servers} Execution API processes; {tasks} slots, each with "
            f"one every {failover.heartbeat_interval} s, make {rate:.0f}",
            f"{more}raise airflow_execution_api_instances to {math.ceil(rate / HEARTBEATS_PER_API_PROCESS)} in all",
        )
    for host in hosts:
        config = host.get("airflow_config", {})
        if inventory.sound(host, "airflow_config") and isinstance(config, Mapping):
            for problem in broken(failover, config):
                yield Finding(
                    f"host {host.name}",
                    f"airflow_config.{problem.option}",
                    show(problem.value),
                    problem.arithmetic,
                    problem.remedy,
                )


def check_memory(inventory: Inventory) -> Iterator[Finding]:
    """What the parts of a host get fits into its memory, where the inventory says how much that is.

    Elsewhere the machine is asked, by host_check.
    """

    def value(name: str, variable: str) -> Any:
        host = inventory.hosts[name]
        usable = variable in host.names and inventory.sound(host, variable)
        return host.get(variable, memory.DEFAULTS[variable]) if usable else memory.DEFAULTS[variable]

    for host in inventory.cluster:
        stated = int(value(host.name, "airflow_host_memory_mb"))
        if stated:
            for problem in memory.problems(host.name, stated, inventory.groups, value):
                yield Finding(f"host {host.name}", problem.variable, problem.value, problem.expected, problem.remedy)


def check_sandbox(inventory: Inventory) -> Iterator[Finding]:
    """Paths of settings are visible, and where it matters writable, in the sandbox of the units that use them."""
    for host in inventory.cluster:
        config, sandbox = host.get("airflow_config", {}), host.get("airflow_sandbox", {})
        settings = host.get("backup_settings", {})
        if not inventory.sound(host, "airflow_config", "airflow_sandbox", "backup_settings"):
            continue
        relaxed: dict[str, list[str]] = defaultdict(list)
        for overrides in [*sandbox.values(), host.get("airflow_worker_sandbox", {})]:
            for name, value in (overrides or {}).items():
                relaxed[name] += [str(one).lstrip("-+") for one in (value if isinstance(value, list) else [value])]
        for section, entries in config.items():
            for option, value in entries.items() if isinstance(entries, Mapping) else ():
                written = f"{section}.{option}" in rules.WRITTEN_OPTIONS
                problem = _path_problem(str(value), written, relaxed) if isinstance(value, str) else None
                if problem:
                    yield Finding(f"host {host.name}", f"airflow_config.{section}.{option}", show(value), *problem)
        for option, value in settings.items() if "postgres" in host.groups else ():
            if is_local_directory(settings, str(option)):
                yield Finding(
                    f"host {host.name}",
                    f"backup_settings.{option}",
                    show(value),
                    "no directory besides backup_repository: the units of PostgreSQL and the backups write to no other",
                    "set backup_repository instead" if option == "repo1-path" else "remove it",
                )


def _path_problem(path: str, written: bool, relaxed: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """Return what is expected of a path in airflow_config, and the remedy.

    :param relaxed: settings of airflow_sandbox of any process, with their values.
    """
    for hidden, setting in rules.HIDDEN_PATHS.items():
        # A private /tmp is there, for each process another one.
        if is_below(path, hidden) and setting not in relaxed and (written or setting == "ProtectHome"):
            return (
                f"a path outside {hidden}, which {setting} of the units hides (docs/sandbox.md)",
                f"name another directory, or set {setting}: false in airflow_sandbox",
            )
    writable = "ProtectSystem" in relaxed or any(is_below(path, one) for one in relaxed.get("ReadWritePaths", ()))
    if written and path.startswith("/") and not writable:
        return (
            "no value: each process may write to its own directory below /var/lib/airflow only (docs/sandbox.md)",
            "remove it, or add the path to ReadWritePaths in airflow_sandbox",
        )
    return None


def is_below(path: str, directory: str) -> bool:
    """Return whether a path is a directory or something below the directory."""
    return path == directory or path.startswith(f"{directory}/")


def is_local_directory(settings: Mapping[str, Any], option: str) -> bool:
    """Return whether an option of backup_settings names a directory of this host to which pgBackRest writes."""
    repository = re.fullmatch(r"(repo[0-9]+)-path", option)
    if not repository:
        return option in ("log-path", "spool-path")
    return str(settings.get(f"{repository[1]}-type", "posix")) in ("posix", "cifs")


def slots_of(inventory: Inventory, host: Host) -> int:
    """Return how many tasks a worker runs at the same time; 0 where its variables do not say."""
    if not inventory.sound(host, "airflow_worker_concurrency", "airflow_worker_autoscale"):
        return 0
    return memory.worker_slots(host.number("airflow_worker_concurrency") or 0, host.get("airflow_worker_autoscale", []))


def _known(what: str, options: AirflowOptions, right: str | None) -> str:
    near = f"; the nearest is {right}" if right else ""
    return f"{what} known to Airflow {options.airflow_version} and the providers of the lock{near}"


def _renamed(old: str, value: Any, new: str) -> Problem:
    own = rules.OWNED_OPTIONS.get(new)
    remedy = f"set variable {own} instead" if own else f"set airflow_config.{new} instead"
    return f"airflow_config.{old}", show(value, looks_secret(old)), f"{new}, as Airflow calls it today", remedy


def publishes_messages(extra: Any) -> bool:
    """Return whether these further settings of Celery, a mapping or JSON, have the scheduler publish what it sends."""
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except ValueError:
            return False
    return isinstance(extra, Mapping) and bool(extra.get(rules.SENT_EVENTS))


def _mail_problem(section: str, option: str, value: Any, config: Mapping[str, Any]) -> Problem | None:
    """Return the problem of a setting for mail that the mail of tasks does not read."""
    name = f"{section}.{option}"
    if section != rules.MAIL_SECTION and name not in rules.MAIL_OPTIONS:
        return None
    email = config.get("email")
    backend = email.get("email_backend") if isinstance(email, Mapping) else None
    if backend and backend != rules.MAIL_BACKEND:
        return None
    variable = f"airflow_config.{name}"
    connection = email.get("email_conn_id") if isinstance(email, Mapping) else None
    return (
        variable,
        show(value, looks_secret(option)),
        "nothing: tasks send mail with a connection of type smtp, and read no such setting (docs/operations/mail.md)",
        f"declare {connection or 'smtp_default'} in airflow_connections, and remove {variable}",
    )


def _option_problem(section: str, option: str, value: Any, options: AirflowOptions) -> Problem | None:
    name = f"{section}.{option}"
    variable, shown = f"airflow_config.{name}", show(value, looks_secret(option) or name in options.sensitive)
    base = name
    for suffix in ("_cmd", "_secret"):
        # Airflow reads a sensitive option <name> from a command <name>_cmd or a secrets backend <name>_secret, too.
        if name.removesuffix(suffix) in options.sensitive:
            base = name.removesuffix(suffix)
    if base in rules.OWNED_OPTIONS:
        own = rules.OWNED_OPTIONS[base]
        return variable, shown, f"variable {own}, on which more than airflow.cfg depends", f"set variable {own} instead"
    if name in rules.FIXED_OPTIONS:
        return variable, shown, *rules.FIXED_OPTIONS[name]
    if name == "celery.extra_celery_config" and publishes_messages(value):
        what = f"settings without {rules.SENT_EVENTS}, with which the scheduler publishes the token of each task"
        return variable, shown, what, f"remove {rules.SENT_EVENTS}"
    known = options.sections[section]
    if base.removeprefix(f"{section}.") in known:
        return None
    if name in options.renamed:
        return _renamed(name, value, options.renamed[name])
    is_open = section in rules.OPEN_SECTIONS
    right = nearest(option, known, cutoff=0.85 if is_open else 0.6)
    if right is None and is_open:
        return None
    elsewhere = [other for other, names in options.sections.items() if option in names]
    if elsewhere and not is_open:
        own_there = rules.OWNED_OPTIONS.get(f"{elsewhere[0]}.{option}")
        return (
            variable,
            shown,
            f"an option of section {section}; {option} is one of section {' and of section '.join(elsewhere)}",
            f"set variable {own_there} instead" if own_there else f"move it to section {elsewhere[0]}",
        )
    own_near = rules.OWNED_OPTIONS.get(f"{section}.{right}")
    remedy = f"set variable {own_near} instead" if own_near else f"rename it to {right}" if right else "remove it"
    return variable, shown, _known("an option", options, right), remedy


def check_webserver_config(inventory: Inventory) -> Iterator[Finding]:
    """The site's webserver_config.py can be rendered, leaves the deployment's settings alone, and has its packages."""
    variable = "airflow_webserver_config"
    for host in inventory.members("airflow_api_server"):
        path = text_of(host, variable)
        if not path or not inventory.sound(host, variable, "airflow_runtime_extra_requirements"):
            continue
        try:
            text = str(host.rendered(WEBSERVER_TEXT))
        except Unresolvable as error:
            expected = "a template of variables that this host has"
            yield Finding(f"host {host.name}", variable, f"{show(path)}: {error}", expected, f"correct {path}")
            continue
        requirements = [str(text) for text in host.get("airflow_runtime_extra_requirements", [])]
        for flaw in webserver_check.flaws(text, requirements):
            yield Finding(f"host {host.name}", variable, f"{show(path)}, {flaw.value}", flaw.expected, flaw.remedy)


# --- What each machine will be asked ----------------------------------------------------------------------------------
def endpoint_of(host: Host, endpoint: rules.Endpoint, inventory: Inventory) -> tuple[str, int] | None:
    """Return address and port of a service as a host will connect to it, or None if its URL does not say."""
    if endpoint.url in host.names:
        try:
            parts = urlsplit(str(host.get(endpoint.url)).removeprefix("db+"))
            port = parts.port or rules.DEFAULT_PORTS.get(parts.scheme.split("+")[0])
        except ValueError:
            return None
        return (parts.hostname, port) if parts.hostname and port else None
    port = host.number(endpoint.port)
    servers = inventory.members(endpoint.group)
    if port is None or not servers:
        return None
    if endpoint.group == "postgres" and "airflow_database_host" in host.names:
        return str(host.get("airflow_database_host")), port
    return servers[0].address, port


def binds_of(inventory: Inventory, host: Host) -> Iterator[tuple[str, list[str], bool]]:
    """Return variables of a host that name addresses to listen on: name, addresses, whether for HAProxy alone."""
    for variable, bind in rules.BINDS.items():
        if bind.group in host.groups and variable in host.names and inventory.sound(host, variable):
            value = host.get(variable)
            listens = [str(one) for one in (value if isinstance(value, list) else [value])]
            yield variable, listens, bind.loopback and listens == ["127.0.0.1"]


def components_of(host: Host) -> list[str]:
    """Return the components that a host gets."""
    found = [name for group, names in rules.COMPONENTS.items() if group in host.groups for name in names]
    backups = is_true(host.get("backup_enabled", True))
    return [name for name in found if name != "backup" or backups]


def repository_of(host: Host) -> str:
    """Return the directory of the backups; "" where there are none, or in an object store."""
    settings = host.get("backup_settings", {})
    kind = settings.get("repo1-type", "posix") if isinstance(settings, Mapping) else "posix"
    stored = is_true(host.get("backup_enabled", True)) and kind in ("posix", "cifs")
    return text_of(host, "backup_repository") if stored else ""


def authority_keys(inventory: Inventory) -> list[str] | None:
    """Return digests of the public keys of the authorities that the controller has; none before the first run.

    None if there is a key that cannot be opened, which is a finding of check_certificates.
    """
    hosts = inventory.cluster
    path = next((text_of(host, CA_FILE) for host in hosts if text_of(host, CA_FILE)), "")
    directory = next((text_of(host, CA_DIR) for host in hosts if text_of(host, CA_DIR)), "")
    with contextlib.suppress(FileNotFoundError):
        authorities = tls.load_certificates(inventory.read(path or f"{directory}/ca.pem"))
        return sorted({tls.key_digest(one.public_key()) for one in authorities})
    with contextlib.suppress(FileNotFoundError):
        data = inventory.read(f"{directory}/ca.key")
        # The certificate is being renewed.
        for host in hosts:
            previous = host.get("airflow_secrets_previous", {})
            for source in (host.get("airflow_ca_passphrase", ""), dict(previous).get("airflow_ca_passphrase", "")):
                with contextlib.suppress(tls.Unusable):
                    return [tls.key_digest(tls.load_key(data, str(source)).public_key())]
        return None
    return []


def debian_packages(host: Host) -> Iterator[dict[str, str]]:
    """Yield the Debian packages that the inventory adds to a host, with the variables that name them."""
    for variable, group in rules.PACKAGE_LISTS.items():
        packages = host.get(variable, []) if group in host.groups else []
        for name in packages if isinstance(packages, list) else []:
            yield {"name": str(name), "variable": variable}


def machine_plans(inventory: Inventory, play_hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return for each host of the play what its own machine is asked: ports to hold, services and names to reach."""
    by_address = {host.address: host.name for host in inventory.cluster}
    in_play = set(play_hosts)
    peers: dict[str, list[dict[str, str]]] = defaultdict(list)
    for group in ("airflow_worker", "airflow_triggerer"):
        for host in inventory.members(group):
            if host.name in in_play:
                peers["airflow_api_server"].append({"address": host.address, "host": host.name})
    for host in inventory.members("airflow_api_server"):
        peers["haproxy"].append({"address": host.address, "host": host.name})
    authorities = authority_keys(inventory)
    broker = next(one for one in rules.ENDPOINTS if one.url == "airflow_broker_url")
    targets = [endpoint_of(host, broker, inventory) for host in inventory.cluster]
    brokers = sorted({target[0] for target in targets if target})
    plans = {}
    held = connections(inventory)
    for host in inventory.cluster:
        if host.name not in in_play:
            continue
        endpoints: dict[tuple[str, int], dict[str, Any]] = {}
        for endpoint in rules.ENDPOINTS:
            target = endpoint_of(host, endpoint, inventory) if host.groups & endpoint.clients else None
            if target is None or by_address.get(target[0]) == host.name:
                continue
            server = by_address.get(target[0], "")
            entry = {"address": target[0], "port": target[1], "variable": endpoint.url, "host": server}
            filtered = bool(server) and is_true(inventory.hosts[server].get("firewall_enabled", True))
            endpoints.setdefault(target, entry | {"filtered": filtered})
        names = {
            peer["address"]: peer
            for group in ("airflow_api_server", "haproxy")
            if group in host.groups
            for peer in peers[group]
            if peer["host"] != host.name
        }
        plans[host.name] = {
            "control_plane": bool(host.groups & set(rules.CONTROL_GROUPS)),
            "ports": [
                {"port": port, "variable": variable, "units": units}
                for port, variable, units in listening(inventory, host)
            ],
            "endpoints": list(endpoints.values()),
            "names": list(names.values()),
            "services": services_of(inventory, host, held),
            "firewall": is_true(host.get("firewall_enabled", True)),
            "components": components_of(host),
            "binds": [
                {"variable": variable, "addresses": listens, "reached": "" if local else host.address}
                for variable, listens, local in binds_of(inventory, host)
            ],
            "account": text_of(host, "airflow_user") if "airflow" in host.groups else "",
            "repository": repository_of(host) if "postgres" in host.groups else "",
            "identity": {
                "authorities": authorities,
                "authority_variable": CA_FILE if text_of(host, CA_FILE) else CA_DIR,
                "authority_path": text_of(host, CA_FILE) or text_of(host, CA_DIR),
                "repository": repository_of(host),
                "brokers": brokers,
            },
            "packages": list(debian_packages(host)),
            "airflow_version": str(host.get("airflow_version", "")) if "airflow" in host.groups else "",
        }
    return plans
