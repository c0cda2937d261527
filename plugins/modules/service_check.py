#!/usr/bin/python
"""Connect to databases and brokers that are not the cluster's own, before anything is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: service_check
short_description: Check an external database or broker
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Connects from the host with the URL that the host will use, reads, and changes nothing. Needs nothing but Python.
  - Does not fail on a finding, so that the findings of all hosts can be reported together.
  - The action plugin of this name reads URLs and authorities from variables, so that no argument has a password.
options:
  services:
    description: Services that this host will use.
    type: list
    elements: dict
    required: true
    suboptions:
      variable:
        description: Variable that holds the URL.
        type: str
        required: true
      ca_variable:
        description: Variable that names a file on the controller with the authorities of the service, or is empty.
        type: str
        required: true
      part:
        description: What the service is for.
        type: str
        choices: [metadata, results, broker, flower]
        required: true
      connections:
        description: Connections that the cluster may hold to a database at once. Fewer are a warning.
        type: int
        default: 0
      url:
        description: The URL. The action plugin sets it from O(services[].variable).
        type: str
        default: ""
      ca:
        description: Authorities in PEM form. The action plugin reads them from the file of O(services[].ca_variable).
        type: str
        default: ""
  timeout:
    description: Seconds after which an attempt to connect is given up.
    type: int
    default: 5
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check the external services
  airflow_celery.cluster.service_check:
    services:
      - variable: airflow_database_url
        ca_variable: airflow_database_ca_file
        part: metadata
"""

RETURN = r"""
findings:
  description: What is missing, as M(airflow_celery.cluster.host_check) returns it.
  returned: always
  type: list
  elements: dict
"""

import ssl
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.service_clients import (
    Postgres,
    Redis,
    ServiceError,
)
from ansible_collections.airflow_celery.cluster.plugins.module_utils.service_urls import Service, parse, with_tls

LEAST_POSTGRES = 13
LEAST_REDIS = 6
# A command of each kind that a worker or the scheduler sends. Between MULTI and DISCARD Redis checks the rights to a
# command, and does not execute it.
COMMANDS = """LPUSH default x|RPUSH default x|RPOP default|BRPOP default 1|LLEN default|EXISTS default
LRANGE default 0 1|LREM default 1 x|DEL default
PEXPIRE default 1|HSET unacked x x|HGET unacked x|HDEL unacked x|SADD _kombu.binding.celery x
SREM _kombu.binding.celery x|SMEMBERS _kombu.binding.celery|ZADD unacked_index 1 x|ZREM unacked_index x
ZRANGEBYSCORE unacked_index 0 1|ZRANGE unacked_index 0 1 BYSCORE|PUBLISH /0.celeryev/worker.heartbeat x
SET unacked_mutex x|GET unacked_mutex|TIME|UNWATCH
EVALSHA 0000000000000000000000000000000000000000 0""".replace("\n", "|").split("|")
FLOWER_COMMANDS = ["LLEN default"]

DATABASE_QUERY = """SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding'),
    current_schema(), coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
    current_setting('max_connections')::int, pg_is_in_recovery(), current_database(), current_user,
    (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND NOT pg_has_role(tableowner, 'USAGE')),
    (SELECT count(*) FROM pg_class WHERE relname IN ('celery_taskmeta', 'celery_tasksetmeta')
        AND relnamespace = current_schema()::regnamespace
        AND has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
        AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))"""

Finding = dict[str, str]


class Report:
    """The findings about one service."""

    def __init__(self, variable: str, service: Service) -> None:
        self.findings: list[Finding] = []
        self._variable = variable
        self._service = service

    def add(self, value: str, expected: str, remedy: str) -> None:
        """Add a finding."""
        self.findings.append(
            {
                "variable": self._variable,
                "value": f"{self._service.place}, {value}",
                "expected": expected,
                "remedy": remedy,
                "about": "",
            }
        )


def check_database(
    entry: dict[str, Any], session: Postgres, report: Report, warn: Callable[[str], None], place: str
) -> None:
    """Check a reachable database."""
    row = session.row(DATABASE_QUERY)
    version, encoding, schema, create, most, standby, name, user, foreign, tables = row
    if int(version or 0) < LEAST_POSTGRES:
        report.add(f"PostgreSQL {version}", f"PostgreSQL {LEAST_POSTGRES} or newer", "upgrade the server")
    if encoding != "UTF8":
        report.add(
            f"encoding {encoding}",
            "a database with encoding UTF8",
            f"CREATE DATABASE {name} OWNER {user} ENCODING 'UTF8' TEMPLATE template0",
        )
    if standby == "t":
        report.add("a standby, which is read-only", "the primary", f"set {entry['variable']} to the primary's address")
    if entry["part"] == "metadata":
        ready = create == "t"
        if int(foreign or 0):
            report.add(
                f"{foreign} tables in schema {schema} that belong to other roles than {user}",
                "a database whose tables belong to the login, which migrates them",
                f"as their owner: REASSIGN OWNED BY ... TO {user}, or name another database in {entry['variable']}",
            )
    else:
        ready = create == "t" or int(tables or 0) == 2
    if not ready:
        report.add(
            f"no right of {user} to create tables in schema {schema or 'public'}",
            "a login that may create tables"
            + ("" if entry["part"] == "metadata" else ", or the tables of Celery's results"),
            f"in database {name}: GRANT CREATE, USAGE ON SCHEMA {schema or 'public'} TO {user}, or have {user} own it",
        )
    if int(most or 0) < entry["connections"]:
        warn(
            f"{entry['variable']} ({place}): max_connections = {most}, and the cluster may hold {entry['connections']} "
            "connections to it. Raise it, or lower airflow_config.database.sql_alchemy_pool_size and _max_overflow, or "
            "airflow_worker_concurrency."
        )


