"""Rules for paths in the sandbox of the units."""

from __future__ import annotations

import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import config_rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding, show
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Host, Inventory


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
                written = f"{section}.{option}" in config_rules.WRITTEN_OPTIONS
                for variable, text in _texts(f"airflow_config.{section}.{option}", value):
                    problem = _path_problem(text, written, relaxed)
                    if problem:
                        yield Finding(f"host {host.name}", variable, show(text), *problem)
        for variable, text in _sources(inventory, host):
            problem = _hidden(text, relaxed, config_rules.HIDDEN_PATHS)
            if problem:
                yield Finding(f"host {host.name}", variable, show(text), *problem)
        for option, value in settings.items() if "postgres" in host.groups else ():
            if is_local_directory(settings, str(option)):
                yield Finding(
                    f"host {host.name}",
                    f"backup_settings.{option}",
                    show(value),
                    "no directory besides backup_repository: the units of PostgreSQL and the backups write to no other",
                    "set backup_repository instead" if option == "repo1-path" else "remove it",
                )


def _texts(variable: str, value: Any) -> Iterator[tuple[str, str]]:
    """Return each text inside of a value, which may be a mapping, a list or JSON, and the name of its place."""
    if isinstance(value, str):
        try:
            inner = json.loads(value) if value.lstrip().startswith(("{", "[")) else None
        except ValueError:
            inner = None
        if inner is None:
            yield variable, value
            return
        value = inner
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(f"{variable}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(f"{variable}[{index}]", item)


def _sources(inventory: Inventory, host: Host) -> Iterator[tuple[str, str]]:
    """Return what may be a path from which bundles of DAGs are read."""
    if str(host.get("airflow_dags_source", "")) == "git" and inventory.sound(host, "airflow_dags_git_url"):
        yield "airflow_dags_git_url", str(host.get("airflow_dags_git_url", ""))
    bundles = host.get("airflow_dag_bundles", []) if inventory.sound(host, "airflow_dag_bundles") else []
    for index, bundle in enumerate(bundles):
        for key in ("url", "kwargs"):
            yield from _texts(f"airflow_dag_bundles[{index}].{key}", bundle.get(key))


def _hidden(text: str, relaxed: Mapping[str, Sequence[str]], paths: Mapping[str, str]) -> tuple[str, str] | None:
    """Return what is expected of a path, or the URL of a file, that the sandbox hides, and the remedy.

    :param paths: what is hidden, and by which setting.
    """
    path = posixpath.normpath(unquote(urlsplit(text).path) if text.startswith("file://") else text)
    for hidden, setting in paths.items():
        if is_below(path, hidden) and setting not in relaxed:
            return (
                f"a path outside {hidden}, which {setting} of the units hides (docs/sandbox.md)",
                f"name another directory, or set {setting}: false in airflow_sandbox",
            )
    return None


def _path_problem(path: str, written: bool, relaxed: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """Return what is expected of a path in airflow_config, and the remedy.

    :param relaxed: settings of airflow_sandbox of any process, with their values.
    """
    # A private /tmp is there, for each process another one.
    paths = {
        hidden: setting for hidden, setting in config_rules.HIDDEN_PATHS.items() if written or setting == "ProtectHome"
    }
    problem = _hidden(path, relaxed, paths)
    if problem:
        return problem
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
