"""What site.yml says at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .conftest import Draft, Play


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    """The last play of site.yml without what needs a machine."""
    role = "airflow_celery.cluster.airflow"
    variables = dict.fromkeys(("tasks_from", "defaults_from", "vars_from"), "components")
    parameters = ({"name": role} | variables, {"name": role, "tasks_from": "next_steps"})
    tasks = [{"ansible.builtin.import_role": one} for one in parameters]
    path = tmp_path / "next_steps.yml"
    path.write_text(yaml.safe_dump([{"hosts": "airflow_scheduler[0]", "gather_facts": False, "tasks": tasks}]))
    return path


def lines(play: Play, playbook: Path, inventory: Path) -> list[str]:
    done = play(str(playbook), inventory)
    assert done.status == 0, done.output
    return list(done.results[-1]["msg"])


def test_the_message_names_addresses_logins_and_commands(
    play: Play, sound: Callable[[], Draft], playbook: Path, tmp_path: Path
) -> None:
    inventory = sound().write(tmp_path / "inventory")
    said = lines(play, playbook, inventory)
    assert "Airflow is at https://192.0.2.10" in said
    secrets = f"{inventory}/group_vars/all/secrets.yml"
    logins = [line for line in said if line.startswith("Log in")]
    assert [line.split()[3] for line in logins] == ["admin", "flower"]
    assert all(line.endswith(f" in {secrets}") for line in logins)
    assert any(line.startswith("The authority of the certificate is ") for line in said)
    commands = [line.partition(" run ")[2] for line in said if " run " in line]
    assert [command.split("/")[-1] for command in commands] == ["dags.yml", "status.yml", "backup.yml"]
    assert all(f"-i {inventory}" in command for command in commands)


def test_the_message_leaves_out_what_the_site_does_otherwise(
    play: Play, sound: Callable[[], Draft], playbook: Path, tmp_path: Path
) -> None:
    draft = sound()
    draft.everywhere |= {
        "airflow_web_url": "https://airflow.example.org/",
        "airflow_dags_source": "git",
        "airflow_dags_git_url": "https://git.example.org/dags.git",
        "certificates_ca_file": "/srv/ca.pem",
        **draft.secrets,
    }
    draft.secrets = {}
    said = lines(play, playbook, draft.write(tmp_path / "inventory"))
    assert "Flower is at https://airflow.example.org/flower/" in said
    assert "Log in as admin with airflow_admin_password of the inventory" in said
    assert "DAGs come from https://git.example.org/dags.git" in said
    assert not any("authority" in line or "dags.yml" in line for line in said)
