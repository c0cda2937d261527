"""Stock Airflow on the machines of a cluster: the same release with Airflow's own defaults.

CeleryExecutor, a plain Redis, one PostgreSQL database for metadata and results, one API server with SimpleAuthManager,
no TLS. All processes are transient units of systemd, and all files are in one directory.
"""

from __future__ import annotations

import configparser
import io
import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from airflow_client import AirflowClient
from cluster_inventory import Cluster
from faults.machines import Machines

from bench.progress import step
from bench.shapes import wait_until_healthy

NAME = "acc-bench"
DATABASE = "acc_bench"
HOME = "/var/lib/acc-bench"
USER = "airflow"
PYTHON = "/opt/airflow/current/bin/python"
API_PORT = 18080
REDIS_PORT = 17379
CONTROL_UNITS = {
    "api-server": ("api-server", "--port", str(API_PORT)),
    "scheduler": ("scheduler",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer",),
}
ENVIRONMENT = {
    "AIRFLOW_HOME": HOME,
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "PATH": "/opt/airflow/current/bin:/usr/local/bin:/usr/bin:/bin",
    # Of psycopg and asyncpg: the server offers TLS.
    "PGSSLMODE": "disable",
}


def config(host: str, postgres_port: int, password: str, keys: Mapping[str, str], concurrency: int) -> str:
    """Return an airflow.cfg with what has no default, or one that is for a single host.

    :param host: name of the control node.
    :param keys: ``fernet``, ``jwt`` and ``session``.
    """
    database = f"postgresql+psycopg2://{DATABASE}:{password}@{host}:{postgres_port}/{DATABASE}"
    parser = configparser.RawConfigParser()
    parser.read_dict(
        {
            "core": {
                "executor": "CeleryExecutor",
                "dags_folder": f"{HOME}/dags",
                "load_examples": "False",
                "fernet_key": keys["fernet"],
                "simple_auth_manager_all_admins": "True",
                "execution_api_server_url": f"http://{host}:{API_PORT}/execution/",
            },
            "database": {"sql_alchemy_conn": database},
            "api": {"port": str(API_PORT), "secret_key": keys["session"]},
            "api_auth": {"jwt_secret": keys["jwt"]},
            "celery": {
                "broker_url": f"redis://{host}:{REDIS_PORT}/0",
                "result_backend": f"db+{database}",
                "worker_concurrency": str(concurrency),
            },
        }
    )
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def unit_command(name: str, user: str, *command: str, wait: bool = False) -> list[str]:
    """Return the command that runs a command as a transient unit."""
    return [
        *("systemd-run", "--quiet", "--collect", f"--unit={NAME}-{name}", "--service-type=exec"),
        *(["--wait", "--pipe"] if wait else []),
        *(f"--uid={user}", f"--property=WorkingDirectory={HOME}", "--property=KillMode=mixed"),
        *("--property=TimeoutStopSec=30", "--property=LimitNOFILE=8192"),
        *(f"--setenv={key}={value}" for key, value in ENVIRONMENT.items()),
        *command,
    ]


class Stock:
    """Stock Airflow beside a cluster of local machines whose own processes are stopped meanwhile."""

    def __init__(self, cluster: Cluster, machines: Machines, dags: Path) -> None:
        self._machines = machines
        self._control = cluster.first("control_plane")
        self._workers = cluster.workers
        self._dags = dags
        self._address = cluster.address(self._control)
        self._postgres_port = int(cluster.variables[self._control]["postgres_port"])
        self._password = secrets.token_hex(16)
        self.keys = {
            "fernet": urlsafe_b64encode(os.urandom(32)).decode(),
            "jwt": secrets.token_hex(32),
            "session": secrets.token_hex(32),
        }

    @property
    def _hosts(self) -> list[str]:
        return [self._control, *self._workers]

    def client(self) -> AirflowClient:
        """Return a client; SimpleAuthManager takes every login."""
        return AirflowClient(f"http://{self._address}:{API_PORT}", "admin", "admin")

    def _sql(self, *statements: str, database: str = "postgres") -> str:
        """Run statements as user postgres, each in a transaction of its own."""
        text = "".join(f"{statement};\n" for statement in statements)
        return self._machines.told(
            self._control,
            text,
            *("runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"),
            *("--set=ON_ERROR_STOP=1", "--host=/var/run/postgresql", f"--port={self._postgres_port}", database),
        )

    def _write(self, host: str, path: str, text: str) -> None:
        self._machines.told(host, text, "sh", "-euc", f'umask 027; cat >"$1"; chown {USER}:{USER} "$1"', "write", path)

    def set_up(self) -> None:
        """Make directory, DAGs, database and login; PostgreSQL is told to let the login in without TLS."""
        with step("stock Airflow: set up"):
            self.remove()
            for host in self._hosts:
                self._machines.run(host, "install", "-d", "-o", USER, "-g", USER, "-m", "0750", HOME, f"{HOME}/dags")
                for file in sorted(self._dags.glob("*.py")):
                    self._write(host, f"{HOME}/dags/{file.name}", file.read_text())
            self._sql(
                f"CREATE ROLE {DATABASE} LOGIN PASSWORD '{self._password}'",
                f"CREATE DATABASE {DATABASE} OWNER {DATABASE}",
            )
            line = f"hostnossl {DATABASE} {DATABASE} samenet scram-sha-256"
            self._machines.shell(self._control, f"echo '{line}' >>{self._hba()}")
            self._sql("SELECT pg_reload_conf()")
            self._configure(4)
            self._machines.run(
                self._control, *unit_command("migrate", USER, PYTHON, "-m", "airflow", "db", "migrate", wait=True)
            )

    def _hba(self) -> str:
        return self._sql("SHOW hba_file").strip()

    def _configure(self, concurrency: int) -> None:
        text = config(self._control, self._postgres_port, self._password, self.keys, concurrency)
        for host in self._hosts:
            self._write(host, f"{HOME}/airflow.cfg", text)

    def start(self, concurrency: int) -> None:
        """Start every process, and wait until all components are healthy."""
        with step(f"stock Airflow, worker concurrency {concurrency}: start"):
            self._configure(concurrency)
            redis = ("redis-server", "--port", str(REDIS_PORT), "--bind", "0.0.0.0", "--protected-mode", "no")
            self._machines.run(
                self._control,
                *unit_command("redis", USER, *redis, "--dir", HOME, "--save", "", "--appendonly", "no"),
            )
            for name, command in CONTROL_UNITS.items():
                self._machines.run(self._control, *unit_command(name, USER, PYTHON, "-m", "airflow", *command))
            for host in self._workers:
                self._machines.run(host, *unit_command("worker", USER, PYTHON, "-m", "airflow", "celery", "worker"))
            wait_until_healthy(self.client(), "stock Airflow")

    def stop(self) -> None:
        """Stop every process."""
        for host in self._hosts:
            self._machines.run(host, "systemctl", "stop", f"{NAME}-*.service", check=False)

    def remove(self) -> None:
        """Stop every process, and remove what ``set_up`` made."""
        self.stop()
        hba = self._hba()
        self._machines.run(self._control, "sed", "-i", f"/ {DATABASE} {DATABASE} /d", hba)
        self._sql(
            "SELECT pg_reload_conf()",
            f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)",
            f"DROP ROLE IF EXISTS {DATABASE}",
        )
        for host in self._hosts:
            self._machines.run(host, "rm", "-rf", HOME)
