"""What a host has of a cluster: components, the trusted authority, deployed secrets. Reads, and changes nothing.

Runs on hosts, for the module host_check: no syntax newer than Python 3.8.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import pwd
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

# Written before a run installs the first component, so that an interrupted first run is recognised.
MARKER = "/etc/airflow/cluster.json"
AUTHORITY = "/etc/airflow/tls/ca.pem"
SECRETS = "/etc/airflow/secrets/*.env"
# A worker that missed a rotation has former secrets. The hosts of the control plane take part in each rotation.
WORKER_SECRETS = "worker.env"
PGBACKREST = "/etc/pgbackrest.conf"
# The lock-path of roles/backup/vars/main.yml, by which the configuration is that of this project.
PGBACKREST_TEXT = "/run/postgresql/pgbackrest"
# pgBackRest reads this file instead of the other one.
PGBACKREST_FIRST = "/etc/pgbackrest/pgbackrest.conf"
AIRFLOW_COMMAND = "/usr/local/bin/airflow"
# Each version of the command of this project has one of them.
AIRFLOW_COMMAND_TEXTS = ("/usr/local/sbin/airflow-run", "/etc/airflow/database/airflow.cfg")
POSTGRES_CONFIG = "/etc/postgresql/*/main/conf.d/airflow.conf"
# A removal that keeps the data leaves the configuration under a name with this end. The next deployment takes the data
# over.
KEPT = ".uninstalled"
REDIS_CONFIG = "/etc/redis/redis.conf"
# PostgreSQL of each Debian release, as in roles/postgres/vars/main.yml.
POSTGRES_VERSIONS = {"12": "15", "13": "17"}
FIREWALL_FILE = "/etc/airflow-firewall.nft"
FIREWALL_TABLE = "airflow_firewall"
# Setting of a process: the variable whose value it holds, or of whose URL it holds the password.
DEPLOYED_SECRETS = {
    "AIRFLOW__CELERY__BROKER_URL": "airflow_broker_password",
    "AIRFLOW__CELERY__RESULT_BACKEND": "airflow_results_password",
    "AIRFLOW__CORE__FERNET_KEY": "airflow_fernet_key",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "airflow_database_password",
}
_UNITS = ("api-server@", "dag-processor", "db-clean", "execution-api@", "flower", "log-clean", "scheduler", "triggerer")


@dataclass(frozen=True)
class Component:
    """A part of a cluster that takes over files of a host.

    :param title: name for people.
    :param traces: patterns of the paths that a run would take over.
    :param proofs: patterns of files that only this project writes, with a text that the file holds.
    :param packages: Debian packages that bring the component.
    """

    title: str
    traces: tuple[str, ...]
    proofs: tuple[tuple[str, str], ...]
    packages: str = ""


COMPONENTS = {
    "postgres": Component(
        "PostgreSQL",
        (
            "/etc/postgresql/*/main",
            "/etc/postgresql/*/results",
            "/var/lib/postgresql/*/main/PG_VERSION",
            "/var/lib/postgresql/*/results/PG_VERSION",
        ),
        ((POSTGRES_CONFIG, ""), (POSTGRES_CONFIG + KEPT, "")),
        "postgresql-*",
    ),
    "backup": Component(
        # pgBackRest reads the files of the directory besides its configuration.
        "pgBackRest",
        (PGBACKREST, "/etc/pgbackrest/conf.d/*.conf"),
        ((PGBACKREST, PGBACKREST_TEXT),),
        "pgbackrest",
    ),
    "redis": Component(
        "Redis",
        (
            REDIS_CONFIG,
            "/var/lib/redis/appendonly.aof",
            "/var/lib/redis/appendonlydir",
            "/var/lib/redis/dump.rdb",
        ),
        tuple((path, "/etc/airflow/tls/redis.pem") for path in (REDIS_CONFIG, REDIS_CONFIG + KEPT)),
        "redis-server",
    ),
    "haproxy": Component(
        "HAProxy",
        ("/etc/haproxy/haproxy.cfg",),
        (("/etc/haproxy/haproxy.cfg", "/etc/airflow/tls/haproxy.pem"),),
        "haproxy",
    ),
    "airflow": Component(
        "Airflow",
        (
            *(f"/etc/systemd/system/airflow-{unit}.service" for unit in (*_UNITS, "worker", "worker-watchdog")),
            "/etc/airflow/airflow.cfg",
            "/opt/airflow/*",
            "/usr/local/sbin/airflow",
            "/usr/local/sbin/airflow-run",
            # Of an Airflow whose home is here. This project has its settings elsewhere, also in kept data.
            "/var/lib/airflow/airflow.cfg",
            "/var/lib/airflow/airflow.db",
            "/var/lib/airflow/dags",
        ),
        (
            ("/etc/tmpfiles.d/airflow.conf", "/etc/airflow/secrets"),
            ("/opt/airflow/releases/*/release.json", "airflow_version"),
        ),
    ),
}


def finding(variable: str, value: object, expected: str, remedy: str, about: str = "") -> dict[str, str]:
    """Return a finding as the controller takes it."""
    return {"variable": variable, "value": str(value), "expected": expected, "remedy": remedy, "about": about}


def read(path: str) -> str:
    """Return a file's text, or "" for one that is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _is_replaced(path: str) -> bool:
    """Return whether a kept configuration has a successor, which then shows by itself whose it is."""
    return path.endswith(KEPT) and os.path.exists(path[: -len(KEPT)])


