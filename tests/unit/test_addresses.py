"""One place knows the names and addresses of a host, and how an address becomes a part of a URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.filter import cluster, firewall
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import addresses as of_hosts

PROJECT = Path(__file__).resolve().parents[2]
HOSTVARS: dict[str, dict[str, Any]] = {
    "a": {"airflow_address": "a.example.org", "ansible_host": "192.0.2.1"},
    "b": {"ansible_host": "192.0.2.2"},
    "c": {},
    "d": {"ansible_host": "2001:db8::4"},
}


def test_the_origins_of_hosts_are_all_their_addresses() -> None:
    origins = cluster.origins("aabcd", HOSTVARS)
    assert origins == ["a.example.org", "192.0.2.1", "192.0.2.2", "c", "2001:db8::4"]


@pytest.mark.parametrize(
    ("host", "variables", "name", "origins"),
    [
        ("c1", {}, "c1", ["c1"]),
        ("c1", {"ansible_host": "192.0.2.1"}, "192.0.2.1", ["192.0.2.1"]),
        ("c1", {"ansible_host": "c1.example.org"}, "c1.example.org", ["c1.example.org"]),
        # A private network by name beside a public address: packets come from the private one.
        (
            "c1",
            {"ansible_host": "192.0.2.1", "airflow_address": "c1.internal"},
            "c1.internal",
            ["c1.internal", "192.0.2.1"],
        ),
        (
            "c1",
            {"ansible_host": "c1.example.org", "airflow_address": "10.0.0.1"},
            "10.0.0.1",
            ["10.0.0.1", "c1.example.org"],
        ),
        ("c1", {"ansible_host": "2001:db8::1", "airflow_address": "10.0.0.1"}, "10.0.0.1", ["10.0.0.1", "2001:db8::1"]),
        ("c1", {"ansible_host": None, "airflow_address": ""}, "c1", ["c1"]),
    ],
)
def test_firewall_pg_hba_certificates_and_urls_know_the_same_addresses(
    host: str, variables: dict[str, Any], name: str, origins: list[str]
) -> None:
    hostvars = {host: variables, "db1": {}}
    assert cluster.addresses([host], hostvars) == [name]
    assert cluster.origins([host], hostvars) == origins
    services = [{"name": "database", "group": "postgres", "port": 5432, "clients": ["airflow_scheduler"]}]
    groups = {"postgres": ["db1"], "airflow_scheduler": [host]}
    clients = firewall.firewall_clients(services, groups, hostvars, "db1")
    assert clients == {"airflow_scheduler": {host: origins}}
    assert set(cluster.service_names(host, hostvars)) == {host, *origins, "localhost", "127.0.0.1"}
    names = cluster.names_to_resolve(["samehost", *origins])
    resolved = {one: ["10.0.0.9", "127.0.1.1"] for one in names}
    rules = of_hosts.networks(["samehost", *origins], resolved)
    assert rules[0] == "samehost"
    assert all(f"{one}/{128 if ':' in one else 32}" in rules for one in origins if one not in names)
    assert ("10.0.0.9/32" in rules) == bool(names)
    assert set(names) <= set(rules)
    assert "127.0.1.1/32" not in rules


def test_clients_that_are_no_names_are_not_resolved() -> None:
    assert cluster.names_to_resolve(["all", "samenet", "192.0.2.1", "fd00::1", "10.0.0.0/8", "db1"]) == ["db1"]
    assert of_hosts.networks(["all", "10.0.0.0/8", "db1"], {"db1": []}) == ["all", "10.0.0.0/8", "db1"]


@pytest.mark.parametrize(
    ("host", "url"),
    [("c1", "c1:1"), ("192.0.2.1", "192.0.2.1:1"), ("fd00::10", "[fd00::10]:1"), ("::1", "[::1]:1")],
)
def test_host_and_port_of_a_url_can_be_read_back(host: str, url: str) -> None:
    assert of_hosts.host_port(host, 1) == url
    parts = urlsplit(f"rediss://airflow:x@{url}/0")
    assert (parts.hostname, parts.port) == (host, 1)


@pytest.mark.parametrize(
    ("binds", "local"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("*", "127.0.0.1"),
        ("::", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.1"),
        (["0.0.0.0", "::"], "127.0.0.1"),
        (["192.0.2.1", "-::1"], "::1"),
        (["192.0.2.1", "127.0.0.1"], "127.0.0.1"),
        (["192.0.2.1", "10.0.0.1"], "192.0.2.1"),
        ([], "127.0.0.1"),
    ],
)
def test_a_service_is_reached_where_it_listens(binds: str | list[str], local: str) -> None:
    assert of_hosts.local_address(binds) == local


def test_no_wait_and_no_health_check_names_loopback_for_a_service_with_a_bind_variable() -> None:
    """Only the scheduler's health check listens on loopback in any case."""
    files = [*(PROJECT / "roles").glob("*/tasks/*.yml"), *(PROJECT / "playbooks").glob("*.yml"), PROJECT / "site.yml"]
    waits = {
        f"{path.relative_to(PROJECT)}: {line.strip()}"
        for path in files
        for line in path.read_text().splitlines()
        if re.search(r"//127\.0\.0\.1|host: (127\.0\.0\.1|localhost)", line)
        and "airflow_scheduler_health_port" not in line
    }
    assert waits == set()
    redis = yaml.safe_load((PROJECT / "roles/redis/tasks/main.yml").read_text())
    (wait,) = (task["ansible.builtin.wait_for"] for task in redis if "ansible.builtin.wait_for" in task)
    assert "redis_bind" in wait["host"]
