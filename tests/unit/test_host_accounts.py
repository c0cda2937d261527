"""The accounts of a host, as systemd-sysusers makes them from the template of role airflow_host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.module_utils import parts

ROLES = Path(__file__).resolve().parents[2] / "roles"
SYSUSERS = shutil.which("systemd-sysusers")
pytestmark = pytest.mark.skipif(SYSUSERS is None, reason="needs systemd-sysusers")


def load(path: str) -> dict[str, Any]:
    """Return a YAML file of the roles."""
    return yaml.safe_load((ROLES / path).read_text())


def make(root: Path, processes: list[str]) -> str:
    """Make the accounts below a directory, and return what systemd-sysusers says."""
    (root / "etc").mkdir(exist_ok=True)
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)
    environment.filters["comment"] = lambda text: f"# {text}"
    template = environment.from_string((ROLES / "airflow_host/templates/sysusers.conf.j2").read_text())
    values = {"ansible_managed": "managed", "airflow_user": "airflow", "airflow_home_dir": "/var/lib/airflow"}
    (root / "airflow.conf").write_text(template.render(**values, __airflow_host_processes=processes))
    done = subprocess.run(
        [str(SYSUSERS), f"--root={root}", root / "airflow.conf"], capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def users(root: Path) -> dict[str, list[str]]:
    """Return the users as name and the other fields."""
    lines = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    return {name: fields for name, *fields in lines}


def test_each_process_has_a_user_of_the_one_group_and_keeps_the_number(tmp_path: Path) -> None:
    said = make(tmp_path, ["worker"])
    # By this word the role sees a change.
    assert "Creating " in said
    found = users(tmp_path)
    assert set(found) == {"airflow", "airflow-worker"}
    assert found["airflow"][2] == found["airflow-worker"][2]
    assert [fields[-2:] for fields in found.values()] == [
        ["/var/lib/airflow", "/usr/sbin/nologin"],
        ["/var/lib/airflow/worker", "/usr/sbin/nologin"],
    ]
    assert (tmp_path / "etc/group").read_text() == f"airflow:x:{found['airflow'][2]}:\n"
    assert "Creating " not in make(tmp_path, ["worker"])
    make(tmp_path, ["scheduler", "worker"])
    assert users(tmp_path) == found | {"airflow-scheduler": users(tmp_path)["airflow-scheduler"]}


def test_an_account_of_an_earlier_deployment_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("airflow:x:123:\n")
    (tmp_path / "etc/passwd").write_text("airflow:x:321:123::/var/lib/airflow:/usr/sbin/nologin\n")
    make(tmp_path, ["worker"])
    assert users(tmp_path)["airflow"][1:3] == ["321", "123"]
    assert users(tmp_path)["airflow-worker"][2] == "123"


def test_the_processes_of_a_group_are_those_of_its_parts() -> None:
    groups = load("airflow/vars/main.yml")["airflow_group_processes"]
    specs = load("airflow/meta/argument_specs.yml")["argument_specs"]
    choices = specs["process"]["options"]["airflow_process"]["choices"]
    assert sorted([*(name for names in groups.values() for name in names), "database"]) == sorted(choices)
    for group, names in groups.items():
        assert {
            parts.part_of(f"airflow-{name}.service") or parts.part_of(f"airflow-{name}@1.service") for name in names
        } <= {part for part in parts.PARTS if part.groups == (group,)}
