"""Run our playbooks for real, against inventories made for the purpose."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "inventory" / "production.example"


@dataclass
class Draft:
    """An inventory in the making: what production.example says, and what a test changes in it."""

    layout: dict[str, Any]
    everywhere: dict[str, Any] = field(default_factory=dict)
    host_vars: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def host(self, name: str) -> dict[str, Any]:
        """The variables of one host."""
        return self.host_vars.setdefault(name, {})

    def group(self, name: str) -> dict[str, Any]:
        """A group of the inventory, wherever it stands."""

        def search(children: dict[str, Any]) -> dict[str, Any] | None:
            if name in children and "hosts" in children[name]:
                return children
            return next(
                (found for child in children.values() if (found := search((child or {}).get("children") or {}))), None
            )

        found = search(self.layout["all"]["children"])
        assert found is not None, f"no group {name} in {EXAMPLE}"
        return found

    def write(self, directory: Path) -> Path:
        """Write the inventory and return its directory."""
        everywhere = directory / "group_vars" / "all"
        everywhere.mkdir(parents=True)
        (directory / "host_vars").mkdir()
        (directory / "hosts.yml").write_text(yaml.safe_dump(self.layout))
        (everywhere / "main.yml").write_text(yaml.safe_dump(self.everywhere))
        if self.secrets:
            (everywhere / "secrets.yml").write_text(yaml.safe_dump(self.secrets))
        for name, text in self.files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        for name, variables in self.host_vars.items():
            (directory / "host_vars" / f"{name}.yml").write_text(yaml.safe_dump(variables))
        return directory


@dataclass(frozen=True)
class Run:
    """What came of a run of ansible-playbook."""

    status: int
    output: str

    @property
    def plays(self) -> list[dict[str, Any]]:
        """Ansible's own account of the run."""
        account, _ = json.JSONDecoder().raw_decode(self.output, self.output.index("{\n"))
        return account["plays"]

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results of all tasks on all hosts."""
        return [
            result | {"host": host}
            for play in self.plays
            for task in play["tasks"]
            for host, result in task["hosts"].items()
        ]

    @property
    def refusal(self) -> str:
        """The message of what failed, or ""."""
        return "\n".join(str(result.get("msg", "")) for result in self.results if result.get("failed"))

    @property
    def findings(self) -> list[str]:
        """Each finding of a refusal."""
        parts: list[str] = []
        for line in self.refusal.splitlines():
            if line[:1].isdigit():
                parts.append(line)
            elif parts:
                parts[-1] += "\n" + line
        return parts


Play = Callable[..., Run]


@pytest.fixture(scope="session")
def play() -> Play:
    """Return a function that runs a playbook of ours on an inventory."""

    def run(
        playbook: str, inventory: Path, *arguments: str, readable: bool = True, path: str = os.environ["PATH"]
    ) -> Run:
        ours = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
        ours["PATH"] = path
        if readable:
            ours |= {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        done = subprocess.run(
            [
                Path(sys.executable).parent / "ansible-playbook",
                "-i",
                inventory,
                PROJECT / "playbooks" / playbook,
                *arguments,
            ],
            cwd=PROJECT,
            env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | ours,
            capture_output=True,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout if readable else done.stdout + done.stderr)

    return run


@pytest.fixture(scope="session")
def secrets(play: Play, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Secrets as our own playbook makes them."""
    directory = tmp_path_factory.mktemp("secrets")
    (directory / "hosts.yml").write_text((EXAMPLE / "hosts.yml").read_text())
    assert play("secrets.yml", directory, "-e", "airflow_secrets_plaintext=true").status == 0
    return yaml.safe_load((directory / "group_vars" / "all" / "secrets.yml").read_text())


@pytest.fixture(scope="session")
def sound(secrets: dict[str, str]) -> Callable[[], Draft]:
    """Return a function that drafts an inventory with nothing wrong in it."""
    layout = yaml.safe_load((EXAMPLE / "hosts.yml").read_text())
    everywhere = yaml.safe_load((EXAMPLE / "group_vars" / "all" / "main.yml").read_text())
    return lambda: Draft(copy.deepcopy(layout), copy.deepcopy(everywhere), {}, dict(secrets))
