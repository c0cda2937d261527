"""In each play, the defaults are known of each variable that a role uses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_role_tasks import tasks_below

PROJECT = Path(__file__).resolve().parents[2]
ROLES = PROJECT / "roles"
PREFIX = "airflow_celery.cluster."
STATIC, DYNAMIC = "ansible.builtin.import_role", "ansible.builtin.include_role"
EXPRESSIONS = ("when", "failed_when", "changed_when", "until", "that")
TASKS = ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks")
# A name that may be undefined: there is a default beside it, or a question whether it is there.
GUARDED = r"\s*(?:\|\s*d(?:efault)?\b|is\s+(?:not\s+)?defined)"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


@cache
def defaults_of(role: str, entry: str = "main") -> frozenset[str]:
    """Return the names that a role defines, also those of a directory with the name of an entry."""
    files = [ROLES / role / "defaults/main.yml", *(ROLES / role / "defaults" / entry).glob("*.yml")]
    return frozenset(name for file in files for name in load(file) or {})


@cache
def variables_of(role: str) -> dict[str, str]:
    """Return the variables of a role's vars by their text."""
    found = load(ROLES / role / "vars/main.yml") or {}
    return {name: "\n".join(expressions(value)) for name, value in found.items()}


@cache
def reached(role: str, entry: str) -> tuple[frozenset[Path], frozenset[tuple[str, str, bool]]]:
    """Return the files of tasks that an entry of a role reaches, and (role, entry, is static) of other roles."""
    files: set[Path] = set()
    roles: set[tuple[str, str, bool]] = set()
    todo = [ROLES / role / "tasks" / f"{entry.removesuffix('.yml')}.yml", ROLES / role / "handlers/main.yml"]
    while todo:
        path = todo.pop()
        if path in files or not path.exists():
            continue
        files.add(path)
        for task in tasks_below(load(path)):
            for action in TASKS:
                named = task.get(action)
                name = named.get("file") if isinstance(named, dict) else named
                if name:
                    todo += path.parent.glob(re.sub(r"{{.*?}}", "*", str(name)))
            roles |= set(roles_of(task))
    return frozenset(files), frozenset(roles)


def roles_of(task: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    for action in (STATIC, DYNAMIC):
        if action in task:
            yield task[action]["name"].removeprefix(PREFIX), task[action].get("tasks_from", "main"), action == STATIC


def closure(direct: set[tuple[str, str, bool]]) -> set[tuple[str, str, bool]]:
    found: set[tuple[str, str, bool]] = set()
    todo = list(direct)
    while todo:
        role, entry, static = todo.pop()
        if (role, entry, static) in found or "{{" in role or "{{" in entry:
            continue
        found.add((role, entry, static))
        # What a dynamic include imports is not known to the play.
        todo += [(name, start, static and other) for name, start, other in reached(role, entry)[1]]
    return found


def expressions(value: Any) -> Iterator[str]:
    """Yield what Ansible evaluates in a value: templates, and values of keywords that are expressions."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in EXPRESSIONS:
                yield from map(str, item if isinstance(item, list) else [item])
            yield from expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item)
    elif isinstance(value, str):
        yield from re.findall(r"{[{%].*?[%}]}", value, re.DOTALL)


ALL_DEFAULTS = {
    name: "\n".join(expressions(value))
    for path in ROLES.glob("*/defaults/main.yml")
    for name, value in (load(path) or {}).items()
}


def evaluated(role: str, path: Path) -> str:
    """Return all expressions of a file of tasks and of the templates that the file names."""
    tasks = load(path)
    names = re.findall(r"[\w./-]+\.j2", path.read_text())
    templates = [(ROLES / role / "templates" / name).read_text() for name in names if "/" not in name]
    return "\n".join(expressions([tasks, templates]))


def used(text: str, role: str) -> set[str]:
    """Return the defaults of any role that a text uses, also through other defaults and the vars of its own role."""
    found: set[str] = set()
    todo, seen = [text], set()
    while todo:
        part = todo.pop()
        for name in re.findall(r"(?<![\w.'\"/-])([a-z_]+[a-z0-9_]*)\b(?!" + GUARDED + r")(?!\s*(?:[:(]|=(?!=)))", part):
            if name in ALL_DEFAULTS and name not in found:
                found.add(name)
                todo.append(ALL_DEFAULTS[name])
            elif name in variables_of(role) and name not in seen:
                seen.add(name)
                todo.append(variables_of(role)[name])
    return found


@pytest.mark.parametrize("kind", ["defaults", "vars"])
def test_a_play_has_the_whole_variables_of_each_component(kind: str) -> None:
    components = {path.stem for path in (ROLES / "airflow/defaults/components").iterdir()}
    expected = {role: ROLES / role / kind / "main.yml" for role in components}
    links = list((ROLES / "airflow" / kind / "components").iterdir())
    assert components
    assert {path.stem: path.resolve() for path in links} == {
        role: file for role, file in expected.items() if file.exists()
    }


def plays() -> list[Any]:
    found = []
    for path in [PROJECT / "site.yml", *sorted((PROJECT / "playbooks").glob("*.yml"))]:
        found += [pytest.param(play, id=f"{path.stem}: {play['name']}") for play in load(path) if "hosts" in play]
    return found


@pytest.mark.parametrize("play", plays())
def test_the_defaults_of_each_variable_are_known_to_the_play(play: dict[str, Any]) -> None:
    direct: set[tuple[str, str, bool]] = set()
    for entry in play.get("roles", ()):
        name = entry if isinstance(entry, str) else entry.get("role", entry.get("name"))
        direct.add((name.removeprefix(PREFIX), "main", True))
    for task in tasks_below([play]):
        direct |= set(roles_of(task))
    everything = closure(direct)
    known = frozenset().union(*(defaults_of(role, entry) for role, entry, static in everything if static))
    missing = {}
    for role, entry, _static in everything:
        own = known | defaults_of(role)
        for path in reached(role, entry)[0]:
            unknown = used(evaluated(role, path), role) - own
            if unknown:
                missing[path.relative_to(PROJECT).as_posix()] = sorted(unknown)
    assert missing == {}
