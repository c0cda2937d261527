"""What the inventory says of a cluster: its hosts, its endpoints and its logins."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_client import AirflowClient

PROJECT = Path(__file__).resolve().parent.parent


def ansible_program(name: str) -> str:
    """Return the path of one of Ansible's programs: the one of this Python first."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


@dataclass(frozen=True)
class Cluster:
    """A cluster as its inventory describes it.

    ``ansible-inventory`` does not render templates, so the only one understood
    in the values read here is ``{{ inventory_hostname }}``.
    """

    inventory: Path
    groups: dict[str, list[str]]
    hostvars: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, inventory: Path) -> Cluster:
        """Ask ``ansible-inventory``. Raises RuntimeError with its own words when it fails."""
        answer = subprocess.run(
            [ansible_program("ansible-inventory"), "-i", str(inventory), "--list"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise RuntimeError(f"inventory {inventory} cannot be read:\n{answer.stderr.strip()}")
        found = json.loads(answer.stdout)
        hostvars = found.pop("_meta")["hostvars"]

        def members(group: str) -> list[str]:
            entry = found.get(group, {})
            hosts = list(entry.get("hosts", []))
            for child in entry.get("children", []):
                hosts += [host for host in members(child) if host not in hosts]
            return hosts

        return cls(inventory, {group: members(group) for group in found}, hostvars)

    def value(self, host: str, name: str, default: str | None = None) -> str:
        """Return a variable of a host."""
        value = self.hostvars.get(host, {}).get(name, default)
        if value is None:
            raise RuntimeError(f"{self.inventory}: {host} has no {name}")
        text = re.sub(r"\{\{\s*inventory_hostname\s*\}\}", host, str(value))
        if isinstance(value, dict) or "{{" in text:
            raise RuntimeError(f"{self.inventory}: {name} of {host} is encrypted or computed: {text!r}")
        return text

    def first(self, group: str) -> str:
        """Return the first host of a group."""
        hosts = self.groups.get(group)
        if not hosts:
            raise RuntimeError(f"{self.inventory}: group {group} has no host")
        return hosts[0]

    def address(self, host: str) -> str:
        """Return where this machine reaches the host."""
        return self.value(host, "ansible_host", host)

    @property
    def workers(self) -> list[str]:
        """Names of the workers."""
        return self.groups.get("airflow_worker", [])

    @property
    def url(self) -> str:
        """The front door of the UI and the REST API."""
        host = self.first("haproxy")
        return f"http://{self.address(host)}:{self.value(host, 'haproxy_port', '8080')}"

    @property
    def flower_url(self) -> str:
        """Flower's own page."""
        host = self.first("flower")
        return f"http://{self.address(host)}:{self.value(host, 'flower_port', '5555')}"

    @property
    def admin(self) -> tuple[str, str]:
        """User and password of Airflow's admin."""
        host = self.first("airflow_api_server")
        return self.value(host, "airflow_admin_user", "admin"), self.value(host, "airflow_admin_password")

    @property
    def flower_login(self) -> tuple[str, str]:
        """User and password of Flower."""
        host = self.first("flower")
        return self.value(host, "flower_user", "flower"), self.value(host, "flower_password")

    def client(self) -> AirflowClient:
        """Return a client that speaks as the admin."""
        return AirflowClient(self.url, *self.admin)

    def host_of(self, hostname: str) -> str:
        """Return the inventory's name of the machine that Airflow calls ``hostname``."""
        for host in self.hostvars:
            if hostname in (self.value(host, "airflow_address", host), self.address(host), host):
                return host
        return hostname

    def command(self, pattern: str, *command: str) -> dict[str, list[str]]:
        """Run a command as root on some hosts; return the lines each of them printed.

        Raises RuntimeError when it fails on one of them, or one does not answer.
        """
        answer = subprocess.run(
            [
                *(ansible_program("ansible"), "-i", str(self.inventory), pattern, "--become"),
                *("-m", "ansible.builtin.command"),
                *("-a", json.dumps({"argv": list(command)})),
            ],
            cwd=PROJECT,
            env=os.environ
            | {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            results = json.loads(answer.stdout[answer.stdout.index("{") :])["plays"][0]["tasks"][0]["hosts"]
        except (ValueError, LookupError):
            raise RuntimeError(f"{' '.join(command)} on {pattern}:\n{answer.stdout}{answer.stderr}") from None
        failed = [
            f"{host}: {result.get('stderr') or result.get('msg')}"
            for host, result in results.items()
            if result.get("failed") or result.get("unreachable")
        ]
        if failed or answer.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n" + "\n".join(failed or [answer.stderr]))
        return {host: result["stdout_lines"] for host, result in results.items()}