def redis_facts(session: Redis) -> dict[str, str]:
    """Return what Redis says of itself; nothing if the login may not ask."""
    try:
        text = str(session.call("INFO"))
    except ServiceError:
        return {}
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def check_broker(entry: dict[str, Any], session: Redis, report: Report) -> None:
    """Check a reachable Redis."""
    facts = redis_facts(session)
    version = facts.get("redis_version", "")
    if version and int(version.split(".")[0]) < LEAST_REDIS:
        report.add(f"Redis {version}", f"Redis {LEAST_REDIS} or newer", "upgrade the server")
    if facts.get("cluster_enabled") == "1":
        report.add(
            "cluster mode",
            "one primary; Celery's keys are on several nodes of a Redis cluster, and its transactions fail",
            "use an instance with cluster mode disabled",
        )
    if facts.get("role") == "slave":
        report.add("a replica, which is read-only", "the primary", f"set {entry['variable']} to the primary's address")
    if facts.get("maxmemory_policy", "").startswith("allkeys"):
        report.add(
            f"maxmemory-policy {facts['maxmemory_policy']}",
            "noeviction: with this policy a full Redis drops messages, and their tasks never run",
            "set maxmemory-policy to noeviction",
        )
    refused = []
    # Flower reads only, and may have no right to DISCARD.
    writes = entry["part"] != "flower"
    for command in ["MULTI", *COMMANDS, "DISCARD"] if writes else FLOWER_COMMANDS:
        try:
            session.call(*command.split())
        except ServiceError as error:
            refused.append(f"{command.split()[0]} ({error})")
    if refused:
        report.add(
            f"without the right to {'; '.join(refused[:3])}{' and more' if len(refused) > 3 else ''}",
            "a login with the rights of docs/external-services.md",
            "give them to the user: ACL SETUSER, or the access string of the provider",
        )


def explain(error: Exception, entry: dict[str, Any], service: Service) -> tuple[str, str, str]:
    """Return value, expectation and remedy for a service that cannot be used."""
    variable, ca_variable = entry["variable"], entry["ca_variable"]
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted: {error.verify_message}",
            f"a certificate for {service.host}, signed by "
            + ("an authority of " + ca_variable if entry["ca"] else "an authority that this host trusts"),
            f"set {ca_variable} to the authority of the service, or {variable} to a name that is in the certificate"
            + ("" if entry["ca"] else "; a public authority needs package ca-certificates on the host"),
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"no TLS: {error.reason or error}",
            "a service with TLS at this port",
            "enable TLS on the service, or correct the port",
        )
    if isinstance(error, ServiceError):
        login = "user and password that the service accepts"
        remedies = {
            "3D000": (
                f"database {service.database}",
                f"CREATE DATABASE {service.database} OWNER {service.user} ENCODING 'UTF8' TEMPLATE template0",
            ),
            "28P01": (login, f"create the role, or correct the password in {variable}"),
            "28000": (login, f"create the role and allow this host in pg_hba.conf, or correct {variable}"),
            "42501": ("a role that may connect", f"GRANT CONNECT ON DATABASE {service.database} TO {service.user}"),
            "WRONGPASS": (login, f"create the user, or correct the password in {variable}"),
            "NOAUTH": (login, f"add the password to {variable}: rediss://:PASSWORD@{service.host}"),
        }
        expected, remedy = remedies.get(
            error.code, ("a service that lets this host in", f"correct the service, or {variable}")
        )
        return str(error), expected, remedy
    return (
        str(error) or type(error).__name__,
        "a service that this host can connect to",
        f"start the service, open TCP port {service.port} from this host to {service.host}, or correct {variable}",
    )


def check(entry: dict[str, Any], timeout: float, warn: Callable[[str], None]) -> list[Finding]:
    """Return what is wrong with one service."""
    try:
        service = parse(with_tls(entry["url"], ""))
    except ValueError as error:
        remedy = f"correct {entry['variable']}; user and password may need the filter url_quote"
        return [
            {
                "variable": entry["variable"],
                "value": f"(hidden), {error}",
                "expected": "a URL with one host",
                "remedy": remedy,
                "about": "",
            }
        ]
    report = Report(entry["variable"], service)
    session: Postgres | Redis | None = None
    try:
        if service.scheme == "postgresql":
            session = Postgres(service, entry["ca"], timeout)
            check_database(entry, session, report, warn, service.place)
        elif service.scheme in ("redis", "rediss"):
            session = Redis(service, entry["ca"], timeout)
            check_broker(entry, session, report)
    except (OSError, ServiceError, ValueError) as error:
        report.add(*explain(error, entry, service))
    finally:
        if session:
            session.close()
    return report.findings


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "services": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "variable": {"type": "str", "required": True},
                    "ca_variable": {"type": "str", "required": True},
                    "part": {
                        "type": "str",
                        "required": True,
                        "choices": ["metadata", "results", "broker", "flower"],
                    },
                    "connections": {"type": "int", "default": 0},
                    # Set by the action plugin.
                    "url": {"type": "str", "no_log": True, "default": ""},
                    "ca": {"type": "str", "default": ""},
                },
            },
            "timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    findings: list[Finding] = []
    for entry in module.params["services"]:
        findings += check(entry, module.params["timeout"], module.warn)
    module.exit_json(changed=False, findings=findings)


if __name__ == "__main__":
    main()
