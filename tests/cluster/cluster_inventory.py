"""What the inventory says of a cluster: its hosts, its endpoints and its logins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from airflow_client import AirflowClient, ApiError, http

PROJECT = Path(__file__).resolve().parents[2]

SECRETS = (
    "airflow_admin_password",
    "airflow_api_secret_key",
    "airflow_broker_password",
    "airflow_database_password",
    "airflow_fernet_key",
    "airflow_jwt_secret",
    "airflow_login_jwt_secret",
    "airflow_results_password",
    "airflow_session_secret",
    "backup_passphrase",
    "certificates_ca_passphrase",
    "flower_broker_password",
    "flower_password",
)
# Variables that are read here, with the roles whose defaults they have.
ROLES = {
    "airflow_admin_user": "airflow",
    "airflow_worker_concurrency": "airflow_worker",
    "flower_user": "flower",
    "haproxy_execution_api_port": "haproxy",
    "haproxy_port": "haproxy",
    "postgres_port": "postgres",
    "postgres_results_port": "postgres",
    "redis_port": "redis",
}
# Further variables that are read here, and what they are where the inventory does not set them.
FALLBACKS: dict[str, Any] = {
    "airflow_address": None,
    "airflow_config": {},
    "ansible_host": None,
    "ansible_port": 22,
    "ansible_ssh_common_args": "",
    "ansible_ssh_private_key_file": None,
    "ansible_user": None,
    "backup_fetch_dir": "",
    "certificates_ca_file": "",
    "certificates_dir": "",
    "inventory_dir": None,
    "local_machines_prefix": None,
}


def default_of(name: str, role: str) -> Any:
    """Return the default of a variable, as its role has it."""
    return yaml.safe_load((PROJECT / f"roles/{role}/defaults/main.yml").read_text())[name]


def ansible_program(name: str) -> str:
    """Return the path of one of Ansible's programs: the one of this Python first."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def run_ansible(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs in the project's directory; its output is kept."""
    environment = {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    return subprocess.run(
        [ansible_program(program), *arguments],
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def ad_hoc(inventory: Sequence[str], pattern: str, module: str, arguments: object, *options: str) -> dict[str, Any]:
    """Run one module on some hosts; return each host's result.

    Raises RuntimeError when it fails on one of them, or one does not answer.
    """
    answer = run_ansible(
        *("ansible", *inventory, "--playbook-dir", str(PROJECT), pattern, "-m", module),
        *("-a", json.dumps(arguments), *options),
    )
    try:
        # Other callbacks may print something after the JSON.
        decoded, _ = json.JSONDecoder().raw_decode(answer.stdout, answer.stdout.index("{"))
        results = decoded["plays"][0]["tasks"][0]["hosts"]
    except (ValueError, LookupError):
        raise RuntimeError(f"ansible {pattern} -m {module}:\n{answer.stdout}{answer.stderr}") from None
    failed = [
        f"{host}: {result.get('stderr') or result.get('msg')}"
        for host, result in results.items()
        if result.get("failed") or result.get("unreachable")
    ]
    if failed or answer.returncode:
        raise RuntimeError(f"ansible {pattern} -m {module}:\n" + "\n".join(failed or [answer.stderr]))
    return dict(results)


@dataclass(frozen=True)
class Cluster:
    """A cluster as its inventory describes it, with every variable rendered and decrypted."""

    inventories: tuple[Path, ...]
    groups: dict[str, list[str]]
    variables: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, *inventories: Path) -> Cluster:
        """Ask Ansible. Raises RuntimeError with its own words when it cannot read the inventory."""
        options = [option for inventory in inventories for option in ("-i", str(inventory))]
        # ansible-inventory knows the groups but renders no template; `debug` renders, and knows no groups.
        defaults = FALLBACKS | {name: default_of(name, role) for name, role in ROLES.items()}
        names = ", ".join(
            [f"'{name}': {name} | default({json.dumps(value)}, true)" for name, value in defaults.items()]
            + [f"'{name}': {name} | default('')" for name in SECRETS]
        )
        names = names.replace("null", "none")
        message = {"msg": f"{{{{ {{'groups': groups, 'variables': {{ {names} }} }} }}}}"}
        results = ad_hoc(options, "all", "ansible.builtin.debug", message)
        if not results:
            raise RuntimeError(f"{' '.join(options)}: no host")
        return cls(
            inventories,
            dict(next(iter(results.values()))["msg"]["groups"]),
            {host: result["msg"]["variables"] for host, result in results.items()},
        )

    @property
    def options(self) -> list[str]:
        """Options that hand this inventory to one of Ansible's programs."""
        return [option for inventory in self.inventories for option in ("-i", str(inventory))]

    def first(self, group: str) -> str:
        """Return the first host of a group."""
        hosts = self.groups.get(group)
        if not hosts:
            raise RuntimeError(f"{' '.join(self.options)}: group {group} has no host")
        return hosts[0]

    def address(self, host: str) -> str:
        """Return where this machine reaches the host."""
        return self.variables[host]["ansible_host"] or host

    def password(self, name: str) -> str:
        """Return a secret of the cluster."""
        value = self.variables[self.first("control_plane")][name]
        if not value:
            raise RuntimeError(f"{' '.join(self.options)}: {name} is not set")
        return str(value)

    @property
    def workers(self) -> list[str]:
        """Names of the workers."""
        return self.groups.get("airflow_worker", [])

    @property
    def ca_file(self) -> Path:
        """The authority that signed the certificates of the cluster."""
        variables = self.variables[self.first("haproxy")]
        own = Path(variables["certificates_dir"] or Path(variables["inventory_dir"]) / ".pki") / "ca.pem"
        return Path(variables["certificates_ca_file"] or own)

    @property
    def url(self) -> str:
        """The front door of the UI and the REST API."""
        host = self.first("haproxy")
        port = int(self.variables[host]["haproxy_port"])
        return f"https://{self.address(host)}" + ("" if port == 443 else f":{port}")

    @property
    def flower_url(self) -> str:
        """Flower's pages."""
        return f"{self.url}/flower"

    @property
    def admin(self) -> tuple[str, str]:
        """User and password of Airflow's admin."""
        host = self.first("airflow_api_server")
        return self.variables[host]["airflow_admin_user"], self.password("airflow_admin_password")

    @property
    def flower_login(self) -> tuple[str, str]:
        """User and password of Flower."""
        host = self.first("flower")
        return self.variables[host]["flower_user"], self.password("flower_password")

    def client(self) -> AirflowClient:
        """Return a client that speaks as the admin, also after a rotation of secrets."""
        return AirflowClient(
            self.url, *self.admin, self.ca_file, read_password=lambda: Cluster.read(*self.inventories).admin[1]
        )

    def host_of(self, hostname: str) -> str:
        """Return the inventory's name of the machine that Airflow calls ``hostname``."""
        for host, variables in self.variables.items():
            if hostname in (variables["airflow_address"], variables["ansible_host"], host):
                return host
        return hostname

    def flower_workers(self) -> set[str]:
        """Return the names of the workers whose events say that they are alive now."""
        url = f"{self.flower_url}/api/workers?status=1"
        status, text = http("GET", url, login=self.flower_login, ca_file=self.ca_file)
        if status != 200:
            raise ApiError("GET", url, status, text)
        return {name.removeprefix("celery@") for name, alive in json.loads(text).items() if alive}

    def command(self, pattern: str, *command: str) -> dict[str, list[str]]:
        """Run a command as root on some hosts; return the lines each of them printed."""
        results = ad_hoc(self.options, pattern, "ansible.builtin.command", {"argv": list(command)}, "--become")
        return {host: result["stdout_lines"] for host, result in results.items()}
