"""What each machine will be asked, from a sound inventory."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.plans import machine_plans
from sample_inventory import DEFAULTS, SECRETS, inventory


def test_the_plan_of_a_machine_has_the_addresses_to_listen_on() -> None:
    own = {"redis_bind": ["192.0.2.0"], "airflow_api_server_bind": "127.0.0.1"}
    plan = machine_plans(inventory({"control1": own}), ["control1"])["control1"]
    assert plan["binds"] == [
        {"variable": "redis_bind", "addresses": ["192.0.2.0"], "reached": "192.0.2.0"},
        {"variable": "airflow_api_server_bind", "addresses": ["127.0.0.1"], "reached": ""},
    ]


def test_a_worker_is_asked_for_its_endpoints_and_listens_nowhere() -> None:
    plan = machine_plans(inventory(), ["worker1"])
    assert plan.keys() == {"worker1"}
    worker = plan["worker1"]
    assert worker["ports"] == []
    assert {(entry["variable"], entry["address"], entry["port"], entry["host"]) for entry in worker["endpoints"]} == {
        ("airflow_result_backend", "192.0.2.0", 5433, "control1"),
        ("airflow_broker_url", "192.0.2.0", 6379, "control1"),
        ("airflow_execution_api_url", "192.0.2.0", 9443, "control1"),
        ("log_store_port", "192.0.2.0", 20514, "control1"),
    }
    assert worker["names"] == []
    assert worker["airflow_version"] == DEFAULTS["airflow_version"]


def test_a_machine_is_asked_for_the_packages_of_its_pool() -> None:
    own = {"worker1": {"airflow_worker_packages": ["libgdal32"]}}
    plans = machine_plans(inventory(own, everywhere={"airflow_runtime_packages": ["libpq5"]}), ["control1", "worker1"])
    assert [package["name"] for package in plans["worker1"]["packages"]] == ["libpq5", "libgdal32"]
    assert plans["control1"]["packages"] == [{"name": "libpq5", "variable": "airflow_runtime_packages"}]


def test_the_control_node_is_asked_for_its_ports() -> None:
    control = machine_plans(inventory(), ["control1", "worker2"])["control1"]
    ports = [5432, 5433, 6379, 443, 80, 9443, 8081, 8091, 8092, 20514, 8974, 5555]
    assert [entry["port"] for entry in control["ports"]] == ports
    assert control["ports"][8]["units"] == ["airflow-execution-api@8092.service"]
    # It connects to no worker.
    assert control["names"] == []
    assert control["endpoints"] == []


def test_a_url_of_ones_own_is_what_is_connected_to() -> None:
    own = {
        "airflow_broker_url": "rediss://:x@broker.example.org",
        "airflow_result_backend": "db+postgresql://u:p@db:99/r",
    }
    worker = machine_plans(inventory(everywhere=own), ["worker1"])["worker1"]
    assert {(entry["address"], entry["port"], entry["host"]) for entry in worker["endpoints"]} == {
        ("broker.example.org", 6379, ""),
        ("db", 99, ""),
        ("192.0.2.0", 9443, "control1"),
        ("192.0.2.0", 20514, "control1"),
    }


def test_the_disk_of_the_log_store_is_looked_at_where_it_is() -> None:
    plans = machine_plans(inventory(everywhere={"log_store_dir": "/srv/logs"}), ["control1", "worker1"])
    assert plans["control1"]["disk_paths"] == ["/opt", "/var/lib", "/srv/logs"]
    assert plans["worker1"]["disk_paths"] == ["/opt", "/var/lib"]


def test_a_machine_is_asked_for_the_directories_that_it_gets() -> None:
    own = {"log_store_dir": "/srv/logs", "backup_repository": "/srv/repo"}
    plans = machine_plans(inventory(everywhere=own), ["control1", "worker1"])
    assert (plans["control1"]["log_store"], plans["control1"]["repository"]) == ("/srv/logs", "/srv/repo")
    assert (plans["worker1"]["log_store"], plans["worker1"]["repository"]) == ("", "")


def test_no_plan_holds_a_secret() -> None:
    text = repr(machine_plans(inventory(), ["control1", "worker1", "worker2"]))
    assert [name for name, value in SECRETS.items() if value in text] == []


def test_what_a_machine_is_asked_reaches_the_modules() -> None:
    """A key of a plan that no task passes on would be a check that never runs."""
    tasks = Path(__file__).resolve().parents[2] / "roles/preflight/tasks"
    text = "".join((tasks / f"{name}.yml").read_text() for name in ("machines", "claim", "services"))
    passed_on = set(re.findall(r"(?:plan|machines\[inventory_hostname\])\.(\w+)", text))
    assert machine_plans(inventory(), ["control1"])["control1"].keys() == passed_on
