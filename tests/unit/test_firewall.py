"""What a host lets in: the port table, the filters that read it, and the table that nft gets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.filter import firewall as filters
from ansible_collections.airflow_celery.cluster.plugins.module_utils import firewall_table
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import topology

PROJECT = Path(__file__).resolve().parents[2]
TABLE = yaml.safe_load((PROJECT / "roles/airflow/vars/main.yml").read_text())["airflow_firewall_services"]

GROUPS = {
    "redis": ["c1"],
    "haproxy": ["c1"],
    "airflow_api_server": ["c1", "c2"],
    "airflow_worker": ["w1", "w2"],
}
SERVICES: list[dict[str, Any]] = [
    {"name": "front door", "group": "haproxy", "port": "443", "clients": ["airflow_worker"], "sources": ["0.0.0.0/0"]},
    {"name": "broker", "group": "redis", "port": 6379, "clients": ["airflow_worker"]},
    {
        "name": "API",
        "group": "airflow_api_server",
        "port": 8081,
        "count": "2",
        "bind": "0.0.0.0",
        "clients": ["haproxy"],
    },
    {"name": "logs", "group": "airflow_worker", "port": 8793, "clients": ["airflow_api_server"]},
]
HOSTVARS = {
    "c1": {"airflow_address": "c1.internal", "ansible_host": "192.0.2.1"},
    "c2": {"ansible_host": "192.0.2.2"},
    "w1": {"airflow_address": "192.0.2.11", "ansible_host": "192.0.2.11"},
    "w2": {},
}
EVERYBODY = ["0.0.0.0/0", "::/0"]


def resolve(name: str) -> list[str]:
    """Names as some host knows them."""
    known = {"c1.internal": ["192.0.2.1", "2001:db8::1"], "w2": ["192.0.2.12", "192.0.2.12"], "self": ["127.0.1.1"]}
    if name not in known:
        raise firewall_table.Unresolved(f"{name!r}: unknown")
    return known[name]


def rule(**parts: Any) -> dict[str, Any]:
    return {"ports": [22], "protocol": "tcp", "clients": [], "sources": [], "comment": ""} | parts


# --- The port table ---------------------------------------------------------------------------------------------------
def test_the_port_table_has_every_port_that_a_process_listens_on() -> None:
    listeners = {
        (listener.group, listener.variable, listener.count)
        for listener in topology.LISTENERS
        # On loopback, always.
        if listener.variable != "airflow_scheduler_health_port"
    }

    def variable(text: object) -> str:
        match = re.fullmatch(r"\{\{ (\w+)(?: \| default\(\d+\))? \}\}", str(text))
        return match[1] if match else ""

    table = {(row["group"], variable(row["port"]), variable(row.get("count", ""))) for row in TABLE}
    assert table == listeners


def test_the_port_table_lets_in_whoever_connects() -> None:
    clients: dict[tuple[str, str], set[str]] = {}
    for row in TABLE:
        clients[row["group"], str(row["port"]).split()[1]] = set(row.get("clients", ()))
    for endpoint in topology.ENDPOINTS:
        assert clients[endpoint.group, endpoint.port] == endpoint.clients


def test_workers_do_not_reach_the_metadata_database() -> None:
    [row] = [row for row in TABLE if "postgres_port" in str(row["port"])]
    assert "airflow_worker" not in row["clients"]
    assert "sources" not in row


# --- Filters ----------------------------------------------------------------------------------------------------------
def test_a_host_opens_the_ports_of_its_groups() -> None:
    found = filters.firewall_rules(SERVICES, GROUPS, "c1")
    assert [(item["comment"], item["ports"]) for item in found] == [
        ("front door", [443]),
        ("broker", [6379]),
        ("API", [8081, 8082]),
    ]
    assert found[0]["clients"] == ["airflow_worker"]
    assert found[0]["sources"] == ["0.0.0.0/0"]
    assert [item["comment"] for item in filters.firewall_rules(SERVICES, GROUPS, "w1")] == ["logs"]


def test_what_listens_on_loopback_is_not_opened() -> None:
    local = [service | {"bind": "127.0.0.1"} for service in SERVICES]
    assert filters.firewall_rules(local, GROUPS, "c1") == []
    assert filters.firewall_clients(local, GROUPS, HOSTVARS, "c1") == {}
    assert filters.firewall_servers(local, GROUPS, ["w1"]) == []


def test_clients_are_the_other_hosts_of_the_groups_with_all_their_addresses() -> None:
    assert filters.firewall_clients(SERVICES, GROUPS, HOSTVARS, "c1") == {
        "airflow_worker": {"w1": ["192.0.2.11"], "w2": ["w2"]},
        "haproxy": {},
    }
    assert filters.firewall_clients(SERVICES, GROUPS, HOSTVARS, "w1") == {
        "airflow_api_server": {"c1": ["c1.internal", "192.0.2.1"], "c2": ["192.0.2.2"]}
    }


@pytest.mark.parametrize(
    ("play_hosts", "servers"),
    [
        (["w1"], ["c1"]),
        (["c2"], ["w1", "w2"]),
        (["c1"], ["c2", "w1", "w2"]),
        (["c1", "c2", "w1", "w2"], []),
        (["w1", "c1"], ["w2", "c2"]),
    ],
)
def test_hosts_outside_the_play_come_to_know_those_inside(play_hosts: list[str], servers: list[str]) -> None:
    assert filters.firewall_servers(SERVICES, GROUPS, play_hosts) == sorted(servers)


@pytest.mark.parametrize("name", filters.FilterModule().filters())
def test_every_filter_is_documented(name: str) -> None:
    page = yaml.safe_load((PROJECT / f"plugins/filter/{name}.yml").read_text())
    assert page["DOCUMENTATION"]["name"] == name


# --- Addresses --------------------------------------------------------------------------------------------------------
def test_addresses_are_sorted_by_version_and_do_not_overlap() -> None:
    sources = ["192.0.2.12", "192.0.2.0/28", "192.0.2.200", "2001:db8::5", "2001:db8::/64", "c1.internal"]
    found = firewall_table.by_version(
        network for source in sources for network in firewall_table.networks_of(source, resolve)
    )
    assert firewall_table.elements(found[4]) == "192.0.2.0/28, 192.0.2.200"
    assert firewall_table.elements(found[6]) == "2001:db8::/64"


def test_a_network_may_be_named_by_one_of_its_addresses() -> None:
    assert [str(network) for network in firewall_table.networks_of("192.0.2.77/24", resolve)] == ["192.0.2.0/24"]


def test_a_client_counts_with_each_of_its_addresses() -> None:
    found, unresolved = firewall_table.client_networks({"c1": ["c1.internal", "198.51.100.1"], "w2": ["w2"]}, resolve)
    assert firewall_table.elements(found[4]) == "192.0.2.1, 192.0.2.12, 198.51.100.1"
    assert firewall_table.elements(found[6]) == "2001:db8::1"
    assert unresolved == []


def test_loopback_is_nobodys_address() -> None:
    found, unresolved = firewall_table.client_networks({"c1": ["self", "192.0.2.1"]}, resolve)
    assert (firewall_table.elements(found[4]), unresolved) == ("192.0.2.1", [])


def test_a_name_without_address_is_told_and_is_an_error_if_there_is_nothing_else() -> None:
    found, unresolved = firewall_table.client_networks({"w9": ["w9.internal", "192.0.2.9"]}, resolve)
    assert firewall_table.elements(found[4]) == "192.0.2.9"
    assert unresolved == ["host w9: 'w9.internal': unknown"]
    with pytest.raises(firewall_table.Unresolved, match=r"host w9: 'w9.internal': unknown. Set airflow_address"):
        firewall_table.client_networks({"w9": ["w9.internal"]}, resolve)


def test_this_machine_resolves_its_own_names() -> None:
    assert "127.0.0.1" in firewall_table.system_addresses("localhost")
    with pytest.raises(firewall_table.Unresolved, match=r"nowhere\.invalid"):
        firewall_table.system_addresses("nowhere.invalid")


# --- The table --------------------------------------------------------------------------------------------------------
def test_a_rule_for_everybody_names_nobody() -> None:
    lines = firewall_table.rule_lines(rule(ports=[80, 443, 80], sources=EVERYBODY, comment="door"), resolve)
    assert lines == ['\t\ttcp dport { 80, 443 } accept comment "door"']


def test_a_rule_for_everybody_of_one_version() -> None:
    lines = firewall_table.rule_lines(rule(sources=["0.0.0.0/0", "2001:db8::1"]), resolve)
    assert lines == [
        "\t\tmeta nfproto ipv4 tcp dport { 22 } accept",
        "\t\tip6 saddr { 2001:db8::1 } tcp dport { 22 } accept",
    ]


def test_a_rule_for_some() -> None:
    lines = firewall_table.rule_lines(rule(sources=["192.0.2.0/24"], clients=["redis"], protocol="udp"), resolve)
    assert lines == [
        "\t\tip saddr { 192.0.2.0/24 } udp dport { 22 } accept",
        "\t\tip saddr @redis_4 udp dport { 22 } accept",
        "\t\tip6 saddr @redis_6 udp dport { 22 } accept",
    ]


def test_a_rule_for_nobody_opens_nothing() -> None:
    assert firewall_table.rule_lines(rule(), resolve) == []


def test_a_comment_cannot_end_its_quotes() -> None:
    [line] = firewall_table.rule_lines(rule(sources=EVERYBODY, comment='a" accept; drop\n"b\\' + "c" * 200), resolve)
    assert line.count('"') == 2
    assert "\n" not in line
    assert "\\" not in line
    assert len(line.partition("comment ")[2]) <= 122


def test_a_source_without_address_names_its_rule() -> None:
    with pytest.raises(firewall_table.Unresolved, match=r"source of the rule 'SSH' .*'office.invalid'"):
        firewall_table.rule_lines(rule(sources=["office.invalid"], comment="SSH"), resolve)


def test_the_table_is_replaced_in_one_transaction_and_drops_what_is_left() -> None:
    sets = {"redis": firewall_table.by_version(firewall_table.networks_of("c1.internal", resolve))}
    text = firewall_table.table([rule(clients=["redis"])], sets, resolve)
    name = firewall_table.TABLE
    start = text.index(f"table inet {name}\ndelete table inet {name}\ntable inet {name} {{")
    assert set(text[:start].splitlines()) <= {line for line in text.splitlines() if line.startswith("#")}
    assert "policy drop;" in text
    assert "flush ruleset" not in text
    assert "\tset redis_4 { type ipv4_addr; flags interval; elements = { 192.0.2.1 }; }" in text
    assert "\tset redis_6 { type ipv6_addr; flags interval; elements = { 2001:db8::1 }; }" in text


def test_addresses_of_a_group_change_and_nothing_else() -> None:
    nobody: firewall_table.Networks = {4: [], 6: []}
    some = firewall_table.by_version(firewall_table.networks_of("192.0.2.12", resolve))
    rules = [rule(clients=["airflow_worker", "redis"])]
    before = firewall_table.table(rules, {"airflow_worker": nobody, "redis": some}, resolve)
    after = firewall_table.table(rules, {"airflow_worker": some, "redis": some}, resolve)
    assert before != after
    assert firewall_table.with_clients(before, {"airflow_worker": some, "haproxy": some}) == after
    assert firewall_table.with_clients(after, {"airflow_worker": nobody}) == before
