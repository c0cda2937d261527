"""The examples of docs and example inventory that set variables are accepted as they stand."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import WEBSERVER_TEXT
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.webserver_check import flaws
from sample_inventory import SPECS, inventory

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "inventory/production.example/group_vars/all/main.yml"
PAGES = [ROOT / "docs/operations" / name for name in ("login.md", "mail.md", "objects.md")]
# Filled in by Ansible, from a vault.
VAULTED = re.compile(r"\{\{ vault_\w+ \}\}")


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def settings() -> list[tuple[str, dict[str, Any]]]:
    """Return the variables of each example that sets some, with the place of the example."""
    found = [(f"{page.name} {number}", text) for page in PAGES for number, text in enumerate(blocks(page, "yaml"))]
    commented = re.findall(r"^# For example:\n((?:# .*\n)+)", EXAMPLE.read_text(), re.MULTILINE)
    found += [(EXAMPLE.name, re.sub(r"^# ", "", text, flags=re.MULTILINE)) for text in commented]
    found = [(place, VAULTED.sub("a-password-from-a-vault", text)) for place, text in found]
    # Ansible renders templates, and so tests/preflight/test_example_inventory.py has those.
    loaded = [(place, yaml.safe_load(text)) for place, text in found if place != EXAMPLE.name or "{{" not in text]
    return [(place, values) for place, values in loaded if not all(name.startswith("vault_") for name in values)]


@pytest.mark.parametrize(("place", "values"), settings(), ids=[place for place, _ in settings()])
def test_an_example_is_accepted(place: str, values: dict[str, Any], tmp_path: Path) -> None:
    assert values.keys() <= SPECS.keys()
    if "airflow_webserver_config" in values:
        values["airflow_webserver_config"] = str(tmp_path / "webserver_config.py")
        (tmp_path / "webserver_config.py").touch()
    assert check(inventory(everywhere=values | {WEBSERVER_TEXT: ""})) == []


def test_the_bundles_and_their_credentials_are_accepted() -> None:
    """The second block of the page is the vault of the first one."""
    first, second = (yaml.safe_load(text) for text in blocks(ROOT / "docs/operations/dags.md", "yaml")[:2])
    assert check(inventory(everywhere=first | second)) == []
    del first["airflow_runtime_extra_requirements"]
    assert {found.variable for found in check(inventory(everywhere=first | second))} == {
        "airflow_dag_bundles[1].classpath"
    }


def test_there_are_examples() -> None:
    names = {name for _, values in settings() for name in values}
    assert names >= {"airflow_connections", "airflow_variables", "airflow_pools", "airflow_roles", "airflow_users"}
    assert names >= {"airflow_config", "airflow_webserver_config"}


def test_the_examples_of_python_are_python() -> None:
    for page in PAGES:
        for text in blocks(page, "python"):
            ast.parse(text)
    oauth, ldap = blocks(PAGES[0], "python")
    assert flaws(oauth, ["authlib"]) == flaws(ldap, ["python-ldap"]) == []
    assert flaws(oauth, []) and flaws(ldap, [])
