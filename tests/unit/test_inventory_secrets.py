"""The rules for the secrets of an inventory."""

from __future__ import annotations

from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from sample_inventory import SECRETS, inventory, only


def test_missing_secrets_name_the_command() -> None:
    missing: dict[str, Any] = dict.fromkeys(SECRETS, ...)
    found = {item.where: item for item in check(inventory(everywhere=missing))}
    assert found.keys() == {"host control1", "host worker1", "host worker2"}
    assert set(found["host control1"].variable.split(", ")) == SECRETS.keys()
    assert "airflow_jwt_secret" not in found["host worker1"].variable
    assert found["host worker1"].remedy == "run ansible-playbook playbooks/secrets.yml"


def test_a_secret_that_only_its_hosts_have_is_enough() -> None:
    for_control: dict[str, Any] = {
        "airflow_jwt_secret": ...,
        "airflow_fernet_key": ...,
        "airflow_database_password": ...,
    }
    assert check(inventory({"worker1": for_control, "worker2": for_control})) == []


def test_a_weak_and_a_differing_secret_are_refused_without_being_told() -> None:
    found = only(check(inventory({"worker1": {"airflow_broker_password": "another-long-one"}})))
    assert (found.where, found.variable, found.value) == ("host worker1", "airflow_broker_password", "(hidden)")
    found = only(check(inventory(everywhere={"flower_password": "hunter2"})))
    assert (found.variable, found.value, found.expected) == ("flower_password", "(hidden)", "at least 8 characters")
