"""The collection works as `ansible-galaxy` installs it, in a folder that has nothing else of this repository."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import PROJECT, Draft, Run

BIN = Path(sys.executable).parent
VALIDATE = "airflow_celery.cluster.validate_inventory"
SHOW = """
- name: Show
  hosts: worker1
  gather_facts: false
  vars_files: {files}
  tasks:
    - name: Show the paths
      ansible.builtin.debug:
        msg: "{{{{ dict(paths | zip(query('ansible.builtin.vars', *paths))) }}}}"
      vars:
        paths: {paths}
"""


def run(*command: str | Path, cwd: Path) -> Run:
    """Run a program of Ansible with the `ansible.cfg` of a folder."""
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(cwd / "ansible.cfg")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Run(done.returncode, done.stdout)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a minimal `ansible.cfg` and the collection."""
    folder = tmp_path_factory.mktemp("project")
    dist = tmp_path_factory.mktemp("dist")
    (folder / "ansible.cfg").write_text("[defaults]\ncollections_path = collections\n")
    built = run("ansible-galaxy", "collection", "build", "--output-path", dist, PROJECT, cwd=folder)
    assert built.status == 0, built.output
    [archive] = dist.iterdir()
    # Its dependencies come with the `ansible` package.
    done = run("ansible-galaxy", "collection", "install", "--no-deps", "-p", "collections", archive, cwd=folder)
    assert done.status == 0, done.output
    return folder


@pytest.fixture
def folder(installed: Path, sound: Callable[[], Draft], tmp_path: Path) -> Path:
    """A folder of a user: `ansible.cfg`, the collection, an inventory, DAGs."""
    place = tmp_path / "project"
    shutil.copytree(installed, place, symlinks=True)
    sound().write(place / "inventory" / "production")
    (place / "dags").mkdir()
    (place / "dags" / "own.py").touch()
    return place


def paths(folder: Path, playbook_of: str) -> dict[str, Any]:
    """Return the paths of the controller that the roles have as defaults, as a playbook sees them."""
    root = folder / "collections/ansible_collections/airflow_celery/cluster"
    names = [
        name
        for spec in sorted(root.glob("roles/*/meta/argument_specs.yml"))
        for entry in yaml.safe_load(spec.read_text())["argument_specs"].values()
        for name, option in (entry.get("options") or {}).items()
        if option["type"] == "path"
    ]
    files = [str(path) for path in sorted(root.glob("roles/*/defaults/main.yml"))]
    known = {name for file in files for name in yaml.safe_load(Path(file).read_text())}
    playbook = folder / playbook_of / "show.yml"
    playbook.write_text(SHOW.format(files=json.dumps(files), paths=json.dumps(sorted(known & set(names)))))
    shown = run("ansible-playbook", "-i", "inventory/production", playbook, cwd=folder)
    assert shown.status == 0, shown.output
    text = shown.output.partition('"msg": ')[2].rpartition("}\n\nPLAY RECAP")[0]
    return json.loads(text)


def test_no_default_is_a_path_in_the_collection(folder: Path) -> None:
    found = paths(folder, "collections/ansible_collections/airflow_celery/cluster/playbooks")
    assert set(found) >= {"airflow_dags_dir", "certificates_dir", "backup_fetch_dir", "airflow_runtime_lock_dir"}
    assert {name: path for name, path in found.items() if "ansible_collections" in str(path)} == {}
    assert found["airflow_dags_dir"] == f"{folder}/dags"


@pytest.mark.parametrize("place", ["inventory/production/dags", "inventory/dags", "dags"])
def test_the_dags_of_the_user_are_the_default(folder: Path, place: str) -> None:
    (folder / "dags").rename(folder / "moved")
    (folder / "playbooks").mkdir()
    (folder / "moved").rename(folder / place)
    assert Path(paths(folder, "playbooks")["airflow_dags_dir"]).samefile(folder / place)


def test_the_preflight_finds_nothing(folder: Path) -> None:
    done = run(
        "ansible-playbook", "-i", "inventory/production", "airflow_celery.cluster.validate_inventory", cwd=folder
    )
    assert done.status == 0, done.output
    assert "[WARNING]" not in done.output


