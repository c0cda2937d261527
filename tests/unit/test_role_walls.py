"""A variable `__ROLE_...` is private to its role; what roles share has a public name in `vars/main.yml` of one role."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.action.validate_inventory import explain_constant
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_rules import SET_BY_THE_ROLES
from sample_inventory import SPECS

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
# Also as an attribute, as in `hostvars[host].__airflow_x`. Names of Python such as `__name__` end with an underscore.
PRIVATE = re.compile(r"(?<!\w)__([a-z]\w*[a-z0-9])(?!\w)")


def owner_of(name: str, roles: Iterable[str]) -> str | None:
    """Return the role with the longest name that a variable begins with."""
    return max((role for role in roles if f"{name}_".startswith(f"{role}_")), key=len, default=None)


def foreign(path: Path, text: str) -> list[str]:
    """Return the private variables of other roles that a file names."""
    here = path.parts[1] if path.parts[0] == "roles" else None
    owners = {name: owner_of(name, ROLES) for name in PRIVATE.findall(text)}
    return [
        f"{path}: __{name} is private to role {owner}" for name, owner in owners.items() if owner not in (None, here)
    ]


def test_no_file_reads_a_private_variable_of_another_role() -> None:
    paths = [ROOT / "site.yml", *ROOT.glob("playbooks/*.yml"), *ROOT.glob("plugins/**/*.yml")]
    paths += {path.resolve() for path in ROOT.glob("roles/**/*") if path.suffix in (".j2", ".yml")}
    assert len(paths) > 200
    found = [line for path in paths for line in foreign(path.relative_to(ROOT), path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "text", "count"),
    [
        ("roles/airflow/tasks/main.yml", "{{ __airflow_x }}", 0),
        ("roles/airflow_worker/tasks/main.yml", "{{ __airflow_worker_x }}", 0),
        ("roles/airflow_worker/tasks/main.yml", "{{ __airflow_x }}", 1),
        ("roles/airflow/tasks/main.yml", "{{ __airflow_worker_x }}", 1),
        ("roles/backup/templates/a.j2", "{{ hostvars[item]['__postgres_x'] }}", 1),
        ("site.yml", "{{ hostvars[item].__airflow_x }}", 1),
        ("playbooks/drain_worker.yml", "{{ __drain_chosen }} {{ __main__ }}", 0),
    ],
)
def test_the_owner_is_the_role_with_the_longest_name(file: str, text: str, count: int) -> None:
    assert len(foreign(Path(file), text)) == count


def test_shared_variables_have_a_comment() -> None:
    """Each of them, because other roles rely on the meaning."""
    for path in ROOT.glob("roles/*/vars/main.yml"):
        lines = path.read_text().splitlines()
        public = [number for number, line in enumerate(lines) if re.match(r"[a-z]\w*:", line)]
        assert all(lines[number - 1].startswith("# ") for number in public), path


def test_an_inventory_cannot_set_a_shared_variable() -> None:
    """Its value would have no effect, and the nearest variable is no remedy."""
    constants = dict.fromkeys(yaml.safe_load((ROOT / "roles/airflow/vars/main.yml").read_text()), "airflow")
    found = Finding("host worker1", "airflow_home_dir", "'/data'", "a variable of docs/variables.md", "rename it")
    explained = explain_constant(found, constants)
    assert (explained.expected, explained.remedy) == ("not set by an inventory: role airflow decides it", "remove it")
    other = Finding("host worker1", "airflow_home_dri", "'/data'", "a variable of docs/variables.md", "rename it")
    assert explain_constant(other, constants) == other


def results(tasks: object) -> Iterator[str]:
    """Yield the names of the facts and results of tasks, also of those in blocks."""
    if isinstance(tasks, list):
        for task in tasks:
            yield from results(task)
    elif isinstance(tasks, dict):
        yield from tasks.get("ansible.builtin.set_fact", {})
        if "register" in tasks:
            yield tasks["register"]
        for part in ("block", "rescue", "always"):
            yield from results(tasks.get(part))


def test_the_inventory_check_knows_the_public_results_of_roles() -> None:
    # An operation that validates the inventory again would refuse them as unknown variables.
    found = {
        name
        for path in (ROOT / "roles").glob("*/tasks/*.yml")
        for name in results(yaml.safe_load(path.read_text()))
        if not name.startswith("_")
    }
    plugins = "\n".join(path.read_text() for path in (ROOT / "plugins").rglob("*.py"))
    facts = set(re.findall(r"set_nonpersistent_facts\(\w+, \{\"(\w+)\"", plugins))
    assert found and facts
    found |= facts
    # A rollback sets the version, which is a variable of an inventory.
    assert sorted(found - SET_BY_THE_ROLES - SPECS.keys()) == []
