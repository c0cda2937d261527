"""What a run writes into the directory of the inventory, and what a user keeps there, leaves the inventory readable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Draft, Play

LOCK = """
- hosts: airflow
  gather_facts: false
  roles: [airflow_celery.cluster.airflow]
  tasks:
    - ansible.builtin.include_role:
        name: airflow_celery.cluster.airflow_runtime
        tasks_from: lock
    - ansible.builtin.include_role:
        name: airflow_celery.cluster.airflow_runtime
        tasks_from: lock_pool
      vars:
        __airflow_runtime_pool_requirements: [tzdata]
"""
# docs/certificates.md recommends `.tls`.
KEPT = (
    ".tls/authority",
    "tls/ca.pem",
    "tls/worker1.key",
    "ca.pem",
    "runtime-lock-0123.partial",
    "files/logo.svg",
    "dags/a_dag.py",
    "plugins/workday.py",
    "README.md",
    "a.whl",
    "LICENSE",
    "known_hosts",
    "id_ed25519",
    "id_rsa",
    "vault-password",
    "vault_pass",
    "webserver_config.py",
    "templates/worker.j2",
    "keys/deploy",
    "ssl/ca",
)
# An inventory, although a file of another kind may have such a name.
SCRIPTS = ("cloud.py", "vault.py", "cloud-client.py")


@pytest.mark.parametrize("name", KEPT)
def test_a_file_that_is_no_inventory(play: Play, sound: Callable[[], Draft], tmp_path: Path, name: str) -> None:
    inventory = sound().write(tmp_path / "inventory")
    file = inventory / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("-----BEGIN CERTIFICATE-----\n\tno inventory: [\n")
    run = play("validate_inventory.yml", inventory, readable=False)
    assert run.status == 0, run.output


def test_a_program_that_prints_a_password_for_a_vault(play: Play, sound: Callable[[], Draft], tmp_path: Path) -> None:
    inventory = sound().write(tmp_path / "inventory")
    for name in ("keyring-client.py", "vault-password.sh"):
        (inventory / name).write_text("#!/bin/sh\necho secret\n")
        (inventory / name).chmod(0o755)
    run = play("validate_inventory.yml", inventory, readable=False)
    assert run.status == 0, run.output


def test_a_script_that_prints_an_inventory(play: Play, sound: Callable[[], Draft], tmp_path: Path) -> None:
    inventory = sound().write(tmp_path / "inventory")
    for number, name in enumerate(SCRIPTS):
        printed = json.dumps({"_meta": {"hostvars": {}}, "airflow_worker": {"hosts": [f"192.0.2.{200 + number}"]}})
        (inventory / name).write_text(f"#!/bin/sh\necho '{printed}'\n")
        (inventory / name).chmod(0o755)
    run = play("validate_inventory.yml", inventory, "--list-hosts", readable=False)
    assert run.status == 0, run.output
    assert [f"192.0.2.{200 + number}" in run.output for number in range(len(SCRIPTS))] == [True] * len(SCRIPTS)


@pytest.fixture
def lock(play: Play, sound: Callable[[], Draft], tmp_path: Path) -> Callable[..., tuple[Path, str, int]]:
    """Return a function that resolves the lock, and returns the inventory, what Ansible printed, and the status."""
    playbook = tmp_path / "lock.yml"
    playbook.write_text(LOCK)

    def run(*requirements: str, index_url: str = "") -> tuple[Path, str, int]:
        draft = sound()
        draft.everywhere |= {
            "airflow_runtime_cache_dir": str(tmp_path / "cache"),
            "airflow_runtime_extra_requirements": list(requirements),
            "airflow_runtime_index_url": index_url,
        }
        inventory = draft.write(tmp_path / "inventory")
        done = play(str(playbook), inventory, "-vvv", "--diff", readable=False)
        settings = set(re.findall(r"lock_runtime (/\S*lock-settings-\w+)", done.output))
        assert settings, done.output
        assert {Path(path).parent for path in settings} == {tmp_path / "cache"}
        assert not [path for path in settings if Path(path).exists()]
        return inventory, done.output, done.status

    return run


def test_a_lock_that_fails_leaves_nothing_and_shows_no_login(
    lock: Callable[..., tuple[Path, str, int]], play: Play
) -> None:
    # Nothing listens on port 9 of the local host.
    inventory, output, status = lock(
        "acme @ https://user:SECRET123@127.0.0.1:9/acme-1-py3-none-any.whl",
        index_url="http://user:SECRET123@127.0.0.1:9/simple",
    )
    assert status != 0
    assert "pip failed" in output, output
    assert "SECRET123" not in output
    assert not [path.name for path in inventory.iterdir() if "lock" in path.name]
    after = play("validate_inventory.yml", inventory, "-e", "{airflow_runtime_extra_requirements: []}", readable=False)
    assert after.status == 0, after.output


def test_a_lock_without_additions_is_the_export_of_uv_lock(
    lock: Callable[..., tuple[Path, str, int]], tmp_path: Path
) -> None:
    _, output, _ = lock()
    [stock] = (tmp_path / "cache").glob("uv-lock-*.txt")
    assert "apache-airflow-core==" in stock.read_text(), output
