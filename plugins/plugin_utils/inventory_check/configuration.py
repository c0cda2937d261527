"""Rules for airflow_config and webserver_config.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import (
    airflow_config,
    config_packages,
    config_rules,
    topology,
    webserver_check,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import (
    Finding,
    looks_secret,
    nearest,
    show,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    WEBSERVER_TEXT,
    AirflowOptions,
    Inventory,
    Unresolvable,
    text_of,
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


def check_task_logs(inventory: Inventory) -> Iterator[Finding]:
    """No setting takes the logs of tasks past the log store."""
    for host in inventory.cluster:
        place = text_of(host, "airflow_task_logs")
        if place == "local" or not inventory.sound(host, "airflow_config", "airflow_task_logs"):
            continue
        logging = host.get("airflow_config", {}).get("logging")
        for name, expected in config_rules.STORE_OPTIONS.items():
            option = name.partition(".")[2]
            if isinstance(logging, Mapping) and option in logging:
                yield Finding(
                    f"host {host.name}",
                    f"airflow_config.{name}",
                    show(logging[option]),
                    f"{expected}, while airflow_task_logs is {place}",
                    "remove it, or set airflow_task_logs: local (docs/logs.md)",
                )


def check_config_packages(inventory: Inventory) -> Iterator[Finding]:
    """Each package that a setting needs is in the runtime. Without it Airflow only logs an error."""
    seen: dict[str, list[config_packages.Missing]] = {}
    lists = config_packages.REQUIREMENTS
    for host in inventory.cluster:
        config = host.get("airflow_config", {})
        if not inventory.sound(host, "airflow_config", "airflow_task_logs", *lists):
            continue
        place = text_of(host, "airflow_task_logs")
        if "://" in place:
            archive = {"remote_logging": True, "remote_base_log_folder": place}
            config = {**config, "logging": {**(config.get("logging") or {}), **archive}}
        added = [*host.get(lists[0], []), *(host.get(lists[1], []) if topology.WORKER_GROUP in host.groups else [])]
        # Airflow imports from its plugins folder, too.
        plugins = text_of(host, "airflow_plugins_dir")
        key = repr((config, added, plugins))
        if key not in seen:
            seen[key] = list(config_packages.missing(config, added, [Path(plugins)] if plugins else []))
        for problem in seen[key]:
            package = problem.requirement or "the package that has it"
            own = config_rules.OWNED_OPTIONS.get(problem.option)
            yield Finding(
                f"host {host.name}",
                own or f"airflow_config.{problem.option}",
                f"{text_of(host, own)}, which needs {problem.needs}" if own else problem.needs,
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
            if not airflow_config.is_readable(str(option), value):
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
                elif (section, option) == ("celery", "extra_celery_config"):
                    yield from _celery_problems(f"{variable}.{option}", value)
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


def _known(what: str, options: AirflowOptions, right: str | None) -> str:
    near = f"; the nearest is {right}" if right else ""
    return f"{what} known to Airflow {options.airflow_version} and the providers of the lock{near}"


def _renamed(old: str, value: Any, new: str) -> Problem:
    own = config_rules.OWNED_OPTIONS.get(new)
    remedy = f"set variable {own} instead" if own else f"set airflow_config.{new} instead"
    return f"airflow_config.{old}", show(value, looks_secret(old)), f"{new}, as Airflow calls it today", remedy


def _celery_problems(variable: str, extra: Any) -> Iterator[Problem]:
    """Return what is wrong with further settings of Celery, a mapping or JSON."""
    shown = show(extra)
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except ValueError:
            return
    if not isinstance(extra, Mapping):
        return
    if extra.get(config_rules.SENT_EVENTS):
        what = f"settings without {config_rules.SENT_EVENTS}, with which the scheduler publishes the token of each task"
        yield variable, shown, what, f"remove {config_rules.SENT_EVENTS}"
    for name in sorted(config_rules.CELERY_SETTINGS.keys() & set(map(str, extra))):
        reason, remedy = config_rules.CELERY_SETTINGS[name]
        value = show(extra[name], looks_secret(name))
        yield f"{variable}.{name}", value, f"no value: {reason}", remedy


def is_same(value: Any, expected: str) -> bool:
    """Return whether Airflow reads a value as it reads the expected one."""
    text = airflow_config.text_of(value).strip()
    for words in airflow_config.BOOLEANS.values():
        if expected.lower() in words:
            return text.lower() in words
    return text == expected


def _mail_problem(section: str, option: str, value: Any, config: Mapping[str, Any]) -> Problem | None:
    """Return the problem of a setting for mail that the mail of tasks does not read."""
    name = f"{section}.{option}"
    if section != config_rules.MAIL_SECTION and name not in config_rules.MAIL_OPTIONS:
        return None
    email = config.get("email")
    backend = email.get("email_backend") if isinstance(email, Mapping) else None
    if backend and backend != config_rules.MAIL_BACKEND:
        return None
    variable = f"airflow_config.{name}"
    connection = email.get("email_conn_id") if isinstance(email, Mapping) else None
    return (
        variable,
        show(value, looks_secret(option)),
        "nothing: tasks send mail with a connection of type smtp, and read no such setting (docs/operations/mail.md)",
        f"declare {connection or 'smtp_default'} in airflow_connections, and remove {variable}",
    )


def wrong_type(name: str, value: Any, options: AirflowOptions) -> tuple[str, str] | None:
    """Return what is expected of a value that Airflow cannot read as the type of its option, and the remedy."""
    kind = options.types.get(name)
    text = airflow_config.text_of(value).strip()
    # Airflow puts environment variables in.
    if kind is None or "$" in text or (not text and name in options.empty) or _is_of_type(kind, text):
        return None
    what = {"boolean": "True or False", "float": "a number", "integer": "an integer", "json": "JSON"}[kind]
    version = options.airflow_version
    return f"{what}, as Airflow {version} reads it", f"set it to {what}, or remove it"


def _is_of_type(kind: str, text: str) -> bool:
    if kind == "boolean":
        return any(text.partition("#")[0].strip().lower() in words for words in airflow_config.BOOLEANS.values())
    try:
        if kind == "json":
            json.loads(text)
            return True
        number = float(text)
        return kind == "float" or number.is_integer()
    except ValueError:
        return False


def _option_problem(section: str, option: str, value: Any, options: AirflowOptions) -> Problem | None:
    name = f"{section}.{option}"
    variable, shown = f"airflow_config.{name}", show(value, looks_secret(option) or name in options.sensitive)
    base = name
    for suffix in ("_cmd", "_secret"):
        # Airflow reads a sensitive option <name> from a command <name>_cmd or a secrets backend <name>_secret, too.
        if name.removesuffix(suffix) in options.sensitive:
            base = name.removesuffix(suffix)
    if base in config_rules.OWNED_OPTIONS:
        own = config_rules.OWNED_OPTIONS[base]
        return variable, shown, f"variable {own}, on which more than airflow.cfg depends", f"set variable {own} instead"
    if name in config_rules.FIXED_OPTIONS:
        return variable, shown, *config_rules.FIXED_OPTIONS[name]
    if name in config_rules.FIXED_VALUES:
        accepted, *told = config_rules.FIXED_VALUES[name]
        return None if is_same(value, accepted) else (variable, shown, told[0], told[1])
    known = options.sections[section]
    if base.removeprefix(f"{section}.") in known:
        expected = wrong_type(name, value, options) if base == name else None
        return (variable, "null" if value is None else shown, *expected) if expected else None
    if name in options.renamed:
        return _renamed(name, value, options.renamed[name])
    is_open = section in config_rules.OPEN_SECTIONS
    right = nearest(option, known, cutoff=0.85 if is_open else 0.6)
    if right is None and is_open:
        return None
    elsewhere = [other for other, names in options.sections.items() if option in names]
    if elsewhere and not is_open:
        own_there = config_rules.OWNED_OPTIONS.get(f"{elsewhere[0]}.{option}")
        return (
            variable,
            shown,
            f"an option of section {section}; {option} is one of section {' and of section '.join(elsewhere)}",
            f"set variable {own_there} instead" if own_there else f"move it to section {elsewhere[0]}",
        )
    own_near = config_rules.OWNED_OPTIONS.get(f"{section}.{right}")
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
