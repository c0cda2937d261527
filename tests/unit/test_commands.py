"""Every command that a message recommends fits a clone and an installed collection, and comes from one function."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants, context
from ansible.module_utils.common.collections import ImmutableDict
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command, playbook

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = Path("/usr/share/ansible/collections/ansible_collections/airflow_celery/cluster")
NAMES = sorted({path.stem for path in ROOT.glob("playbooks/*.yml")})
# group_vars/all/secrets.yml has the name of a playbook.
FILE_OF_OURS = re.compile(rf"\b(?:playbooks/\w+|{'|'.join(name for name in NAMES if name != 'secrets')})\.yml\b")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets the inventories of the run."""
    monkeypatch.chdir(ROOT)
    return lambda *inventories: monkeypatch.setattr(context, "CLIARGS", ImmutableDict(inventory=list(inventories)))


def test_the_form_of_a_clone(given: Callable[..., None]) -> None:
    given("inventory/production")
    assert command("site") == "ansible-playbook -i inventory/production site.yml"
    assert command("drain_worker", "-e cluster_worker=w1") == (
        "ansible-playbook -i inventory/production playbooks/drain_worker.yml -e cluster_worker=w1"
    )


def test_the_form_of_an_installed_collection(given: Callable[..., None]) -> None:
    given("a b.yml", "/srv/hosts")
    assert command("secrets", root=INSTALLED) == (
        "ansible-playbook -i 'a b.yml' -i /srv/hosts airflow_celery.cluster.secrets"
    )
    assert playbook("site", INSTALLED) == "airflow_celery.cluster.site"


def test_the_inventory_of_ansible_cfg_is_not_named(given: Callable[..., None]) -> None:
    given(*constants.DEFAULT_HOST_LIST)
    assert command("site") == "ansible-playbook site.yml"


def test_the_options_that_open_the_vault_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    asked = ImmutableDict(inventory=["inventory/production"], ask_vault_pass=True, become_ask_pass=True)
    monkeypatch.setattr(context, "CLIARGS", asked)
    assert command("drain_worker", "-e cluster_worker=w1") == (
        "ansible-playbook -i inventory/production playbooks/drain_worker.yml --ask-vault-pass --ask-become-pass "
        "-e cluster_worker=w1"
    )
    read = ImmutableDict(inventory=["inventory/production"], vault_password_files=[str(ROOT / ".vault-password")])
    monkeypatch.setattr(context, "CLIARGS", read)
    assert command("site") == "ansible-playbook -i inventory/production site.yml --vault-password-file .vault-password"
    named = ImmutableDict(inventory=["inventory/production"], ask_pass=True, vault_ids=["dev@prompt"])
    monkeypatch.setattr(context, "CLIARGS", named)
    assert command("site") == "ansible-playbook -i inventory/production site.yml --ask-pass --vault-id dev@prompt"


def test_from_another_directory_the_paths_are_absolute(given: Callable[..., None], tmp_path: Path) -> None:
    given("/srv/inventory")
    assert command("site", root=tmp_path) == f"ansible-playbook -i /srv/inventory {tmp_path}/site.yml"


def texts_of_python(path: Path) -> Iterator[str]:
    """Yield the strings of a file, but for docstrings and the documentation of Ansible."""
    tree = ast.parse(path.read_text())
    ignored: set[ast.AST] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            ignored.add(body[0].value)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
            ignored.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in ignored:
            yield node.value


def texts_of_tasks(node: Any) -> Iterator[str]:
    """Yield the messages in a file of tasks or plays."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("msg", "fail_msg", "success_msg", "because") and isinstance(value, str):
                yield value
            yield from texts_of_tasks(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts_of_tasks(value)


def test_no_message_names_a_file_that_an_installed_collection_does_not_have() -> None:
    texts: list[tuple[Path, str]] = []
    for path in [*ROOT.glob("plugins/**/*.py"), *ROOT.glob("roles/*/files/**/*.py")]:
        texts += [(path, text) for text in texts_of_python(path) if path.name != "commands.py"]
    for path in [*ROOT.glob("roles/*/*/*.yml"), *ROOT.glob("playbooks/*.yml"), ROOT / "site.yml"]:
        texts += [(path, text) for text in texts_of_tasks(yaml.safe_load(path.read_text()))]
    assert len(texts) > 500
    found = [f"{path.relative_to(ROOT)}: {text}" for path, text in texts if FILE_OF_OURS.search(text)]
    assert found == []


def test_every_recommended_playbook_exists() -> None:
    sources = [*ROOT.glob("plugins/**/*.py"), *ROOT.glob("roles/**/*.yml"), *ROOT.glob("playbooks/*.yml")]
    text = "\n".join(path.read_text() for path in sources)
    names = set(re.findall(r"'(\w+)'\s*\|\s*airflow_celery\.cluster\.command", text))
    names |= set(re.findall(r"(?:command|playbook)\([\"'](\w+)[\"']", text))
    assert names >= {"site", "secrets", "restore", "rollback", "undrain_worker"}
    assert names - set(NAMES) == set()
