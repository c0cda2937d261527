"""The rules for an inventory, each by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.module_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.module_utils import secret_values
from ansible_collections.airflow_celery.cluster.plugins.module_utils.findings import Finding
from ansible_collections.airflow_celery.cluster.plugins.module_utils.inventory_check import (
    AirflowOptions,
    Host,
    Inventory,
    Unresolvable,
    check,
    config_problems,
    machine_plans,
    type_problem,
    value_problem,
    version_problem,
)

ROLES = Path(__file__).resolve().parents[2] / "roles"
OPTIONS = AirflowOptions.load(ROLES / "preflight" / "files" / "airflow_options.json")
SECRETS = {name: make() for name, make in secret_values.GENERATORS.items()}


def load_roles() -> tuple[dict[str, Any], dict[str, Any]]:
    specs: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        specs.update(yaml.safe_load(path.read_text())["argument_specs"]["main"].get("options") or {})
        defaults.update(yaml.safe_load((path.parents[1] / "defaults" / "main.yml").read_text()) or {})
    # A default with a template needs Ansible, and no rule looks at one.
    return specs, {k: v for k, v in defaults.items() if not (isinstance(v, str) and "{{" in v)}


SPECS, DEFAULTS = load_roles()
TEMPLATE_ERROR = object()


def inventory(
    variables: Mapping[str, Mapping[str, Any]] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    everywhere: Mapping[str, Any] | None = None,
) -> Inventory:
    """Return control1, worker1 and worker2, with changes."""
    members: dict[str, list[str]] = {group: ["control1"] for group in rules.CONTROL_GROUPS}
    members |= {"airflow_worker": ["worker1", "worker2"], "control_plane": ["control1"]}
    members["airflow"] = ["control1", "worker1", "worker2"]
    for group, names in (groups or {}).items():
        members[group] = list(names)
    everyone = sorted({name for names in members.values() for name in names})
    members["all"] = everyone
    hosts = {}
    for number, name in enumerate(everyone):
        own = {**SECRETS, **(everywhere or {}), **(variables or {}).get(name, {})}
        own = {key: value for key, value in own.items() if value is not Ellipsis}
        known = {**DEFAULTS, "ansible_host": f"192.0.2.{number}", **own}

        def render(variable: str, known: Mapping[str, Any] = known) -> Any:
            if known[variable] is TEMPLATE_ERROR:
                raise Unresolvable("'nothing' is undefined")
            return known[variable]

        ours = {key: value for key, value in own.items() if key.startswith(rules.PREFIXES)}
        hosts[name] = Host(name, [group for group, names in members.items() if name in names], ours, render)
    return Inventory(members, hosts, SPECS, OPTIONS, "inventory/test")


def only(findings: Sequence[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_sound_inventory_has_no_finding() -> None:
    assert check(inventory()) == []


# --- Groups -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("group", rules.PROCESS_GROUPS)
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


@pytest.mark.parametrize("group", rules.SINGLE_HOST_GROUPS)
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


# --- Names ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("prefix", rules.PREFIXES)
def test_an_unknown_variable_with_each_prefix_is_refused(prefix: str) -> None:
    found = only(check(inventory({"worker1": {f"{prefix}zzzzzzzzzzzzzzzzzzzz": 1}})))
    assert (found.where, found.variable, found.value) == ("host worker1", f"{prefix}zzzzzzzzzzzzzzzzzzzz", "1")


def test_an_unknown_variable_is_told_the_nearest_name() -> None:
    found = only(check(inventory({"worker1": {"airflow_worker_concurency": 8}})))
    assert "airflow_worker_concurrency" in found.remedy


@pytest.mark.parametrize("name", ["flower_passwort", "airflow_fernetkey", "redis_auth"])
def test_the_value_of_an_unknown_variable_that_may_be_a_secret_is_hidden(name: str) -> None:
    assert only(check(inventory({"control1": {name: "hunter22"}}))).value == "(hidden)"


@pytest.mark.parametrize("name", sorted(rules.PASSED_BY_THE_CLUSTER))
def test_a_parameter_that_the_cluster_passes_is_refused(name: str) -> None:
    assert "instead" in only(check(inventory({"control1": {name: []}}))).remedy


def test_a_foreign_variable_is_nobodys_business() -> None:
    assert check(inventory({"worker1": {"my_redis_port": 1, "ansible_user": "x", "__airflow_x": 1}})) == []


# --- Types, choices, ranges -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("spec", "good", "bad"),
    [
        ({"type": "int"}, [1, "1", "-1"], [True, 1.5, "x", [], None, ""]),
        ({"type": "bool"}, [True, False, "true", "False"], ["yes", 1, "maybe", None, []]),
        ({"type": "str"}, ["x", 3, 3.3, ""], [True, [], {}, None]),
        ({"type": "path"}, ["/x"], [1, [], None]),
        ({"type": "list", "elements": "str"}, [[], ["a"], [1]], ["a,b", {}, [None], [["a"]], None]),
        ({"type": "list", "elements": "int"}, [[1]], [["x"]]),
        ({"type": "dict"}, [{}, {"a": 1}], [[], "a=1", None]),
        ({"type": "str", "choices": ["local", "git"]}, ["git"], ["gti"]),
    ],
)
def test_types_are_taken_at_their_word(spec: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if type_problem("x", value, spec)] == []
    assert [value for value in bad if not type_problem("x", value, spec)] == []


def test_a_wrong_choice_is_told_the_choices_and_the_nearest() -> None:
    problem = type_problem("x", "gti", {"type": "str", "choices": ["local", "git"]})
    assert problem == "one of local, git; the nearest is git"


VALUES: list[tuple[str, list[Any], list[Any]]] = [
    ("airflow_worker_log_port", [1024, 65535, "8793"], [0, 1023, 65536, -1]),
    ("haproxy_port", [80, 443], [0, 65536]),
    ("airflow_worker_concurrency", [1, 64], [0, -4]),
    ("airflow_worker_queues", [["default", "gpu-1"]], [[], [""], ["a b"], ["a,b"]]),
    ("airflow_user", ["airflow"], ["root", "Air Flow", ""]),
    ("airflow_address", ["10.0.0.1", "worker1.example.org", "fd00::1"], ["http://x", "x:80", "", "a b"]),
    ("airflow_broker_url", ["redis://:p@h:6379/0", "rediss://h"], ["amqp://h", "h:6379", ""]),
    ("airflow_database_url", ["postgresql+psycopg2://u:p@h/db"], ["mysql://h", "postgresql+asyncpg://h/db"]),
    ("airflow_result_backend", ["db+postgresql://u:p@h/db"], ["postgresql://h/db", "redis://h"]),
    ("airflow_web_url", ["http://h:8080", "https://h"], ["h:8080", "ftp://h"]),
    ("airflow_execution_api_url", ["http://h/execution/"], ["http://h/", "h/execution/"]),
    ("airflow_executor", ["CeleryExecutor", "LocalExecutor,CeleryExecutor"], ["LocalExecutor", "celery"]),
    ("airflow_admin_email", ["a@b.c"], ["a", ""]),
    ("airflow_dags_git_url", ["", "https://h/r.git", "git@h:r.git", "/srv/r.git"], ["h r", "r.git"]),
    ("airflow_dags_git_subdir", ["", "dags", "a/b"], ["/dags", "../dags", "a/../b"]),
    ("airflow_runtime_index_url", ["", "https://h/simple"], ["h/simple"]),
    ("redis_bind", [["0.0.0.0"], ["127.0.0.1", "-::1"], ["*"]], [[], ["everywhere"]]),
    ("airflow_runtime_extra_requirements", [[], ["a>=1", "b[c]"]], [["--pre"], ["a b"], ["apache-airflow==3.3.1"]]),
    ("airflow_dags_dir", [str(ROLES)], ["/nonexistent"]),
    ("airflow_runtime_ca_file", ["", __file__], ["/nonexistent"]),
]


@pytest.mark.parametrize(("name", "good", "bad"), VALUES, ids=[row[0] for row in VALUES])
def test_ranges_and_forms(name: str, good: list[Any], bad: list[Any]) -> None:
    assert name in SPECS
    assert [value for value in good if value_problem(name, value)] == []
    assert [value for value in bad if not value_problem(name, value)] == []


def test_every_rule_is_about_a_variable_that_exists() -> None:
    assert rules.RULES.keys() - SPECS.keys() == set()
    assert set(rules.SAME_EVERYWHERE) - SPECS.keys() == set()


def test_every_number_has_a_range() -> None:
    numbers = {name for name, spec in SPECS.items() if spec["type"] == "int" and "choices" not in spec}
    assert {name for name in numbers - rules.RULES.keys() if not name.startswith("local_machines_")} == set()


@pytest.mark.parametrize(("name", "value"), sorted((k, v) for k, v in DEFAULTS.items() if v not in ({}, [], "")))
def test_every_default_is_accepted(name: str, value: Any) -> None:
    if name in SPECS:
        assert (type_problem(name, value, SPECS[name]), value_problem(name, value)) == (None, None)


@pytest.mark.parametrize(
    ("version", "supported"),
    [("3.3.0", 1), ("3.3.2", 1), ("3.3", 1), ("3.3.10", 1), ("3.2.9", 0), ("3.4.0", 0), ("3.4.0rc1", 0), ("x", 0)],
)
def test_supported_versions(version: str, supported: int) -> None:
    assert (version_problem(version) is None) == bool(supported)


def test_a_template_that_fails_is_a_finding_and_nothing_follows_from_it() -> None:
    found = only(check(inventory({"worker1": {"airflow_worker_log_port": TEMPLATE_ERROR}})))
    assert found.variable == "airflow_worker_log_port"
    assert "'nothing' is undefined" in found.value


# --- Across hosts -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "value"), [("redis_port", 6380), ("airflow_version", "3.3.1")])
def test_what_the_others_must_know_is_the_same_everywhere(name: str, value: Any) -> None:
    found = only(check(inventory({"control1": {name: value}})))
    assert (found.where, found.variable) == ("host control1", name)
    assert check(inventory(everywhere={name: value})) == []


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
    found = only(check(inventory(everywhere={"flower_port": 8082})))
    assert (found.where, found.variable, found.value) == ("host control1", "flower_port", "8082")
    assert "airflow_api_server_first_port + 1" in found.expected
    assert check(inventory(everywhere={"airflow_worker_log_port": 8080})) == []
    assert only(check(inventory(everywhere={"haproxy_port": 22}))).expected.endswith(
        "SSH (ansible_port) has 22 on the same host"
    )


def test_the_last_api_server_must_have_a_port() -> None:
    found = only(check(inventory(everywhere={"airflow_api_server_first_port": 65535})))
    assert found.value == "65536"


@pytest.mark.parametrize(
    ("name", "value"),
    [("redis_bind", ["127.0.0.1"]), ("postgres_listen_addresses", ["localhost"]), ("haproxy_bind", "::1")],
)
def test_a_service_for_others_does_not_hide_on_loopback(name: str, value: Any) -> None:
    found = only(check(inventory({"control1": {name: value}})))
    assert (found.where, found.variable) == ("host control1", name)


# --- Secrets ----------------------------------------------------------------------------------------------------------
def test_missing_secrets_name_the_command() -> None:
    missing: dict[str, Any] = dict.fromkeys(SECRETS, ...)
    found = {item.where: item for item in check(inventory(everywhere=missing))}
    assert found.keys() == {"host control1", "host worker1", "host worker2"}
    assert set(found["host control1"].variable.split(", ")) == SECRETS.keys()
    assert "airflow_jwt_secret" not in found["host worker1"].variable
    assert found["host worker1"].remedy == "run ansible-playbook -i inventory/test playbooks/secrets.yml"


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


def test_a_git_source_needs_its_url() -> None:
    found = check(inventory(everywhere={"airflow_dags_source": "git"}))
    assert {item.variable for item in found} == {"airflow_dags_git_url"}
    git = {"airflow_dags_source": "git", "airflow_dags_git_url": "https://git.example.org/x.git"}
    assert check(inventory(everywhere=git)) == []


# --- airflow_config ---------------------------------------------------------------------------------------------------
CONFIG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"core": {"dagbag_import_timout": 1}}, "core.dagbag_import_timout", "1", "rename it to dagbag_import_timeout"),
    ({"cor": {"dagbag_import_timeout": 1}}, "cor", "a section with dagbag_import_timeout", "rename it to core"),
    ({"core": {"paralelism": 1}}, "core.paralelism", "1", "set variable airflow_parallelism instead"),
    ({"core": {"executor": "x"}}, "core.executor", "'x'", "set variable airflow_executor instead"),
    ({"core": {"fernet_key_cmd": "x"}}, "core.fernet_key_cmd", "(hidden)", "set variable airflow_fernet_key instead"),
    ({"celery": {"broker_url": "x"}}, "celery.broker_url", "(hidden)", "set variable airflow_broker_url instead"),
    ({"webserver": {"base_url": "x"}}, "webserver.base_url", "(hidden)", "set variable airflow_web_url instead"),
    (
        {"scheduler": {"dag_dir_list_interval": 5}},
        "scheduler.dag_dir_list_interval",
        "5",
        "dag_processor.refresh_interval",
    ),
    ({"core": {"smtp_host": "x"}}, "core.smtp_host", "'x'", "move it to section smtp"),
    ({"core": 5}, "core", "5", "nest it"),
    ({"zzzzzz": {"a": 1}}, "zzzzzz", "a section with a", "add zzzzzz to airflow_config_extra_sections"),
    (
        {"celery_broker_transport_options": {"socket_timout": 1}},
        "celery_broker_transport_options.socket_timout",
        "1",
        "rename it to socket_timeout",
    ),
]


@pytest.mark.parametrize(("config", "variable", "value", "remedy"), CONFIG, ids=[row[1] for row in CONFIG])
def test_a_wrong_setting_is_refused(config: dict[str, Any], variable: str, value: str, remedy: str) -> None:
    found = list(config_problems(config, [], OPTIONS))
    assert len(found) == 1
    assert found[0][:2] == (f"airflow_config.{variable}", value)
    assert remedy in found[0][3]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"core": {"dagbag_import_timeout": 60}, "smtp": {"smtp_host": "mail.example.org"}},
        {"database": {"sql_alchemy_engine_args_cmd": "x"}},
        {"celery_broker_transport_options": {"socket_timeout": 3, "a_name_of_kombus_own": 1}},
    ],
)
def test_a_right_setting_is_accepted(config: dict[str, Any]) -> None:
    assert list(config_problems(config, [], OPTIONS)) == []


def test_an_extra_section_is_accepted_unseen() -> None:
    assert list(config_problems({"acme": {"x": 1}}, ["acme"], OPTIONS)) == []


def test_every_owned_option_exists_and_its_variable_too() -> None:
    for name, variable in rules.OWNED_OPTIONS.items():
        section, option = name.split(".")
        assert option in OPTIONS.sections[section]
        assert all(part in SPECS for part in variable.split(" and "))


# --- Plans ------------------------------------------------------------------------------------------------------------
def test_a_worker_is_asked_for_its_port_and_its_endpoints() -> None:
    plan = machine_plans(inventory(), ["worker1"])
    assert plan.keys() == {"worker1"}
    worker = plan["worker1"]
    assert [entry["port"] for entry in worker["ports"]] == [8793]
    assert {(entry["variable"], entry["address"], entry["port"], entry["host"]) for entry in worker["endpoints"]} == {
        ("airflow_result_backend", "192.0.2.0", 5433, "control1"),
        ("airflow_broker_url", "192.0.2.0", 6379, "control1"),
        ("airflow_execution_api_url", "192.0.2.0", 443, "control1"),
    }
    assert worker["names"] == []
    assert worker["airflow_version"] == DEFAULTS["airflow_version"]


def test_the_control_node_is_asked_for_its_ports_and_the_workers_of_the_play() -> None:
    control = machine_plans(inventory(), ["control1", "worker2"])["control1"]
    assert [entry["port"] for entry in control["ports"]] == [5432, 5433, 6379, 443, 80, 8081, 8082, 8974, 8794, 5555]
    assert control["ports"][6]["units"] == ["airflow-api-server@8082.service"]
    assert control["names"] == [{"address": "192.0.2.2", "host": "worker2"}]
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
        ("192.0.2.0", 443, "control1"),
    }


def test_no_plan_holds_a_secret() -> None:
    text = repr(machine_plans(inventory(), ["control1", "worker1", "worker2"]))
    assert [name for name, value in SECRETS.items() if value in text] == []
