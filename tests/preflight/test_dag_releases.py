"""Which releases of the DAGs a host gets, with two hosts that are directories of this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .conftest import PROJECT, Play

ROLE = PROJECT / "roles/airflow_host"
PROGRAM = "/usr/local/sbin/airflow-run"


@pytest.fixture
def deploy(play: Play, tmp_path: Path) -> Callable[..., dict[str, set[str]]]:
    """Return a function that deploys the DAGs, and returns the releases of each host.

    The tasks are those of the role; only the program that asks the database is another one.
    """
    tasks, program, answer = tmp_path / "tasks", tmp_path / "airflow-run", tmp_path / "answer"
    program.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\ncat {answer}\n")
    program.chmod(0o755)
    shutil.copytree(ROLE / "tasks", tasks)
    text = (tasks / "dags.yml").read_text()
    assert PROGRAM in text
    (tasks / "dags.yml").write_text(text.replace(PROGRAM, str(program)))
    (tmp_path / "cache").mkdir()
    (tmp_path / "hosts.ini").write_text(
        "[all:vars]\nansible_connection=local\n[airflow_scheduler]\ncontrol1\n[airflow_worker]\nworker1\nworker2\n"
    )
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text()) | {
        "airflow_dags_dir": str(tmp_path / "dags"),
        "airflow_dags_host_dir": f"{tmp_path}/{{{{ inventory_hostname }}}}",
        "airflow_dags_keep_releases": 2,
        "airflow_runtime_cache_dir": str(tmp_path / "cache"),
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    include = {"ansible.builtin.include_tasks": str(tasks / "dags.yml")}
    book = tmp_path / "dags.yml"
    book.write_text(
        yaml.safe_dump([{"hosts": "airflow_worker", "gather_facts": False, "vars": variables, "tasks": [include]}])
    )

    def run(content: str, *limit: str, used: list[str]) -> dict[str, set[str]]:
        (tmp_path / "dags").mkdir(exist_ok=True)
        (tmp_path / "dags/a.py").write_text(content)
        answer.write_text(json.dumps(used) + "\n")
        for host in ("worker1", "worker2"):
            (tmp_path / host / "releases").mkdir(parents=True, exist_ok=True)
        done = play(str(book), tmp_path / "hosts.ini", *limit)
        assert done.status == 0, done.output
        return {
            host: {path.name for path in (tmp_path / host / "releases").iterdir()} for host in ("worker1", "worker2")
        }

    return run


def current(host: Path) -> str:
    return (host / "current").resolve().name


def test_a_host_gets_the_releases_that_unfinished_runs_use(
    deploy: Callable[..., dict[str, set[str]]], tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    # worker2 is down, or is no part of the cluster yet.
    deploy("1", "--limit", "worker1", used=[])
    assert not asked.exists(), "nothing can be lost before there is a second archive"
    first = current(tmp_path / "worker1")
    deploy("2", "--limit", "worker1", used=[first])
    second = current(tmp_path / "worker1")
    deploy("3", "--limit", "worker1", used=[first])
    newest = current(tmp_path / "worker1")
    # What is no archive of the controller's cannot be copied: another bundle's version, or a release that was pruned.
    found = deploy("3", used=[first, "0123456789ab", "f" * 40])
    assert found == {"worker1": {first, second, newest}, "worker2": {first, newest}}
    assert current(tmp_path / "worker2") == newest
    assert (tmp_path / "worker2/releases" / first / "a.py").read_text() == "1"
    (tmp_path / "worker2/releases" / first / "a.py").unlink()
    # A second run asks nothing where nothing is to be removed, and copies nothing again.
    shutil.rmtree(tmp_path / "worker1/releases" / second)
    asked.unlink()
    assert deploy("3", used=[first])["worker2"] == {first, newest}
    assert not asked.exists()


def test_the_first_deployment_does_not_ask_for_releases_of_another_cluster(
    deploy: Callable[..., dict[str, set[str]]], tmp_path: Path
) -> None:
    (tmp_path / "cache/dags-0123456789ab.tar.gz").touch()
    assert {len(names) for names in deploy("1", used=[]).values()} == {1}
    assert not (tmp_path / "asked").exists()
