"""With `ansible_become: true` for all hosts, nothing on the controller uses sudo."""

from __future__ import annotations

from pathlib import Path

import yaml

from .conftest import Play


def test_the_authority_is_made_without_sudo(play: Play, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    # Another user, so that root, too, would need sudo; and a sudo that cannot run.
    everywhere = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_exe": "/nonexistent/sudo"}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"control1": {}}, "vars": everywhere}}))
    role = {"name": "airflow_celery.cluster.certificates", "tasks_from": "authority"}
    variables = {"certificates_dir": f"{tmp_path}/pki", "certificates_ca_passphrase": "x" * 20}
    book = tmp_path / "authority.yml"
    tasks = [{"name": "Make the authority", "ansible.builtin.include_role": role}]
    book.write_text(yaml.safe_dump([{"hosts": "control1", "gather_facts": False, "vars": variables, "tasks": tasks}]))
    run = play(str(book), inventory)
    assert run.status == 0, run.refusal or run.output[-2000:]
    assert (tmp_path / "pki" / "ca.pem").is_file()
