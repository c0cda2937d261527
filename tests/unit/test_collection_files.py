"""The files that describe the collection to galaxy, to a clone and to an execution environment agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_requirements_of_a_clone_are_the_dependencies_of_the_collection() -> None:
    found = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    assert {one["name"]: one["version"] for one in found} == GALAXY["dependencies"]


def test_every_collection_that_is_used_is_a_dependency() -> None:
    """The demo is the exception: its machines are containers of podman."""
    used = set()
    for path in [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml"), ROOT / "site.yml"]:
        if "local_machines" not in str(path):
            used |= set(re.findall(r"^ *(?:- )?(\w+\.\w+)\.\w+:", path.read_text(), re.MULTILINE))
    assert used - {"ansible.builtin", "airflow_celery.cluster"} == GALAXY["dependencies"].keys()


def test_an_execution_environment_has_what_a_controller_needs() -> None:
    described = yaml.safe_load((ROOT / "meta/execution-environment.yml").read_text())
    assert described["version"] == 1
    packages = {line.split()[0] for line in (ROOT / described["dependencies"]["system"]).read_text().splitlines()}
    assert packages == {"rsync", "openssh-client", "openssh-clients"}
    lines = (ROOT / described["dependencies"]["python"]).read_text().splitlines()
    python = {line for line in lines if not line.startswith("#")}
    # The version that `make setup` installs.
    assert {line for line in PROJECT["dependency-groups"]["build"] if line.startswith("uv")} <= python
    page = (ROOT / "docs/collection.md").read_text()
    assert "apt-get install rsync openssh-client" in page
    assert all(f"'{line}'" in page for line in python if line.startswith("uv"))
