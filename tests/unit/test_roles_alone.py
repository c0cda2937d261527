"""Infrastructure roles know nothing of Airflow: each works in a foreign playbook, without other roles and groups."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USED = ("certificates", "firewall", "haproxy", "postgres", "redis", "systemd_unit")
ALONE = {*USED, "debian_packages"}
# The names of the collection and of the firewall's table, and a role that postgres includes if it is asked for backups.
NAMES = {"airflow_celery", "airflow_firewall"}
OPTIONAL = {"postgres": {"backup"}}


def code_of(role: str) -> str:
    """Return what a role does, without comments."""
    folder = ROOT / "roles" / role
    paths = [path for part in ("defaults", "files", "tasks", "templates", "vars") for path in folder.glob(f"{part}/*")]
    assert paths
    return re.sub(r"(?m)^\s*#.*$", "", "\n".join(path.read_text() for path in paths))


@pytest.mark.parametrize("role", sorted(ALONE))
def test_no_variable_of_airflow_is_read(role: str) -> None:
    assert set(re.findall(r"\bairflow_\w+", code_of(role))) - NAMES == set()


@pytest.mark.parametrize("role", sorted(ALONE))
def test_no_other_role_is_needed(role: str) -> None:
    included = set(re.findall(r"name: airflow_celery\.cluster\.(\w+)\n\s+(?:tasks_from|vars|when)", code_of(role)))
    assert included - ALONE - OPTIONAL.get(role, set()) == set()


@pytest.mark.parametrize("role", sorted(ALONE))
def test_no_group_of_the_inventory_is_needed(role: str) -> None:
    assert re.findall(r"groups\[[^]]+\](?! \| default)", code_of(role)) == []


@pytest.mark.parametrize("role", USED)
def test_the_readme_has_the_playbook_that_the_scenario_plays(role: str) -> None:
    playbook = (ROOT / f"molecule/roles/{role}.yml").read_text()
    assert f"```yaml\n{playbook}```" in (ROOT / f"roles/{role}/README.md").read_text()
    assert f"import_playbook: {role}.yml" in (ROOT / "molecule/roles/converge.yml").read_text()
    assert len(playbook.splitlines()) <= 16
    assert set(re.findall(r"(?:role|name): airflow_celery\.cluster\.(\w+)", playbook)) == {role}
    assert set(re.findall(r"\bairflow_\w+", playbook)) - NAMES == set()
