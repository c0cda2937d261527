"""Databases and brokers that are not the cluster's own: their URLs, and what an inventory may say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.module_utils import service_urls
from ansible_collections.airflow_celery.cluster.plugins.modules import service_check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import memory, rotation, secret_values, topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Inventory
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.plans import machine_plans
from sample_inventory import inventory, only

CA = "/ca.pem"
DATABASE = "postgresql+psycopg2://air:p%40ss@db.example.org:5432/airflow"
RESULTS = "db+postgresql+psycopg2://celery:pw@db.example.org/results"
BROKER = "rediss://user:pw@cache.example.org:6380/0"
URLS = {"airflow_database_url": DATABASE, "airflow_result_backend": RESULTS, "airflow_broker_url": BROKER}
EMPTY: Mapping[str, list[str]] = {"postgres": [], "redis": []}


def external(changes: Mapping[str, Any] | None = None, groups: Mapping[str, list[str]] | None = None) -> Inventory:
    """Return an inventory with both services elsewhere, with changes; a value of ... removes a variable."""
    foreign: dict[str, Any] = dict.fromkeys(secret_values.LOGIN_OF, ...)
    return inventory(groups=EMPTY if groups is None else groups, everywhere={**foreign, **URLS, **(changes or {})})


# --- URLs -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (DATABASE, f"{DATABASE}?sslmode=verify-full&sslrootcert={CA}"),
        (RESULTS, f"{RESULTS}?sslmode=verify-full&sslrootcert={CA}"),
        (f"{DATABASE}?connect_timeout=5", f"{DATABASE}?connect_timeout=5&sslmode=verify-full&sslrootcert={CA}"),
        (f"{DATABASE}?sslmode=verify-ca", f"{DATABASE}?sslmode=verify-ca&sslrootcert={CA}"),
        (f"{DATABASE}?sslmode=verify-full&sslrootcert=/x", f"{DATABASE}?sslmode=verify-full&sslrootcert=/x"),
        (f"{DATABASE}?sslmode=disable", f"{DATABASE}?sslmode=disable"),
        (f"{DATABASE}?sslmode=require", f"{DATABASE}?sslmode=require"),
        (BROKER, f"{BROKER}?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={CA}"),
        (f"{BROKER}?ssl_cert_reqs=required", f"{BROKER}?ssl_cert_reqs=required&ssl_ca_certs={CA}"),
        (f"{BROKER}?ssl_cert_reqs=none", f"{BROKER}?ssl_cert_reqs=none"),
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("sqlite:////a", "sqlite:////a"),
    ],
)
def test_a_url_gets_what_it_lacks_for_verified_tls(url: str, expected: str) -> None:
    assert service_urls.with_tls(url, CA) == expected
    assert service_urls.with_tls(expected, "/other") == expected


def test_a_url_of_postgresql_gets_the_timeouts_that_it_lacks() -> None:
    expected = f"{RESULTS}?connect_timeout=5&keepalives_idle=30&keepalives_interval=10&keepalives_count=3"
    expected += "&tcp_user_timeout=30000"
    assert service_urls.with_timeouts(f"{RESULTS}?connect_timeout=5") == expected
    assert service_urls.with_timeouts(expected) == expected
    assert service_urls.with_timeouts(DATABASE).startswith(f"{DATABASE}?connect_timeout=10&")
    assert service_urls.with_timeouts(BROKER) == BROKER
    assert service_urls.with_timeouts("sqlite:////a") == "sqlite:////a"


def test_a_url_is_taken_apart_and_shows_no_password() -> None:
    found = service_urls.parse(DATABASE)
    assert (found.host, found.port, found.user, found.password, found.database) == (
        "db.example.org",
        5432,
        "air",
        "p@ss",
        "airflow",
    )
    assert service_urls.parse("rediss://:pw@cache").port == 6379
    assert "p@ss" not in repr(found) + found.place


# What is wrong with a URL, whose password is hunter22
WITHOUT_ONE_HOST = [
    ("airflow_database_url", "postgresql://u:hunter22@h1:5432,h2:5432/x", "several hosts"),
    ("airflow_database_url", "postgresql+psycopg2://u:hunter22@h1,h2/x", "several hosts"),
    ("airflow_database_url", "postgresql:///x?host=/run/postgresql", "a socket"),
    ("airflow_database_url", "postgresql://u:hunter22@/x?host=h1:5432&host=h2:5432", "among its options"),
    ("airflow_database_url", "postgresql:///x", "without a host"),
    ("airflow_database_url", "postgresql://u:hunter22/a@h/x", "not a number"),
    ("airflow_database_url", "postgresql://u:[hunter22@h/x", "no readable URL"),
    ("airflow_result_backend", "db+postgresql://u:hunter22@h1:5432,h2:5432/x", "several hosts"),
    ("airflow_broker_url", "rediss://:hunter22@h1:6379;rediss://:hunter22@h2:6379", "several hosts"),
    ("airflow_flower_broker_url", "rediss://:hunter22@h1:6379,h2:6379/0", "several hosts"),
    ("airflow_broker_url", "rediss://:hunter22@h:66666/0", "not a number from 0 to 65535"),
]


@pytest.mark.parametrize(("name", "url", "told"), WITHOUT_ONE_HOST)
def test_a_url_without_exactly_one_host_is_refused(name: str, url: str, told: str) -> None:
    found = check(external({name: url}))
    assert {item.variable for item in found} == {name}
    assert all(told in item.value and "a TCP proxy" in item.remedy for item in found)
    assert "hunter22" not in str(found)


@pytest.mark.parametrize(("name", "url", "told"), WITHOUT_ONE_HOST)
def test_the_module_tells_a_url_without_exactly_one_host(name: str, url: str, told: str) -> None:
    entry = {"variable": name, "ca_variable": "", "part": topology.PARTS[name], "url": url, "ca": "", "connections": 0}
    [found] = service_check.check(entry, 1, lambda _text: None)
    assert found["variable"] == name
    assert told in found["value"]
    assert "hunter22" not in str(found)


def test_a_broker_behind_sentinels_is_refused_with_the_alternative() -> None:
    found = check(external({"airflow_broker_url": "sentinel://one:26379;sentinel://two:26379"}))
    assert {item.variable for item in found} == {"airflow_broker_url"}
    assert all("a TCP proxy or of the managed endpoint" in item.expected for item in found)


# --- Rules ------------------------------------------------------------------------------------------------------------
def test_urls_replace_the_hosts_of_empty_and_missing_groups_and_their_secrets() -> None:
    assert check(external()) == []
    missing = external()
    for group in topology.EXTERNAL:
        del missing.groups[group]
    assert check(missing) == []
    # The password of a provider may be short, and may have characters that the cluster's own have not.
    assert check(external({"airflow_database_password": "a'b"})) == []


@pytest.mark.parametrize(
    ("url", "group"), [(url, group) for group, found in topology.EXTERNAL.items() for url in found.urls]
)
def test_an_empty_group_without_all_urls_is_refused(url: str, group: str) -> None:
    found = check(external({url: ...}))
    if len(topology.EXTERNAL[group].urls) == 1:
        assert only(found).where == f"group {group}"
        assert url in only(found).remedy
        return
    lacking = {item.where for item in found if item.variable == url}
    assert lacking >= {"host control1"}
    assert all(group in item.expected for item in found)


def test_a_group_whose_service_is_elsewhere_would_run_it_unused() -> None:
    found = {item.where: item for item in check(external(groups={}, changes=URLS)) if item.variable == "hosts"}
    assert set(found) == {"group postgres", "group redis"}
    assert "run unused" in found["group postgres"].expected
    assert "airflow_database_host" in found["group postgres"].remedy


def test_one_database_elsewhere_alone_is_refused() -> None:
    found = only(check(inventory(everywhere={"airflow_database_url": DATABASE})))
    assert (found.where, found.variable) == ("group postgres", "airflow_database_url")
    assert "airflow_result_backend" in found.remedy


@pytest.mark.parametrize("name", ["192.0.2.0", "control1", "localhost"])
def test_urls_of_the_own_services_stay_possible(name: str) -> None:
    own = {
        "airflow_database_url": f"postgresql+psycopg2://airflow:pw@{name}:5432/airflow",
        "airflow_broker_url": f"rediss://airflow:pw@{name}:6379/0",
    }
    assert check(inventory(everywhere=own)) == []


@pytest.mark.parametrize(
    ("name", "url", "told"),
    [
        ("airflow_broker_url", "redis://:pw@cache.example.org", "redis://"),
        ("airflow_flower_broker_url", "redis://:pw@cache.example.org", "redis://"),
        ("airflow_broker_url", f"{BROKER}?ssl_cert_reqs=none", "ssl_cert_reqs=none"),
        ("airflow_database_url", f"{DATABASE}?sslmode=disable", "sslmode=disable"),
        ("airflow_database_url", f"{DATABASE}?sslmode=require", "sslmode=require"),
        ("airflow_result_backend", f"{RESULTS}?sslmode=prefer", "sslmode=prefer"),
    ],
)
def test_a_service_that_is_not_verified_needs_consent(name: str, url: str, told: str) -> None:
    found = check(external({name: url}))
    assert {item.variable for item in found} == {name}
    assert all(told in item.value and "airflow_allow_unverified_services: true" in item.remedy for item in found)
    assert "pw@" not in str(found)
    assert check(external({name: url, "airflow_allow_unverified_services": True})) == []


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ("db+postgresql://celery:pw@db.example.org/airflow", "the database of"),
        ("db+postgresql://air:pw@db.example.org/results", "the user of"),
    ],
)
def test_workers_get_no_way_to_the_metadata(results: str, told: str) -> None:
    found = only(check(external({"airflow_result_backend": results})))
    assert found.variable == "airflow_result_backend"
    assert told in found.value


def test_the_authorities_of_external_services_are_files_of_authorities() -> None:
    made = external({"airflow_database_ca_file": "/ca.pem", "airflow_broker_ca_file": "ca.pem"})
    made.read = lambda _: b"no certificate"
    found = check(made)
    assert {item.variable for item in found} == {"airflow_database_ca_file", "airflow_broker_ca_file"}
    assert {item.expected for item in found} == {
        "authorities in PEM form",
        "an absolute path, which means the same to every task",
    }


def test_authorities_for_the_own_services_would_be_ignored() -> None:
    found = check(inventory(everywhere={"airflow_broker_ca_file": "/ca.pem"}))
    assert any("remove airflow_broker_ca_file" in item.remedy for item in found)


# --- Plans ------------------------------------------------------------------------------------------------------------
def test_each_host_checks_the_external_services_that_it_will_use() -> None:
    plans = machine_plans(external(), ["control1", "worker1"])
    parts = {host: {entry["part"]: entry["variable"] for entry in plan["services"]} for host, plan in plans.items()}
    assert parts == {
        "control1": {
            "metadata": "airflow_database_url",
            "results": "airflow_result_backend",
            "broker": "airflow_broker_url",
            "flower": "airflow_broker_url",
        },
        "worker1": {"results": "airflow_result_backend", "broker": "airflow_broker_url"},
    }
    held = {entry["part"]: entry.get("connections") for entry in plans["control1"]["services"]}
    assert held["metadata"] == 150
    assert all(plan["services"] == [] for plan in machine_plans(inventory(), ["control1", "worker1"]).values())


def test_what_is_external_takes_no_port_and_no_memory() -> None:
    made = external()
    ports = {entry["variable"] for entry in machine_plans(made, ["control1"])["control1"]["ports"]}
    assert not ports & {"postgres_port", "postgres_results_port", "redis_port"}
    found = memory.host_plan("control1", 4096, made.groups, lambda _host, name: memory.DEFAULTS[name])
    assert set(found.parts) == {"airflow"}


def test_logins_of_external_services_are_not_rotated() -> None:
    text = secret_values.with_missing("", secret_values.GENERATORS)
    foreign = secret_values.foreign({"postgres": [], "redis": ["control1"]})
    assert foreign == ["airflow_database_password", "airflow_results_password", "backup_passphrase"]
    with pytest.raises(rotation.RotationError, match="external service"):
        rotation.begin(text, ["airflow_database_password"], foreign)
    assert "airflow_broker_password" in rotation.begin(text, ["airflow_broker_password"], foreign)


# --- Rights in Redis --------------------------------------------------------------------------------------------------
# Commands of a connection, which need no key, and those that frame the check itself.
UNCHECKED = frozenset(
    [
        "ping",
        "multi",
        "exec",
        "discard",
        "watch",
        "subscribe",
        "unsubscribe",
        "psubscribe",
        "punsubscribe",
        "script|load",
        "script|exists",
    ]
)


def test_the_preflight_checks_the_rights_that_the_own_broker_gives() -> None:
    shared = yaml.safe_load((Path(__file__).parents[2] / "roles/airflow/vars/main.yml").read_text())
    users = shared["airflow_broker_users"]
    given = set(re.findall(r"\+(\S+)", users[0]["rules"]))
    checked = {command.split()[0].lower() for command in service_check.COMMANDS}
    assert given - UNCHECKED == checked
