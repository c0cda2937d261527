"""The rules for an inventory, each by itself: groups and names, and what is true of all rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import (
    config_rules,
    inventory_check,
    object_check,
    topology,
    webserver_check,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.names import name_warnings
from sample_inventory import SPECS, inventory, only


def test_a_sound_inventory_has_no_finding() -> None:
    assert check(inventory()) == []


@pytest.mark.parametrize("group", topology.PROCESS_GROUPS)
def test_an_empty_group_is_refused(group: str) -> None:
    found = [item for item in check(inventory(groups={group: []})) if item.where == f"group {group}"]
    assert only(found).value == "none, the group is empty"


def test_a_misspelt_group_is_recognised() -> None:
    changed = inventory(groups={"airflow_workers": ["worker1", "worker2"]})
    del changed.groups["airflow_worker"]
    found = [item for item in check(changed) if item.where == "group airflow_worker"]
    assert only(found).value == "none, the group is missing"
    assert only(found).remedy == "rename group airflow_workers to airflow_worker"


def test_a_host_outside_the_parent_group_would_be_left_out() -> None:
    found = only(check(inventory(groups={"airflow": ["control1", "worker1"]})))
    assert (found.where, found.variable, found.value) == (
        "host worker2",
        "group airflow_worker",
        "not inside group airflow",
    )


@pytest.mark.parametrize("group", topology.SINGLE_HOST_GROUPS)
def test_a_second_database_or_broker_is_refused(group: str) -> None:
    everyone = ["control1", "control2"]
    found = check(inventory(groups={group: everyone, "control_plane": everyone}))
    assert only(found).value == "control1, control2"


def test_a_worker_on_the_control_plane_needs_consent() -> None:
    shared = {"airflow_worker": ["control1", "worker1"]}
    found = only(check(inventory(groups=shared)))
    assert found.where == "host control1"
    assert "airflow_allow_worker_on_control_plane: true" in found.remedy
    assert check(inventory(groups=shared, everywhere={"airflow_allow_worker_on_control_plane": True})) == []
    assert len(check(inventory(groups=shared, everywhere={"airflow_allow_worker_on_control_plane": False}))) == 1


OTHERS = ["backup_dir", "firewall_allowed_tcp_ports", "haproxy_stats_socket", "postgres_major", "redis_version"]


@pytest.mark.parametrize("prefix", sorted({*rules.PREFIXES} - {*rules.SHARED_PREFIXES}))
def test_an_unknown_variable_with_each_prefix_is_refused(prefix: str) -> None:
    found = only(check(inventory({"worker1": {f"{prefix}zzzzzzzzzzzzzzzzzzzz": 1}})))
    assert (found.where, found.variable, found.value) == ("host worker1", f"{prefix}zzzzzzzzzzzzzzzzzzzz", "1")


def test_an_unknown_variable_is_told_the_nearest_name() -> None:
    found = only(check(inventory({"worker1": {"airflow_worker_concurency": 8}})))
    assert "airflow_worker_concurrency" in found.remedy


@pytest.mark.parametrize("name", ["flower_passwort", "airflow_fernetkey", "airflow_auth"])
def test_the_value_of_an_unknown_variable_that_may_be_a_secret_is_hidden(name: str) -> None:
    assert only(check(inventory({"control1": {name: "hunter22"}}))).value == "(hidden)"


@pytest.mark.parametrize("name", OTHERS)
def test_a_variable_that_may_be_that_of_another_role_is_a_warning(name: str) -> None:
    found = inventory({"control1": {name: "hunter22"}, "worker1": {name: 1}})
    assert check(found) == []
    assert name_warnings(found) == [
        f"{name} (host control1 and 1 more): no variable of the cluster, without effect here"
    ]


@pytest.mark.parametrize("prefix", rules.SHARED_PREFIXES)
def test_a_misspelt_variable_is_refused_whatever_its_prefix(prefix: str) -> None:
    names = [name for name in SPECS if name.startswith(prefix) and name not in rules.PASSED_BY_THE_CLUSTER]
    assert names
    for name in names:
        misspelt = name[:-2] + name[-1] + name[-2] + "s"
        assert misspelt not in SPECS
        wrong = inventory({"control1": {misspelt: 1}})
        assert only(check(wrong)).variable == misspelt
        assert name_warnings(wrong) == []


@pytest.mark.parametrize("name", ["airflow_home", "redis_prot", "airflow_config", "airflow_parallelism", *OTHERS])
def test_a_host_outside_the_cluster_is_not_judged(name: str) -> None:
    shared = inventory({"web1": {name: "anything"}}, groups={"webservers": ["web1"]})
    assert check(shared) == []
    assert name_warnings(shared) == []


@pytest.mark.parametrize("name", sorted(rules.PASSED_BY_THE_CLUSTER))
def test_a_parameter_that_the_cluster_passes_is_refused(name: str) -> None:
    assert "instead" in only(check(inventory({"control1": {name: []}}))).remedy


def test_a_foreign_variable_is_nobodys_business() -> None:
    assert check(inventory({"worker1": {"my_redis_port": 1, "ansible_user": "x", "__airflow_x": 1}})) == []


def test_each_remedy_names_variables_that_exist() -> None:
    texts = [
        *config_rules.OWNED_OPTIONS.values(),
        *rules.PASSED_BY_THE_CLUSTER.values(),
        *webserver_check.OWNED.values(),
    ]
    tables = (config_rules.FIXED_OPTIONS, config_rules.FIXED_VALUES, config_rules.CELERY_SETTINGS)
    texts += [text for table in tables for row in table.values() for text in row]
    texts += list(object_check.OWN_POOLS.values())
    sources = [Path(str(module.__file__)) for module in (rules, config_rules, object_check, webserver_check)]
    for path in [*sources, *Path(str(inventory_check.__file__)).parent.glob("*.py")]:
        texts += re.findall(r"(?:set|rename|remove|declare|add|variable) [a-z]+_\w+", path.read_text())
    names = {
        name
        for text in texts
        for name in re.findall(r"\b[a-z]+_\w+", text)
        if name.startswith(rules.PREFIXES) and not name.startswith("airflow_celery_cluster")
    }
    assert len(names) > 40
    assert names - SPECS.keys() - rules.PASSED_BY_THE_CLUSTER.keys() - {*topology.PROCESS_GROUPS} == set()


def test_what_the_roles_have_set_is_no_mistake_of_a_person() -> None:
    assert check(inventory(everywhere=dict.fromkeys(rules.SET_BY_THE_ROLES, "x"))) == []
