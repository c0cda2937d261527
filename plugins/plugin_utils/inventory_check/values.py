"""Rules for the values of variables: type, range and form, and what is the same on all hosts."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import object_check, requirements, secret_values
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding, nearest, show
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    Inventory,
    Unresolvable,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.process_environment import environment_problem

# ansible-core depends on packaging. Only ansible-test imports this file without it.
with contextlib.suppress(ImportError):
    from packaging.version import InvalidVersion, Version


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
                    yield Finding(where, name, show(value, secret), problem, _remedy(name, value, problem))


def _remedy(name: str, value: Any, expected: str) -> str:
    rule = rules.RULES.get(name)
    if isinstance(rule, rules.DataDirectory) and str(value) in rules.SHARED_DIRECTORIES:
        return f"set {name} to a directory of its own, such as {value}/{rule.example}"
    noun = "what is expected, or remove it for the default" if len(expected) > 60 else expected
    return f"set {name} to {noun}"


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


def check_worker_stop(inventory: Inventory) -> Iterator[Finding]:
    """Running tasks have time to end before they are handed over."""
    last, whole = "airflow_worker_hand_over_time", "airflow_worker_stop_timeout"
    for host in inventory.members("airflow_worker"):
        seconds, limit = host.number(last), host.number(whole)
        if not inventory.sound(host, last, whole) or seconds is None or limit is None or seconds < limit:
            continue
        yield Finding(
            f"host {host.name}",
            last,
            show(seconds),
            f"less than {whole}, which is {limit}: tasks would get SIGTERM as soon as the worker is stopped",
            f"set {last} lower, or {whole} higher",
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
