"""docs/variables.md says what the roles really do. The page is read; its generator is not asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def table_of(page: str) -> dict[str, tuple[str, str, str]]:
    """Return type, default and meaning of each variable, as the page shows them."""
    rows = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in page.splitlines() if line.startswith("| `")]
    assert {len(row) for row in rows} == {4}
    return {name.strip("`"): (kind, default.replace("\\|", "|"), meaning) for name, kind, default, meaning in rows}


SHOWN = table_of((ROOT / "docs/variables.md").read_text())
OPTIONS: dict[str, dict[str, Any]] = {}
DEFAULTS: dict[str, Any] = {}
for _path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
    _entries = yaml.safe_load(_path.read_text())["argument_specs"]
    OPTIONS |= (_entries.get("main") or _entries["variables"]).get("options") or {}
    _defaults = _path.parents[1] / "defaults/main.yml"
    DEFAULTS |= (yaml.safe_load(_defaults.read_text()) or {}) if _defaults.exists() else {}


def test_every_variable_is_on_the_page_with_its_type() -> None:
    kinds = {
        name: option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        for name, option in OPTIONS.items()
    }
    assert {name: SHOWN[name][0] for name in OPTIONS} == kinds
    inner = {name for option in OPTIONS for name in SHOWN if name.startswith((f"{option}.", f"{option}[]."))}
    assert set(SHOWN) == set(OPTIONS) | inner
    assert inner >= {"postgres_databases[].owner", "postgres_databases[].logins[].name"}


def test_a_plain_default_is_shown_as_the_inventory_spells_it() -> None:
    wrong = {}
    for name in OPTIONS.keys() & DEFAULTS.keys():
        value, cell = DEFAULTS[name], SHOWN[name][1]
        if isinstance(value, str) and "{" in value:
            # Words, and no template.
            good = bool(cell) and "{{" not in cell and "lookup(" not in cell
        elif isinstance(value, str):
            good = cell == (f"`{value}`" if value else '`""`')
        else:
            read = yaml.safe_load(cell.strip("`"))
            good = cell[0] == cell[-1] == "`" and repr(read) == repr(value)
        if not good:
            wrong[name] = (value, cell)
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("airflow_default_task_retry_delay", "int", "`1`"),
        ("airflow_update_fab_perms", "bool", "`false`"),
        ("airflow_config", "dict", "`{}`"),
        ("airflow_worker_queues", "list of str", '`["default"]`'),
        ("airflow_dags_git_url", "str", '`""`'),
        ("airflow_version", "str", "`3.3.2`"),
        ("backup_full_schedule", "str", "`Sun *-*-* 02:30:00`"),
        ("airflow_admin_password", "str", "secret"),
        ("airflow_parallelism", "int", "sum of `airflow_worker_concurrency` of all workers"),
    ],
)
def test_values(name: str, kind: str, default: str) -> None:
    assert SHOWN[name][:2] == (kind, default)


def test_nothing_becomes_emphasis() -> None:
    for name, cells in SHOWN.items():
        for cell in cells:
            plain = re.sub(r"`[^`]*`", "", cell)
            assert not re.search(r"(?<!\\)[*<]|\b_|_\b", plain), (name, cell)
