"""Python packages that settings of Airflow need, and that the lock of the runtime may not have.

Airflow logs an error for most of them and continues without the feature. ``airflow_imports.json`` says what Airflow
imports for which setting. tools/airflow_imports.py derives it from the locked Airflow's source.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# ansible-core depends on packaging. Only ansible-test imports this file without it.
with contextlib.suppress(ImportError):
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name


PROJECT = Path(__file__).resolve().parents[2]
PROVIDER_MODULE = re.compile(r"\bairflow\.providers(?:\.[a-z_][a-z0-9_]*)+")
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+")
TRUE = frozenset({"t", "true", "1"})
ANY = frozenset[str]()
# Settings that switch something on, with which values, and the requirement that brings the package for it.
SWITCHES: Mapping[str, tuple[frozenset[str], str]] = {
    "api.server_type": (frozenset({"gunicorn"}), "apache-airflow[gunicorn]"),
    "celery.pool": (frozenset({"eventlet", "gevent"}), "apache-airflow-core[async]"),
    "core.security": (frozenset({"kerberos"}), "apache-airflow[kerberos]"),
    "metrics.otel_on": (TRUE, "apache-airflow-task-sdk[otel]"),
    "metrics.statsd_datadog_enabled": (TRUE, "apache-airflow-task-sdk[datadog]"),
    "metrics.statsd_on": (TRUE, "apache-airflow[statsd]"),
    "profiling.memray_trace_components": (ANY, "apache-airflow[memray]"),
    "sentry.sentry_on": (TRUE, "apache-airflow[sentry]"),
    "traces.otel_on": (TRUE, "apache-airflow-task-sdk[otel]"),
}
# Places of the object storage that Airflow opens with a provider's file system, and the requirement that brings it.
STORAGES: Mapping[str, str] = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "apache-airflow-providers-amazon[s3fs]"),
    **dict.fromkeys(("gs", "gcs"), "apache-airflow-providers-google"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "apache-airflow-providers-microsoft-azure"),
}
# Variables with requirements: of all hosts, and of workers.
REQUIREMENTS = ("airflow_runtime_extra_requirements", "airflow_worker_extra_requirements")
STORAGE_OPTIONS = ("xcom_objectstorage_path", "state_store_objectstorage_path")
# Extras of providers that a setting needs; those of Airflow's own packages are in airflow_imports.json.
PROVIDER_EXTRAS: Mapping[str, Mapping[str, Iterable[str]]] = {"apache-airflow-providers-amazon": {"s3fs": ("s3fs",)}}


@dataclass(frozen=True)
class Missing:
    """A package that a setting needs.

    :param option: ``section.option``.
    :param needs: what Airflow would import or use.
    :param requirement: what brings it; empty if that is the site's own package.
    """

    option: str
    needs: str
    requirement: str


@cache
def imports() -> Mapping[str, Any]:
    """Return what tools/airflow_imports.py has written."""
    found: Mapping[str, Any] = json.loads((PROJECT / "roles/preflight/files/airflow_imports.json").read_text())
    return found


@cache
def locked() -> frozenset[str]:
    """Return the packages of group ``airflow`` of uv.lock, with all that they need."""
    packages = {package["name"]: package for package in tomllib.loads((PROJECT / "uv.lock").read_text())["package"]}
    todo = [(entry["name"], "") for entry in packages["airflow-celery-cluster"]["dev-dependencies"]["airflow"]]
    todo += [
        (entry["name"], extra)
        for entry in packages["airflow-celery-cluster"]["dev-dependencies"]["airflow"]
        for extra in entry.get("extra", [])
    ]
    seen: set[tuple[str, str]] = set()
    while todo:
        name, extra = item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        package = packages[name]
        entries = package.get("optional-dependencies", {}).get(extra, []) if extra else package.get("dependencies", [])
        todo += [(entry["name"], wanted) for entry in entries for wanted in ("", *entry.get("extra", []))]
    return frozenset(name for name, _extra in seen)


def brought_by(requirement: str) -> set[str]:
    """Return the packages of a requirement as far as its text says them."""
    try:
        parsed = Requirement(requirement)
    except InvalidRequirement:
        return set()  # a finding already
    name = canonicalize_name(parsed.name)
    known = PROVIDER_EXTRAS.get(name) or imports()["extras"].get(name, {})
    return {name}.union(*(known.get(extra, []) for extra in parsed.extras))


def missing(
    config: Mapping[str, Any], requirements: Iterable[str], directories: Iterable[Path] = ()
) -> Iterator[Missing]:
    """Yield what the settings need and neither the lock nor the further requirements have.

    :param config: ``{section: {option: value}}``.
    :param directories: places of the site's own modules.
    """
    requirements = list(requirements)
    available = locked().union(*map(brought_by, requirements))
    for section, entries in config.items():
        for option, value in entries.items() if isinstance(entries, Mapping) else ():
            name = f"{section}.{option}".lower()
            text = str(value).strip()
            values, requirement = SWITCHES.get(name, (ANY, ""))
            if requirement and text and (values == ANY or text.lower() in values):
                own = canonicalize_name(Requirement(requirement).name)
                if absent := sorted(brought_by(requirement) - available - {own}):
                    yield Missing(name, f"{text} needs {', '.join(absent)}", requirement)
            for module in dict.fromkeys(PROVIDER_MODULE.findall(text)):
                yield from _provider(name, module, available)
            if name in imports()["classes"]:
                yield from _own_module(name, text, requirements, directories)
    yield from _remote_logging(config, available)
    yield from _object_storage(config, available)


def missing_of_class(
    option: str, name: str, requirements: Iterable[str], directories: Iterable[Path] = ()
) -> Iterator[Missing]:
    """Yield what the class needs that an option names. Parameters: see ``missing``."""
    requirements = list(requirements)
    available = locked().union(*map(brought_by, requirements))
    for module in PROVIDER_MODULE.findall(name):
        yield from _provider(option, module, available)
    yield from _own_module(option, name, requirements, directories)


def _provider(option: str, module: str, available: Iterable[str]) -> Iterator[Missing]:
    providers: Mapping[str, str] = imports()["providers"]
    parts = module.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 2, -1))
    package = next((providers[prefix] for prefix in prefixes if prefix in providers), None)
    if package and package not in available:
        yield Missing(option, module, package)


def _own_module(option: str, text: str, requirements: Iterable[str], directories: Iterable[Path]) -> Iterator[Missing]:
    # Which modules a package of the site has, its name does not say.
    if any(not name.startswith("apache-airflow") for requirement in requirements for name in brought_by(requirement)):
        return
    for path in map(str.strip, text.split(",")):
        top = path.partition(".")[0]
        if not IMPORT_PATH.fullmatch(path) or top in {"airflow", "airflow_celery_cluster"} | sys.stdlib_module_names:
            continue
        if canonicalize_name(top) not in locked() and not any(
            (folder / top).exists() or (folder / f"{top}.py").exists() for folder in directories
        ):
            yield Missing(option, path, "")


def _remote_logging(config: Mapping[str, Any], available: Iterable[str]) -> Iterator[Missing]:
    logging = config.get("logging") or {}
    if str(logging.get("remote_logging", "")).lower() not in TRUE:
        return
    folder = str(logging.get("remote_base_log_folder", ""))
    for place, module in imports()["remote_logging"].items():
        section, _dot, option = place.partition(".")
        host = (config.get(section) or {}).get(option) if option and "/" not in place else None
        if host or folder.startswith(place):
            yield from _provider(
                "logging.remote_logging" if host else "logging.remote_base_log_folder", module, available
            )
            return


def _object_storage(config: Mapping[str, Any], available: Iterable[str]) -> Iterator[Missing]:
    section = config.get("common.io")
    entries = section if isinstance(section, Mapping) else {}
    for option in STORAGE_OPTIONS:
        scheme, separator, _place = str(entries.get(option, "")).strip().partition("://")
        requirement = STORAGES.get(scheme.lower(), "") if separator else ""
        if absent := sorted(brought_by(requirement) - set(available)) if requirement else []:
            yield Missing(f"common.io.{option}", f"{scheme}:// needs {', '.join(absent)}", requirement)