def _matches(root: str, pattern: str) -> list[str]:
    return sorted("/" + os.path.relpath(path, root) for path in glob.glob(root + pattern.lstrip("/")))


def recorded_components(root: str = "/") -> list[str]:
    """Return the components that the marker names. A marker that cannot be read names none."""
    try:
        found = json.loads(read(root + MARKER.lstrip("/")) or "{}").get("components", [])
    except (ValueError, AttributeError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def own_components(root: str = "/") -> list[str]:
    """Return the components that this project has installed: those of the marker, and those that proofs show.

    Clusters that were deployed before there was a marker have the proofs only.
    """
    proven = {
        name
        for name, component in COMPONENTS.items()
        for pattern, text in component.proofs
        for path in _matches(root, pattern)
        if text in read(root + path.lstrip("/")) and not _is_replaced(root + path.lstrip("/"))
    }
    return sorted(proven.union(recorded_components(root)))


def has_account(name: str) -> bool:
    """Return whether an account is there."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def check_components(
    wanted: list[str], take_over: list[str], own: list[str], account: str = "", root: str = "/"
) -> list[dict[str, str]]:
    """Return findings for components that something else has installed.

    :param wanted: components that this cluster will install.
    :param take_over: components that the cluster may take over all the same.
    :param own: as own_components returns them.
    :param account: user of Airflow; "" for one that is not there.
    """
    found = []
    for name in wanted:
        component = COMPONENTS[name]
        if name in own or name in take_over:
            continue
        traces = [path for pattern in component.traces for path in _matches(root, pattern)]
        # An empty file system of its own
        traces = [path for path in traces if os.path.basename(path) != "lost+found"]
        if name == "airflow" and account:
            traces.append(f"user {account}")
        if not traces:
            continue
        removal = f"apt purge {component.packages}, and remove its data" if component.packages else "remove these"
        found.append(
            finding(
                component.title,
                "{}{}, not installed by this cluster".format(", ".join(traces[:4]), ", ..." if traces[4:] else ""),
                f"a host without {component.title}, or with one that this cluster has installed "
                f"(recorded in {MARKER}); a run would take over configuration and data",
                f"use another host; or remove what is there ({removal}); or, if nobody needs it, let the cluster "
                f"take it over: preflight_take_over: [{name}]",
            )
        )
    return found


def check_files(wanted: list[str], take_over: list[str], root: str = "/") -> list[dict[str, str]]:
    """Return findings for files of others that a run takes over also where the component is the cluster's own.

    Parameters are those of check_components.
    """
    found = []
    command, first = (root + path.lstrip("/") for path in (AIRFLOW_COMMAND, PGBACKREST_FIRST))
    # On every host: the first scheduler gets the command, and a run removes the file from the others.
    if wanted and "airflow" not in take_over and os.path.lexists(command):
        text = read(command)
        if not any(own in text for own in AIRFLOW_COMMAND_TEXTS):
            found.append(
                finding(
                    "Airflow",
                    f"{AIRFLOW_COMMAND}, not the command of this cluster",
                    "no such file, or the one that this cluster has installed; a run would replace or remove the file",
                    "move the file, or remove the Airflow that it belongs to (pip uninstall apache-airflow-core); or, "
                    "if nobody needs it, let the cluster take it over: preflight_take_over: [airflow]",
                )
            )
    # Consent does not help: the file would stay in force.
    if "backup" in wanted and os.path.lexists(first) and PGBACKREST_TEXT not in read(first):
        found.append(
            finding(
                "pgBackRest",
                f"{PGBACKREST_FIRST}, not installed by this cluster",
                f"no such file: pgBackRest would read it instead of {PGBACKREST}, which a run writes",
                "use another host; or, if nobody needs the backups that it configures, move the file to another "
                "directory; or set backup_enabled: false",
            )
        )
    return found


def check_postgres_version(debian: str, own: list[str], root: str = "/") -> list[dict[str, str]]:
    """Compare the version of the deployed metadata database with the one of this Debian release."""
    # pg_upgradecluster leaves the former database, without automatic start; pg_dropcluster leaves airflow.conf.
    deployed = [
        path.split("/")[3]
        for path in _matches(root, POSTGRES_CONFIG)
        if "auto" in read(root + path.lstrip("/").replace("conf.d/airflow.conf", "start.conf")).splitlines()
    ]
    version = POSTGRES_VERSIONS.get(debian)
    if "postgres" not in own or not deployed or version is None or version in deployed:
        return []
    return [
        finding(
            "PostgreSQL",
            f"{', '.join(deployed)} holds the metadata database",
            f"PostgreSQL {version}, that of Debian {debian}: this host was upgraded, its database was not",
            "upgrade the database clusters first, as docs/operations/debian.md describes",
        )
    ]


def check_repository(repository: str, restoring: bool, root: str = "/") -> list[dict[str, str]]:
    """Return a finding for backups beside which a run would begin a new database.

    The record of the components does not count: an interrupted restore has written it, and Debian's package has made an
    empty database.

    :param repository: directory of the backups, "" for none.
    """
    path = f"{repository}/backup/main/backup.info"
    if not repository or restoring or not os.path.exists(root + path.lstrip("/")):
        return []
    configured = _matches(root, POSTGRES_CONFIG) or _matches(root, POSTGRES_CONFIG + KEPT)
    if configured and _matches(root, "/var/lib/postgresql/*/main/PG_VERSION"):
        return []
    return [
        finding(
            "backup_repository",
            f"{repository}, with backups of a database that is not on this host",
            "the backups of the database that is here, or an empty directory",
            "restore the database (docs/operations/backup.md); or, for a new database, set backup_repository to "
            "another directory",
        )
    ]


def closing_chains(ruleset: str) -> list[str]:
    """Return the chains of others that drop what they do not know, from ``nft --json list ruleset``."""
    try:
        entries = json.loads(ruleset or "{}").get("nftables", [])
    except (ValueError, AttributeError):
        return []
    chains = {}
    found = set()
    for entry in entries:
        chain, rule = entry.get("chain"), entry.get("rule")
        if chain and chain.get("hook") == "input" and chain.get("table") != FIREWALL_TABLE:
            name = "{} {} {}".format(chain["family"], chain["table"], chain["name"])
            chains[name] = chain
            if chain.get("policy") == "drop":
                found.add(name)
        elif rule:
            name = "{} {} {}".format(rule["family"], rule["table"], rule["chain"])
            kinds = {kind for expression in rule.get("expr", []) for kind in expression} - {"counter", "log", "limit"}
            targets = {str(e["xt"].get("name")) for e in rule.get("expr", []) if isinstance(e.get("xt"), dict)}
            if name in chains and (
                (kinds and kinds <= {"drop", "reject"}) or (kinds == {"xt"} and targets <= {"REJECT", "DROP"})
            ):
                found.add(name)
    return sorted(found)


def check_rules(ruleset: str, iptables: str, own: bool) -> list[dict[str, str]]:
    """Return a finding for packet filter rules of others that would drop the cluster's packets.

    :param iptables: what ``iptables -S INPUT`` prints, for hosts without nft.
    :param own: whether the cluster's firewall is in place already. Then the cluster works beside these rules.
    """
    chains = closing_chains(ruleset)
    if not chains and re.search(r"^-P INPUT DROP|^-A INPUT -j (DROP|REJECT)", iptables, re.MULTILINE):
        chains = ["iptables INPUT"]
    if own or not chains:
        return []
    return [
        finding(
            "firewall",
            f"rules of another application drop packets: {', '.join(chains)}",
            "no other firewall beside that of the cluster: a packet must pass both",
            "remove these rules (nft list ruleset shows them) and the service that loads them, or set "
            "firewall_enabled: false and open the ports of docs/firewall.md there",
        )
    ]


def settings_of(text: str) -> dict[str, str]:
    """Return the variables of a systemd ``EnvironmentFile``, as the filter environment_file writes one."""
    return {
        name: re.sub(r"\\(.)", r"\1", value)
        for name, value in re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE)
    }


def digest(salt: str, value: str) -> str:
    """Return a digest by which controller and host compare a secret without sending it."""
    return hashlib.sha256((salt + value).encode()).hexdigest()


def _secret_in(name: str, value: str) -> str:
    if name == "AIRFLOW__CORE__FERNET_KEY":
        # The first key encrypts.
        return value.split(",")[0].strip()
    return unquote(urlsplit(value).password or "")


def identity(salt: str, root: str = "/") -> dict[str, Any]:
    """Return what this host was deployed with: authority, digests of secrets, and the worker's broker."""
    secrets: dict[str, str] = {}
    broker: dict[str, str] = {}
    for path in _matches(root, SECRETS):
        for name, value in settings_of(read(root + path.lstrip("/"))).items():
            if name not in DEPLOYED_SECRETS:
                continue
            secret = digest(salt, _secret_in(name, value))
            if os.path.basename(path) == WORKER_SECRETS:
                if name == "AIRFLOW__CELERY__BROKER_URL":
                    broker = {"host": str(urlsplit(value).hostname or ""), "password": secret}
            # Flower is another user of the broker.
            elif os.path.basename(path) != "flower.env":
                secrets[DEPLOYED_SECRETS[name]] = secret
    pgbackrest = dict(re.findall(r"^(repo1-[\w-]+)=(.*)$", read(root + PGBACKREST.lstrip("/")), re.MULTILINE))
    repository = pgbackrest.get("repo1-path", "") if "backup" in own_components(root) else ""
    if repository and "repo1-cipher-pass" in pgbackrest:
        secrets["backup_passphrase"] = digest(salt, pgbackrest["repo1-cipher-pass"])
    return {
        "salt": salt,
        "authority": read(root + AUTHORITY.lstrip("/")),
        "secrets": secrets,
        "broker": broker,
        "repository": repository,
    }
