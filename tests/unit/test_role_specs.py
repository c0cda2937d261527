"""Each role's defaults and argument specs tell the same story."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path.parent for path in (Path(__file__).resolve().parents[2] / "roles").glob("*/tasks"))


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {}


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of all entry points."""
    entry_points = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for entry in entry_points.values() for name, option in (entry.get("options") or {}).items()}


def has_no_default(option: dict[str, Any]) -> bool:
    """A required parameter has none, and a secret may have one only if it is computed."""
    return bool(option.get("required")) or bool(option.get("no_log"))


def is_computed(default: Any) -> bool:
    """Return whether a default of a role is a template."""
    return isinstance(default, str) and ("{{" in default or "{%" in default)


def incomplete(name: str, option: dict[str, Any]) -> list[str]:
    """Return what an option lacks, suboptions included."""
    lacks = [f"{name} has no {key}" for key in ("type", "description") if not option.get(key)]
    if option.get("type") == "list" and "elements" not in option:
        lacks.append(f"{name} is a list without elements")
    for inner, suboption in (option.get("options") or {}).items():
        lacks += incomplete(f"{name}.{inner}", suboption)
    return lacks


def test_there_are_roles() -> None:
    assert len(ROLES) >= 10


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_specs_name_the_same_variables(role: Path) -> None:
    options, defaults = options_of(role), set(load(role / "defaults" / "main.yml"))
    assert defaults - set(options) == set()
    assert {name for name, option in options.items() if not has_no_default(option)} - defaults == set()


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_has_type_and_description(role: Path) -> None:
    assert [gap for name, option in options_of(role).items() for gap in incomplete(name, option)] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_plain_default_is_documented_as_it_is(role: Path) -> None:
    options, defaults = options_of(role), load(role / "defaults" / "main.yml")
    plain = {name: repr(value) for name, value in defaults.items() if not is_computed(value)}
    assert {name: repr(options[name].get("default")) for name in plain} == plain


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_computed_default_is_described(role: Path) -> None:
    """`default:` has the type of the option, so it cannot hold words."""
    for name, value in load(role / "defaults" / "main.yml").items():
        if is_computed(value):
            option = options_of(role)[name]
            assert "default" not in option, name
            assert [part for part in option["description"] if part.startswith("Default: ")], name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_entry_point_is_described(role: Path) -> None:
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    assert [name for name, entry in specs.items() if not entry.get("description")] == []


def test_no_two_roles_own_the_same_variable() -> None:
    owners: dict[str, list[str]] = {}
    for role in ROLES:
        for name in load(role / "defaults" / "main.yml"):
            owners.setdefault(name, []).append(role.name)
    assert {name: roles for name, roles in owners.items() if len(roles) > 1} == {}