def test_without_dags_the_preflight_says_where_they_belong(folder: Path) -> None:
    shutil.rmtree(folder / "dags")
    done = run(
        "ansible-playbook", "-i", "inventory/production", "airflow_celery.cluster.validate_inventory", cwd=folder
    )
    assert done.status != 0
    assert f"airflow_dags_dir = '{folder}/dags'" in done.output
    assert "put the DAGs into a directory dags beside the playbook or the inventory" in done.output


def test_a_message_names_a_playbook_as_the_collection_has_it(folder: Path) -> None:
    (folder / "inventory/production/group_vars/all/secrets.yml").unlink()
    done = run("ansible-playbook", "-i", "inventory/production", VALIDATE, cwd=folder)
    assert done.status != 0
    assert "fix: run ansible-playbook -i inventory/production airflow_celery.cluster.secrets" in done.output


def test_what_the_collection_contains(installed: Path) -> None:
    root = installed / "collections/ansible_collections/airflow_celery/cluster"
    assert {path.name for path in root.iterdir()} == {
        *("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json"),
        *("README.md", "README.pt-BR.md", "SECURITY.md", "docs", "examples", "inventory", "meta", "playbooks"),
        *("changelogs", "plugins", "pyproject.toml", "roles", "site.yml", "uv.lock"),
    }
    assert (root / "inventory/production.example/group_vars/all/main.yml").is_file()
    for file in yaml.safe_load((root / "meta/execution-environment.yml").read_text())["dependencies"].values():
        assert (root / file).is_file()


def test_no_inventory_but_the_example_is_shipped() -> None:
    ignored = yaml.safe_load((PROJECT / "galaxy.yml").read_text())["build_ignore"]
    example = ("inventory", "inventory/production.example", "inventory/production.example/group_vars/all/main.yml")
    assert [path for path in example if any(fnmatch(path, pattern) for pattern in ignored)] == []
    name = "production.example"
    others = {name[:length] for length in range(1, len(name))} | {
        f"{name[:length]}-x" for length in range(len(name) + 1)
    }
    others |= {"local", "hosts.yml", "test", f"{name}2"}
    shipped = [other for other in others if not any(fnmatch(f"inventory/{other}", pattern) for pattern in ignored)]
    assert shipped == []


def test_the_page_says_how_to_install_from_a_clone(tmp_path: Path) -> None:
    page = (PROJECT / "docs/collection.md").read_text()
    lines = page.partition("## Install\n")[2].partition("\n## ")[0].splitlines()
    commands = [line.strip() for line in lines if line.startswith("    ")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    subprocess.run(
        ["bash", "-e", "-c", "\n".join(commands)],
        cwd=PROJECT,
        env=environment | {"HOME": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"},
        check=True,
    )
    assert (tmp_path / ".ansible/collections/ansible_collections/airflow_celery/cluster/site.yml").is_file()


def test_the_page_can_be_followed(installed: Path, tmp_path: Path) -> None:
    page = (PROJECT / "docs/collection.md").read_text()
    lines = (
        page.partition("## Deploy from a folder of your own")[2].partition("Edit `inventory/hosts.yml`")[0].splitlines()
    )
    commands = [line.strip() for line in lines if line.startswith("    ")]
    assert [command.split()[0] for command in commands] == ["cp", "mkdir", "ansible-playbook", "ansible-playbook"]
    (tmp_path / "password").write_text("a password")
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\ncollections_path = {installed}/collections\n")
    for command in commands:
        # As written, but for the home directory, the question for the password, and the machines.
        words = shlex.split(
            command.replace("~/.ansible/collections", f"{installed}/collections")
            .replace("--ask-vault-pass", f"--vault-password-file {tmp_path}/password")
            .replace("airflow_celery.cluster.site", VALIDATE)
        )
        if words[0] == "ansible-playbook":
            done = run(*words, cwd=tmp_path)
            assert done.status == 0, done.output
        else:
            subprocess.run(words, cwd=tmp_path, check=True)
    assert (tmp_path / "inventory/group_vars/all/secrets.yml").read_text().startswith("$ANSIBLE_VAULT")
