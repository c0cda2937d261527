"""The rules for the addresses and ports of an inventory."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from sample_inventory import inventory, only


def test_two_hosts_on_one_machine_are_refused() -> None:
    found = only(check(inventory({"worker2": {"ansible_host": "192.0.2.1"}})))
    assert (found.where, found.variable) == ("host worker2", "ansible_host")
    assert "host worker1" in found.value
    assert (
        check(inventory({"worker2": {"ansible_host": "192.0.2.1", "ansible_port": 2222, "airflow_address": "w2"}}))
        == []
    )


def test_an_address_belongs_to_one_host_and_is_not_loopback() -> None:
    found = only(check(inventory({"worker2": {"airflow_address": "192.0.2.1"}})))
    assert (found.where, found.variable) == ("host worker2", "airflow_address")
    found = only(check(inventory({"worker2": {"airflow_address": "127.0.0.1"}})))
    assert "other hosts" in found.expected


def test_ports_of_one_host_collide_and_those_of_two_do_not() -> None:
    found = only(check(inventory(everywhere={"flower_port": 8092})))
    assert (found.where, found.variable, found.value) == ("host control1", "flower_port", "8092")
    assert "airflow_execution_api_first_port + 1" in found.expected
    assert check(inventory(everywhere={"log_store_port": 8080})) == []
    assert only(check(inventory(everywhere={"haproxy_port": 22}))).expected.endswith(
        "SSH (ansible_port) has 22 on the same host"
    )


def test_the_last_api_server_must_have_a_port() -> None:
    found = only(check(inventory(everywhere={"airflow_execution_api_first_port": 65535})))
    assert found.value == "65536"


@pytest.mark.parametrize(
    ("name", "value"),
    [("redis_bind", ["127.0.0.1"]), ("postgres_listen_addresses", ["localhost"]), ("haproxy_bind", "::1")],
)
def test_a_service_for_others_does_not_hide_on_loopback(name: str, value: Any) -> None:
    found = only(check(inventory({"control1": {name: value}})))
    assert (found.where, found.variable) == ("host control1", name)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("redis_bind", ["127.0.0.1"], "192.0.2.0, at which the processes of control1 itself connect"),
        ("postgres_listen_addresses", ["localhost", "::1"], "192.0.2.0, at which"),
        ("haproxy_bind", "127.0.0.1", "192.0.2.0, at which"),
        ("airflow_api_server_bind", "localhost", "127.0.0.1, at which HAProxy connects"),
        ("airflow_api_server_bind", "::1", "127.0.0.1, at which HAProxy connects"),
        ("airflow_flower_bind", "127.0.0.2", "127.0.0.1, at which HAProxy connects"),
        ("airflow_flower_bind", "::", "an IPv4 address"),
        ("redis_bind", ["::", "-fd00::1"], "an IPv4 address"),
        ("postgres_listen_addresses", ["::"], "an IPv4 address"),
        ("haproxy_bind", "fd00::1", "an IPv4 address"),
        ("redis_bind", ["0.0.0.0", "-::1"], ""),
        ("redis_bind", ["192.0.2.0", "127.0.0.1"], ""),
        ("haproxy_bind", "::", ""),
        ("airflow_api_server_bind", "127.0.0.1", ""),
        ("airflow_flower_bind", "0.0.0.0", ""),
    ],
)
def test_a_service_listens_where_the_clients_of_one_host_connect(name: str, value: Any, expected: str) -> None:
    own = {"airflow_allow_worker_on_control_plane": True, name: value}
    found = check(inventory({"control1": own}, {"airflow_worker": ["control1"], "airflow": ["control1"]}))
    assert [item.variable for item in found] == ([name] if expected else [])
    assert not expected or found[0].expected.startswith(expected)


def test_flower_on_a_host_of_its_own_does_not_hide_on_loopback() -> None:
    groups = {"flower": ["flower1"], "control_plane": ["control1", "flower1"]}
    groups["airflow"] = ["control1", "flower1", "worker1", "worker2"]
    found = only(check(inventory({"flower1": {"airflow_flower_bind": "127.0.0.1"}}, groups)))
    assert (found.where, found.variable) == ("host flower1", "airflow_flower_bind")


@pytest.mark.parametrize("name", ["control1", "worker1"])
def test_an_ipv6_address_of_a_host_is_refused_with_the_reason(name: str) -> None:
    found = only(check(inventory({name: {"airflow_address": "fd00::10"}})))
    assert (found.where, found.variable) == (f"host {name}", "airflow_address")
    assert "IPv4" in found.expected
    # SSH may use IPv6.
    assert check(inventory({name: {"airflow_address": "192.0.2.99", "ansible_host": "2001:db8::1"}})) == []
