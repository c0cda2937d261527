"""playbooks/secrets.yml for real: what it makes, keeps, encrypts and refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.secret_values import GENERATORS

from .conftest import EXAMPLE, PROJECT, Play, Run

PLAINTEXT = ("-e", "airflow_secrets_plaintext=true")


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    directory = tmp_path / "inventory"
    directory.mkdir()
    (directory / "hosts.yml").write_text((EXAMPLE / "hosts.yml").read_text())
    return directory


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "vault-password"
    path.write_text("the vault's own password\n")
    return path


def file_of(inventory: Path) -> Path:
    return inventory / "group_vars" / "all" / "secrets.yml"


def changed(run: Run) -> bool:
    assert run.status == 0, run.output
    return any(result.get("changed") for result in run.results)


def test_it_makes_all_once_and_a_second_run_changes_nothing(play: Play, inventory: Path) -> None:
    assert changed(play("secrets.yml", inventory, *PLAINTEXT))
    file = file_of(inventory)
    assert file.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(file.read_text()).keys() == GENERATORS.keys()
    before = (file.read_text(), file.stat().st_mtime_ns)
    assert not changed(play("secrets.yml", inventory, *PLAINTEXT))
    assert (file.read_text(), file.stat().st_mtime_ns) == before
    file.chmod(0o644)
    assert changed(play("secrets.yml", inventory, *PLAINTEXT))
    assert file.stat().st_mode & 0o777 == 0o600


def test_check_mode_writes_nothing(play: Play, inventory: Path) -> None:
    assert changed(play("secrets.yml", inventory, *PLAINTEXT, "--check", "--diff"))
    assert not (inventory / "group_vars").exists()


def test_what_is_there_is_kept_and_what_is_missing_is_added(play: Play, inventory: Path) -> None:
    file = file_of(inventory)
    file.parent.mkdir(parents=True)
    file.write_text("---\n# mine\nairflow_admin_password: chosen-by-a-person\nsomething_else: 1\n")
    elsewhere = file.parent / "main.yml"
    elsewhere.write_text("flower_password: set-in-another-file\n")
    assert changed(play("secrets.yml", inventory, *PLAINTEXT))
    assert file.read_text().startswith("---\n# mine\nairflow_admin_password: chosen-by-a-person\nsomething_else: 1\n")
    assert yaml.safe_load(file.read_text()).keys() == (GENERATORS.keys() - {"flower_password"}) | {"something_else"}


def test_with_a_vault_password_the_file_is_encrypted(play: Play, inventory: Path, password_file: Path) -> None:
    vault = ("--vault-password-file", str(password_file))
    assert changed(play("secrets.yml", inventory, *vault))
    file = file_of(inventory)
    assert file.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    assert not changed(play("secrets.yml", inventory, *vault))
    assert file.read_text() == before

    def view() -> dict[str, str]:
        command = [str(Path(sys.executable).parent / "ansible-vault"), "view", *vault, str(file)]
        return yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    made = view()
    assert made.keys() == GENERATORS.keys()
    assert play("validate_inventory.yml", inventory, *vault).status == 0

    # A file in clear is encrypted as soon as there is a password, and its values stay.
    file.write_text(yaml.safe_dump(made))
    assert changed(play("secrets.yml", inventory, *vault))
    assert file.read_text().startswith("$ANSIBLE_VAULT")
    assert view() == made


def test_without_a_vault_password_it_refuses_and_says_what_to_do(play: Play, inventory: Path) -> None:
    run = play("secrets.yml", inventory)
    assert run.status != 0
    assert not file_of(inventory).exists()
    for piece in ("airflow_fernet_key", str(file_of(inventory)), "--ask-vault-pass", "airflow_secrets_plaintext=true"):
        assert piece in run.refusal


def test_it_does_not_hide_a_file_that_ansible_reads_today(play: Play, inventory: Path) -> None:
    (inventory / "group_vars").mkdir()
    (inventory / "group_vars" / "all.yml").write_text("flower_port: 5556\n")
    run = play("secrets.yml", inventory, *PLAINTEXT)
    assert run.status != 0
    assert "all.yml" in run.refusal
    assert "mv " in run.refusal
    assert not (inventory / "group_vars" / "all").exists()


def test_no_value_is_ever_printed(play: Play, inventory: Path) -> None:
    def loud(playbook: str) -> str:
        return play(playbook, inventory, *PLAINTEXT, "-vvvv", "--diff", readable=False).output

    output = loud("secrets.yml")
    first = yaml.safe_load(file_of(inventory).read_text())
    lost = first.pop("flower_password")
    file_of(inventory).write_text(yaml.safe_dump(first))
    output += loud("secrets.yml") + loud("validate_inventory.yml")
    made = yaml.safe_load(file_of(inventory).read_text())
    assert made.keys() == GENERATORS.keys()
    assert [name for name, value in [*made.items(), ("lost", lost)] if value in output] == []


@pytest.mark.parametrize("again", ["a-word", "another"])
def test_a_typed_password_is_asked_for_twice_before_the_first_encryption(inventory: Path, again: str) -> None:
    def run(*passwords: str) -> str:
        """Type passwords at a terminal, one for each question; return what the run printed."""
        child = pexpect.spawn(
            str(Path(sys.executable).parent / "ansible-playbook"),
            ["-i", str(inventory), str(PROJECT / "playbooks/secrets.yml"), "--ask-vault-pass"],
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            encoding="utf-8",
            timeout=60,
        )
        for password in passwords:
            child.expect("(?i)vault password: ")
            child.sendline(password)
        child.expect(pexpect.EOF)
        child.close()
        return str(child.before)

    said = run("a-word", again)
    if again != "a-word":
        assert "is not written. Expected: the same vault password twice" in " ".join(said.split())
        assert not file_of(inventory).exists()
        return
    assert "changed=1" in said
    assert file_of(inventory).read_text().startswith("$ANSIBLE_VAULT")
    # Of a file that is encrypted already, a wrong password is found at once.
    assert "changed=0" in run("a-word")
