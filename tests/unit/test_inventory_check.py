"""The rules for an inventory, each by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import (
    inventory_check,
    object_check,
    secret_values,
    webserver_check,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import (
    WEBSERVER_TEXT,
    AirflowOptions,
    Host,
    Inventory,
    Unresolvable,
    backup_warnings,
    certificate_warnings,
    check,
    config_problems,
    machine_plans,
    name_warnings,
    names_needed,
    type_problem,
    value_problem,
    version_problem,
)
from certificate_maker import make

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
    return Inventory(members, hosts, SPECS, OPTIONS)


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


# Variables that the clients of the cluster ignore, as real networks need them.
PROXIES = (
    *(
        name
        for one in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY")
        for name in (one, one.lower())
    ),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC", "TMPDIR", "LANG", "TZ"),
    *("PYTHONWARNINGS", "PYTHON_KEYRING_BACKEND", "MALLOC_ARENA_MAX"),
)
# Variables that decide which code the programs of the cluster run, and whom they find under a name.
STEER_PROGRAMS = (
    *("HOME", "PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONOPTIMIZE", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"),
    *("OPENSSL_CONF", "OPENSSL_MODULES", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "NOTIFY_SOCKET"),
)
# Variables that libpq, Celery and uvicorn read when they connect or serve.
STEER_CONNECTIONS = (
    *("PGHOSTADDR", "PGSERVICE", "PGOPTIONS", "PGSSLMODE", "PGPASSFILE", "PGTARGETSESSIONATTRS", "PGSYSCONFDIR"),
    *("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CELERY_LOADER", "KOMBU_LOG_DEBUG", "C_FORCE_ROOT"),
    *("DJANGO_SETTINGS_MODULE", "SSLKEYLOGFILE", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"),
)
VALUES: list[tuple[str, list[Any], list[Any]]] = [
    ("airflow_worker_log_port", [1024, 65535, "8793"], [0, 1023, 65536, -1]),
    ("haproxy_port", [80, 443], [0, 65536]),
    ("airflow_worker_batch", ["1", "20", "5%", "50%", "100%"], ["0", "0%", "101%", "half", "1.5"]),
    ("airflow_worker_concurrency", [1, 64], [0, -4]),
    ("airflow_worker_queues", [["default", "gpu-1"]], [[], [""], ["a b"], ["a,b"]]),
    ("airflow_user", ["airflow"], ["root", "Air Flow", ""]),
    ("airflow_address", ["10.0.0.1", "worker1.example.org", "fd00::1"], ["http://x", "x:80", "", "a b"]),
    ("airflow_broker_url", ["redis://:p@h:6379/0", "rediss://h"], ["amqp://h", "h:6379", ""]),
    ("airflow_database_url", ["postgresql+psycopg2://u:p@h/db"], ["mysql://h", "postgresql+asyncpg://h/db"]),
    ("airflow_result_backend", ["db+postgresql://u:p@h/db"], ["postgresql://h/db", "redis://h"]),
    (
        "airflow_web_url",
        ["http://h:8080", "https://h", "https://h.example.org/", "https://192.0.2.1", "http://[2001:db8::1]:8080"],
        [
            *("h:8080", "ftp://h", "https://h/airflow", "https://h//", "https://h/?a=b", "https://h?a", "https://h#a"),
            *("https://me@h", "https://me:pw@h", "https://", "https://h:port", "https://[::1", "https://h h", ""),
        ],
    ),
    (
        "airflow_execution_api_url",
        ["http://h/execution/", "https://h:9443/execution", "https://h/team/execution/"],
        ["http://h/", "h/execution/", "http://h/?/execution/", "http://me:pw@h/execution/", "http://h/#/execution/"],
    ),
    (
        "airflow_executor",
        ["CeleryExecutor"],
        [
            *("LocalExecutor", "celery", "", "LocalExecutor,CeleryExecutor", "CeleryExecutor,KubernetesExecutor"),
            *("CeleryExecutor,", "alias:CeleryExecutor", "CeleryKubernetesExecutor"),
        ],
    ),
    ("airflow_admin_email", ["a@b.c"], ["a", ""]),
    ("airflow_dags_git_url", ["", "https://h/r.git", "git@h:r.git", "/srv/r.git"], ["h r", "r.git"]),
    ("airflow_dags_git_subdir", ["", "dags", "a/b"], ["/dags", "../dags", "a/../b"]),
    ("airflow_runtime_index_url", ["", "https://h/simple"], ["h/simple"]),
    # From 1 GiB on, a table goes on in a second file, and the limit would be none.
    ("postgres_results_max_mb", [64, 512, 1023], [0, 63, 1024]),
    ("redis_bind", [["0.0.0.0"], ["127.0.0.1", "-::1"], ["*"]], [[], ["everywhere"]]),
    ("airflow_runtime_extra_requirements", [[], ["a>=1", "b[c]"]], [["--pre"], ["a b"], ["apache-airflow==3.3.1"]]),
    *(
        (
            f"airflow_{name}_packages",
            [[], ["libmariadb3", "g++", "libssl3:amd64=3.0~1-2"]],
            [["a b"], ["./a.deb"], ["-y"]],
        )
        for name in ("runtime", "runtime_build", "worker", "worker_build")
    ),
    (
        "backup_repository",
        ["/var/lib/pgbackrest", "/srv/nfs/airflow", "/homes/x", "/srv/a.b/..c", "/data.1"],
        [
            "backups",
            "/var/lib/postgresql/x",
            "/tmp",
            "/",
            "",
            "/home/backup",
            "/root/backup",
            "/var/tmp/backup",
            "/run/user/1000/backup",
            "/srv/../home/backup",
            "/srv/..",
        ],
    ),
    ("backup_fetch_dir", ["", "/srv/copies"], ["copies"]),
    ("backup_full_schedule", ["Sun *-*-* 02:30:00", "daily", "*:0/5"], ["", "-1", "2 o'clock"]),
    ("backup_archive_timeout", [10, 300], [0, 9]),
    ("airflow_housekeeping_log_days", [1, 365], [0]),
    ("airflow_worker_extra_requirements", [[], ["torch>=2"]], [["a b"], ["apache-airflow==3.3.1"]]),
    ("airflow_worker_autoscale", [[], [16, 2], [4, 4], ["8", "1"]], [[8], [2, 16], [8, 0], [1001, 1], [8, 4, 2]]),
    *(
        (
            name,
            [{}, {"HF_HOME": "/data", "N": 3}, *({proxy: "http://p:3128"} for proxy in PROXIES)],
            [
                *(
                    {name: "x"}
                    for name in ("A-B", "", "AIRFLOW__CORE__FERNET_KEY", "_AIRFLOW_PROCESS_CONTEXT", "airflow_home")
                ),
                *({name: "/x"} for name in STEER_PROGRAMS),
                *({"A": value} for value in (True, "b\nc", None)),
            ],
        )
        for name in sorted(rules.ENVIRONMENTS)
    ),
    *(
        (name, [], [{variable: "x"} for variable in STEER_CONNECTIONS])
        for name in sorted(rules.ENVIRONMENTS - {"airflow_worker_environment"})
    ),
    ("airflow_worker_environment", [{variable: "x"} for variable in STEER_CONNECTIONS], []),
    ("airflow_dags_dir", [str(ROLES)], ["/nonexistent"]),
    (
        "airflow_connections",
        [
            {},
            {"db": "postgres://me:hunter22@db.example.org:5432/shop?sslmode=require"},
            {"db": {"uri": "aws://", "description": "d"}, "gone": {"state": "absent"}},
            {"smtp": {"conn_type": "smtp", "host": "mail", "port": 25, "extra": {"disable_ssl": True}}},
            {"smtp": {"conn_type": "smtp", "port": "25", "extra": '{"a": 1}', "password": None, "state": "present"}},
        ],
        [
            {"a b": "postgres://h"},
            {"db": None},
            {"db": "no-uri"},
            {"db": "postgres://h:port/"},
            {"db": {}},
            {"db": {"conn_type": "http", "passwrd": "hunter22"}},
            {"db": {"uri": "aws://", "host": "h"}},
            {"db": {"conn_type": "http", "port": 70000}},
            {"db": {"conn_type": "http", "port": True}},
            {"db": {"conn_type": "http", "password": 12345678}},
            {"db": {"conn_type": "http", "extra": "[1]"}},
            {"db": {"conn_type": "http", "extra": ["a"]}},
            {"db": {"conn_type": "http", "state": "gone"}},
        ],
    ),
    (
        "airflow_variables",
        [
            {"a": "x", "b": 1, "c": True, "d": [1], "e": {"f": 1}, "g": {"value": {"x": 1}, "description": "d"}},
            {"a": {"state": "absent"}, "b": {"state": "CA"}},
        ],
        [{"a": None}, {"a": {"value": None}}, {"a": {"value": 1, "unit": "kg"}}, {"a": {"state": "absent", "zip": 1}}],
    ),
    (
        "airflow_pools",
        [
            {"db": {"slots": 8, "description": "d", "include_deferred": True}, "all": {"slots": -1}},
            {"db": {"state": "absent"}},
        ],
        [
            {"default_pool": {"slots": 1}},
            {"cluster_canary": {"slots": 1}},
            {"db": {}},
            {"db": 8},
            {"db": {"slots": -2}},
            {"db": {"slots": True}},
            {"db": {"slots": 1, "slot": 1}},
            {"db": {"slots": 1, "include_deferred": "yes"}},
        ],
    ),
    (
        "airflow_roles",
        [
            {"Analyst": {"permissions": {"DAGs": ["can_read"], "DAG:x": ["can_edit"]}}, "Empty": {}},
            {"Old": {"state": "absent"}},
        ],
        [
            {"Viewer": {"permissions": {"DAGs": ["can_edit"]}}},
            {"Admin": {"state": "absent"}},
            {"Analyst": ["can_read"]},
            {"Analyst": {"permissions": ["can_read"]}},
            {"Analyst": {"permissions": {"DAGs": "can_read"}}},
            {"Analyst": {"permission": {"DAGs": ["can_read"]}}},
        ],
    ),
    (
        "airflow_users",
        [
            {"ann": {"email": "ann@example.org", "roles": ["Op", "Analyst"], "first_name": "A", "last_name": "B"}},
            {
                "bot": {
                    "email": "b@c",
                    "roles": ["User"],
                    "password": "hunter22",
                    "update_password": "always",
                    "active": False,
                }
            },
            {"ann@example.org": {"state": "absent"}},
        ],
        [
            {"ann": {"roles": ["Op"]}},
            {"ann": {"email": "ann", "roles": ["Op"]}},
            {"ann": {"email": "ann@example.org"}},
            {"ann": {"email": "ann@example.org", "roles": "Op"}},
            {"ann": {"email": "ann@example.org", "roles": []}},
            {"ann": {"email": "ann@example.org", "roles": ["Op"], "password": "short"}},
            {"ann": {"email": "ann@example.org", "roles": ["Op"], "password": 12345678}},
            {"ann": {"email": "ann@example.org", "roles": ["Op"], "update_password": "always"}},
            {"ann": {"email": "ann@example.org", "roles": ["Op"], "active": "no"}},
            {"a b": {"email": "ann@example.org", "roles": ["Op"]}},
        ],
    ),
    ("airflow_webserver_config", ["", __file__], ["/nonexistent", "webserver_config.py", str(ROLES)]),
    ("airflow_plugins_dir", ["", str(ROLES)], ["/nonexistent", "plugins", __file__]),
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
    found = only(check(inventory(everywhere={"flower_port": 8092})))
    assert (found.where, found.variable, found.value) == ("host control1", "flower_port", "8092")
    assert "airflow_execution_api_first_port + 1" in found.expected
    assert check(inventory(everywhere={"airflow_worker_log_port": 8080})) == []
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


def test_the_plan_of_a_machine_has_the_addresses_to_listen_on() -> None:
    own = {"redis_bind": ["192.0.2.0"], "airflow_api_server_bind": "127.0.0.1"}
    plan = machine_plans(inventory({"control1": own}), ["control1"])["control1"]
    assert plan["binds"] == [
        {"variable": "redis_bind", "addresses": ["192.0.2.0"], "reached": "192.0.2.0"},
        {"variable": "airflow_api_server_bind", "addresses": ["127.0.0.1"], "reached": ""},
    ]


# --- Secrets ----------------------------------------------------------------------------------------------------------
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


def test_a_git_source_needs_its_url() -> None:
    found = check(inventory(everywhere={"airflow_dags_source": "git"}))
    assert {item.variable for item in found} == {"airflow_dags_git_url"}
    git = {"airflow_dags_source": "git", "airflow_dags_git_url": "https://git.example.org/x.git"}
    assert check(inventory(everywhere=git)) == []


def test_bundles_and_credentials_are_checked_on_each_host() -> None:
    credentials = {"airflow_git_credentials": [{"name": "hub", "token": "hunter22"}]}
    git = {"airflow_dags_source": "git", "airflow_dags_git_url": "https://git.example.org/x.git"}
    named = {"airflow_dags_git_credentials": "hub"}
    assert check(inventory(everywhere=credentials | git | named)) == []
    found = check(inventory(everywhere=git | named))
    assert {(item.variable, item.value) for item in found} == {("airflow_dags_git_credentials", "'hub'")}
    found = check(inventory(everywhere=credentials | git | {"airflow_dags_git_url": "https://u:pw@h/x.git"}))
    assert {(item.variable, item.value) for item in found} == {("airflow_dags_git_url", "'https://(hidden)@h/x.git'")}
    found = check(inventory(everywhere={"airflow_git_credentials": [{"name": "hub", "tokn": "hunter22"}]}))
    assert {item.variable for item in found} == {"airflow_git_credentials[0]", "airflow_git_credentials[0].tokn"}
    assert "hunter22" not in str(found)


# --- Queues -----------------------------------------------------------------------------------------------------------
def test_the_queue_of_tasks_that_name_none_has_a_worker() -> None:
    found = only(check(inventory(everywhere={"airflow_worker_queues": ["reports", "gpu"]})))
    assert (found.where, found.variable, found.value) == (
        "host control1",
        "airflow_config.operators.default_queue",
        "'default'",
    )
    assert "gpu, reports" in found.expected
    own = {"airflow_worker_queues": ["gpu"], "airflow_config": {"operators": {"default_queue": "gpu"}}}
    assert check(inventory(everywhere=own)) == []
    assert check(inventory({"worker1": {"airflow_worker_queues": ["gpu"]}})) == []


def test_a_queue_that_a_dag_names_has_a_worker(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("XOperator(task_id='a', queue='gpu')\n")
    local = {"airflow_dags_source": "local", "airflow_dags_dir": str(tmp_path)}
    found = only(check(inventory(everywhere=local)))
    assert (found.where, found.value) == ("DAG file a.py, line 1", "'gpu'")
    assert check(inventory({"worker2": {"airflow_worker_queues": ["gpu"]}}, everywhere=local)) == []
    assert check(inventory(everywhere=local | {"airflow_dags_source": "git", "airflow_dags_git_url": "/x"})) == []


def test_a_dangling_link_among_the_dags_is_found(tmp_path: Path) -> None:
    local = {"airflow_dags_source": "local", "airflow_dags_dir": str(tmp_path)}
    assert check(inventory(everywhere=local)) == []
    (tmp_path / "linked.py").symlink_to("/nonexistent")
    found = check(inventory(everywhere=local))
    assert {finding.variable for finding in found} == {"airflow_dags_dir"}
    assert f"{tmp_path}/linked.py is a symbolic link to /nonexistent" in found[0].expected
    assert check(inventory(everywhere=local | {"airflow_dags_source": "git", "airflow_dags_git_url": "/x"})) == []


def test_a_dangling_link_among_the_plugins_is_found_whatever_the_source_of_the_dags_is(tmp_path: Path) -> None:
    everywhere = {"airflow_plugins_dir": str(tmp_path), "airflow_dags_source": "git", "airflow_dags_git_url": "/x"}
    assert check(inventory(everywhere=everywhere)) == []
    (tmp_path / "linked.py").symlink_to("/nonexistent")
    found = check(inventory(everywhere=everywhere))
    assert {finding.variable for finding in found} == {"airflow_plugins_dir"}
    assert f"{tmp_path}/linked.py is a symbolic link to /nonexistent" in found[0].expected


def test_a_webserver_config_is_checked_as_it_is_rendered() -> None:
    def found(text: Any, *requirements: str) -> list[Finding]:
        everywhere = {"airflow_webserver_config": __file__, WEBSERVER_TEXT: text}
        return check(inventory(everywhere=everywhere | {"airflow_runtime_extra_requirements": list(requirements)}))

    assert found("AUTH_TYPE = AUTH_OAUTH", "authlib") == []
    for text in ("AUTH_TYPE = AUTH_OAUTH", "SECRET_KEY = 'hunter22'", TEMPLATE_ERROR):
        finding = only(found(text))
        assert (finding.where, finding.variable) == ("host control1", "airflow_webserver_config")
        assert __file__ in finding.value
        assert "hunter22" not in finding.value + finding.expected


def test_the_environment_of_tasks_is_never_told() -> None:
    found = only(check(inventory({"worker1": {"airflow_worker_environment": {"A B": "hunter22"}}})))
    assert (found.variable, found.value) == ("airflow_worker_environment", "(hidden)")
    assert "hunter22" not in found.expected + found.remedy


@pytest.mark.parametrize("name", object_check.CHECKS)
def test_declared_objects_are_those_of_the_host_that_applies_them(name: str) -> None:
    absent = {"hunter22": {"state": "absent"}}
    found = only(check(inventory({"worker1": {name: absent}})))
    assert (found.where, found.variable, found.value) == ("host worker1", name, "(hidden)")
    assert "control1" in found.expected
    assert check(inventory(everywhere={name: absent})) == []
    assert check(inventory({"control1": {name: absent}})) == []


@pytest.mark.parametrize("name", ["airflow_connections", "airflow_users", "airflow_variables"])
def test_no_value_of_a_declared_object_is_told(name: str) -> None:
    wrong = {"ann": {"value": "hunter22", "password": "hunter22", "conn_type": "http", "wrong": "hunter22"}}
    found = only(check(inventory({"control1": {name: wrong}})))
    assert (found.variable, found.value) == (name, "(hidden)")
    assert "ann" in found.expected
    assert "hunter22" not in found.expected + found.remedy


def test_the_first_user_is_not_declared_twice() -> None:
    again = {"airflow_users": {"Admin": {"email": "a@example.org", "roles": ["Admin"]}}}
    assert "airflow_admin_email" in only(check(inventory({"control1": again}))).remedy


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("AIRFLOW_CONN_MY_DB", "airflow_connections"),
        ("AIRFLOW_VAR_REGION", "airflow_variables"),
        ("AIRFLOW__CORE__PARALLELISM", "airflow_config"),
        ("airflow_conn_my_db", "airflow_connections"),
    ],
)
def test_a_refused_environment_names_the_variable_that_is_for_it(name: str, remedy: str) -> None:
    found = only(check(inventory({"worker1": {"airflow_worker_environment": {name: "hunter22"}}})))
    assert remedy in found.expected
    assert remedy in SPECS


def test_each_remedy_names_variables_that_exist() -> None:
    texts = [*rules.OWNED_OPTIONS.values(), *rules.PASSED_BY_THE_CLUSTER.values(), *webserver_check.OWNED.values()]
    texts += [text for pair in rules.FIXED_OPTIONS.values() for text in pair]
    texts += list(object_check.OWN_POOLS.values())
    for module in (rules, object_check, webserver_check, inventory_check):
        source = Path(str(module.__file__)).read_text()
        texts += re.findall(r"(?:set|rename|remove|declare|add|variable) [a-z]+_\w+", source)
    names = {
        name
        for text in texts
        for name in re.findall(r"\b[a-z]+_\w+", text)
        if name.startswith(rules.PREFIXES) and not name.startswith("airflow_celery_cluster")
    }
    assert len(names) > 40
    assert names - SPECS.keys() - rules.PASSED_BY_THE_CLUSTER.keys() - {*rules.PROCESS_GROUPS} == set()


# --- airflow_config ---------------------------------------------------------------------------------------------------
CONFIG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"core": {"dagbag_import_timout": 1}}, "core.dagbag_import_timout", "1", "rename it to dagbag_import_timeout"),
    ({"cor": {"dagbag_import_timeout": 1}}, "cor", "a section with dagbag_import_timeout", "rename it to core"),
    ({"core": {"paralelism": 1}}, "core.paralelism", "1", "set variable airflow_parallelism instead"),
    ({"core": {"executor": "x"}}, "core.executor", "'x'", "set variable airflow_executor instead"),
    ({"core": {"fernet_key_cmd": "x"}}, "core.fernet_key_cmd", "(hidden)", "set variable airflow_fernet_key instead"),
    ({"celery": {"broker_url": "x"}}, "celery.broker_url", "(hidden)", "set variable airflow_broker_url instead"),
    (
        {"celery": {"celery_config_options": "mine.X"}},
        "celery.celery_config_options",
        "'mine.X'",
        "extra_celery_config",
    ),
    (
        {"dag_processor": {"dag_bundle_config_list": []}},
        "dag_processor.dag_bundle_config_list",
        "[]",
        "put your bundles into airflow_dag_bundles",
    ),
    ({"celery": {"flower_url_prefix": "x"}}, "celery.flower_url_prefix", "(hidden)", "remove it"),
    (
        {"celery": {"extra_celery_config": '{"task_send_sent_event": true}'}},
        "celery.extra_celery_config",
        """'{"task_send_sent_event": true}'""",
        "remove task_send_sent_event",
    ),
    ({"webserver": {"base_url": "x"}}, "webserver.base_url", "(hidden)", "set variable airflow_web_url instead"),
    (
        {"scheduler": {"dag_dir_list_interval": 5}},
        "scheduler.dag_dir_list_interval",
        "5",
        "dag_processor.refresh_interval",
    ),
    ({"core": {"smtp_host": "x"}}, "core.smtp_host", "'x'", "move it to section smtp"),
    ({"smtp": {"smtp_host": "x"}}, "smtp.smtp_host", "'x'", "declare smtp_default in airflow_connections"),
    ({"smtp": {"smtp_password": "x"}}, "smtp.smtp_password", "(hidden)", "declare smtp_default in airflow_connections"),
    ({"email": {"ssl_context": "none"}}, "email.ssl_context", "'none'", "declare smtp_default in airflow_connections"),
    (
        {
            "smtp": {"smtp_port": 25},
            "email": {"email_backend": "airflow.utils.email.send_email_smtp", "email_conn_id": "relay"},
        },
        "smtp.smtp_port",
        "25",
        "declare relay in airflow_connections",
    ),
    ({"core": 5}, "core", "5", "nest it"),
    ({"email": {"subject_template": "a\n# b"}}, "email.subject_template", "'a\\n# b'", "write it on one line"),
    ({"email": {"subject_template": "a\n  b"}}, "email.subject_template", "'a\\n  b'", "write it on one line"),
    ({"email": {"subject_template": " a"}}, "email.subject_template", "' a'", "write it on one line"),
    ({"database": {"sql_alchemy_engine_args": "a "}}, "database.sql_alchemy_engine_args", "(hidden)", "on one line"),
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
        {"core": {"dagbag_import_timeout": 60}, "email": {"from_email": "airflow@example.org"}},
        {"email": {"email_backend": "site.mail.send"}, "smtp": {"smtp_host": "mail.example.org"}},
        {"database": {"sql_alchemy_engine_args_cmd": "x"}},
        {"core": {"allowed_deserialization_classes": "airflow.*\nmy.*\n"}},
        {"celery_broker_transport_options": {"socket_timeout": 3, "a_name_of_kombus_own": 1}},
        {"celery": {"extra_celery_config": {"worker_max_tasks_per_child": 10}}},
    ],
)
def test_a_right_setting_is_accepted(config: dict[str, Any]) -> None:
    assert list(config_problems(config, [], OPTIONS)) == []


def test_an_extra_section_is_accepted_unseen() -> None:
    assert list(config_problems({"acme": {"x": 1}}, ["acme"], OPTIONS)) == []


def test_a_value_of_an_extra_section_must_be_readable_too() -> None:
    assert [found[0] for found in config_problems({"acme": {"x": "a\r b", "y": 1}}, ["acme"], OPTIONS)] == [
        "airflow_config.acme.x"
    ]


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
        ("airflow_execution_api_url", "192.0.2.0", 9443, "control1"),
    }
    assert worker["names"] == []
    assert worker["airflow_version"] == DEFAULTS["airflow_version"]


def test_a_machine_is_asked_for_the_packages_of_its_pool() -> None:
    own = {"worker1": {"airflow_worker_packages": ["libgdal32"]}}
    plans = machine_plans(inventory(own, everywhere={"airflow_runtime_packages": ["libpq5"]}), ["control1", "worker1"])
    assert [package["name"] for package in plans["worker1"]["packages"]] == ["libpq5", "libgdal32"]
    assert plans["control1"]["packages"] == [{"name": "libpq5", "variable": "airflow_runtime_packages"}]


def test_the_control_node_is_asked_for_its_ports_and_the_workers_of_the_play() -> None:
    control = machine_plans(inventory(), ["control1", "worker2"])["control1"]
    ports = [5432, 5433, 6379, 443, 80, 9443, 8081, 8091, 8092, 8974, 8794, 5555]
    assert [entry["port"] for entry in control["ports"]] == ports
    assert control["ports"][8]["units"] == ["airflow-execution-api@8092.service"]
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
        ("192.0.2.0", 9443, "control1"),
    }


def test_no_plan_holds_a_secret() -> None:
    text = repr(machine_plans(inventory(), ["control1", "worker1", "worker2"]))
    assert [name for name, value in SECRETS.items() if value in text] == []


# --- Certificates -----------------------------------------------------------------------------------------------------
ROOT = make("Root", ca=True)
SERVER_NAMES = ["control1", "192.0.2.0", "127.0.0.1"]
SERVER = make("control1", ROOT, SERVER_NAMES)
PASSPHRASE = SECRETS["airflow_ca_passphrase"]


@dataclass
class Files:
    """Files on the controller, by the variables that name them."""

    directory: Path
    own: dict[str, str] = field(default_factory=dict)

    def put(self, variable: str, content: bytes) -> Files:
        path = self.directory / variable
        path.write_bytes(content)
        self.own[variable] = str(path)
        return self

    def findings(self, everywhere: Mapping[str, Any] | None = None, **groups: Sequence[str]) -> list[Finding]:
        return check(inventory(everywhere=self.own | dict(everywhere or {}), groups=groups))

    def warnings(self) -> list[str]:
        return certificate_warnings(inventory(everywhere=self.own))


# --- Sandbox ----------------------------------------------------------------------------------------------------------
LOGS = {"logging": {"base_log_folder": "/srv/logs"}}


@pytest.mark.parametrize(
    ("own", "variable"),
    [
        ({"airflow_config": LOGS}, "airflow_config.logging.base_log_folder"),
        ({"airflow_config": {"logging": {"base_log_folder": "/tmp/logs"}}}, "airflow_config.logging.base_log_folder"),
        ({"airflow_config": {"core": {"dags_folder": "/home/me/dags"}}}, "airflow_config.core.dags_folder"),
        (
            {"airflow_config": {"dag_processor": {"dag_bundle_storage_path": "/root/x"}}},
            "airflow_config.dag_processor.dag_bundle_storage_path",
        ),
        (
            {"airflow_config": {"logging": {"base_log_folder": "/var/lib/airflow/other"}}},
            "airflow_config.logging.base_log_folder",
        ),
        ({"airflow_config": LOGS, "airflow_sandbox": {"scheduler": {"ReadWritePaths": "/srv/logs"}}}, ""),
        ({"airflow_config": LOGS, "airflow_worker_sandbox": {"ReadWritePaths": ["-/srv"]}}, ""),
        ({"airflow_config": LOGS, "airflow_sandbox": {"scheduler": {"ProtectSystem": "full"}}}, ""),
        (
            {
                "airflow_config": {"core": {"dags_folder": "/home/me/dags"}},
                "airflow_sandbox": {"dag-processor": {"ProtectHome": False}},
            },
            "",
        ),
        ({"airflow_config": {"core": {"dags_folder": "/homework/dags"}}}, ""),
        ({"backup_settings": {"repo1-path": "/srv/x"}}, "backup_settings.repo1-path"),
        ({"backup_settings": {"repo2-path": "/srv/x"}}, "backup_settings.repo2-path"),
        ({"backup_settings": {"spool-path": "/srv/x"}}, "backup_settings.spool-path"),
        ({"backup_settings": {"repo2-path": "/x", "repo2-type": "s3"}}, ""),
        ({"backup_settings": {"repo1-path": "/x", "repo1-type": "s3"}}, ""),
    ],
)
def test_a_path_that_the_sandbox_of_a_unit_hides_is_refused(own: dict[str, Any], variable: str) -> None:
    found = check(inventory({"control1": own}))
    assert [item.variable for item in found] == ([variable] if variable else [])


def test_what_is_hidden_is_what_the_sandbox_says() -> None:
    sandbox = yaml.safe_load((ROLES / "airflow/vars/main.yml").read_text())["airflow_sandbox_settings"]
    assert all(sandbox[setting] is True for setting in rules.HIDDEN_PATHS.values())
    assert sandbox["ProtectSystem"] == "strict"


# --- Backups ----------------------------------------------------------------------------------------------------------
def test_backups_that_are_lost_with_their_host_are_worth_a_warning() -> None:
    assert backup_warnings(inventory()) == []
    assert backup_warnings(inventory(everywhere={"backup_fetch_dir": "/srv/copies"})) == []
    (said,) = backup_warnings(inventory(everywhere={"backup_fetch_dir": ""}))
    assert said.startswith('host control1: backup_fetch_dir = ""')
    store = {"backup_fetch_dir": "", "backup_settings": {"repo1-type": "s3"}}
    assert backup_warnings(inventory(everywhere=store)) == []


def test_no_backups_at_all_are_worth_a_warning() -> None:
    (said,) = backup_warnings(inventory(everywhere={"backup_enabled": False, "backup_fetch_dir": ""}))
    assert "backup_enabled = false" in said


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The files of a person who brings certificates, with nothing wrong in them."""
    made = Files(tmp_path).put("certificates_ca_file", ROOT.pem)
    return made.put("certificates_host_file", SERVER.pem).put("certificates_host_key_file", SERVER.key_pem)


def test_sound_certificates_have_no_finding_and_no_warning(files: Files) -> None:
    assert (files.findings(), files.warnings()) == ([], [])


def test_a_wrong_certificate_is_told_with_host_file_and_remedy(files: Files) -> None:
    expired = make("control1", ROOT, SERVER_NAMES, days=(-9, -1))
    files.put("certificates_host_file", expired.pem).put("certificates_host_key_file", expired.key_pem)
    found = only(files.findings())
    assert (found.where, found.variable) == ("host control1", "certificates_host_file")
    assert files.own["certificates_host_file"] in found.value
    assert f"expired on {expired.certificate.not_valid_after_utc:%Y-%m-%d}" in found.value
    # Who knows about it by a refusal needs no warning beside it.
    assert files.warnings() == []


def test_a_wrong_key_is_told_with_its_own_variable(files: Files) -> None:
    assert (
        only(files.put("certificates_host_key_file", ROOT.key_pem).findings()).variable == "certificates_host_key_file"
    )


@pytest.mark.parametrize("variable", ["certificates_ca_file", "certificates_host_file", "certificates_host_key_file"])
def test_a_file_that_is_not_there_is_told(files: Files, variable: str) -> None:
    Path(files.own[variable]).unlink()
    found = {item.value for item in files.findings() if item.variable == variable}
    assert found == {f"'{files.own[variable]}', No such file or directory"}


@pytest.mark.parametrize("variable", ["certificates_host_file", "certificates_host_key_file"])
def test_who_brings_an_authority_brings_certificates(files: Files, variable: str) -> None:
    del files.own[variable]
    found = only(files.findings())
    assert (found.where, found.variable, found.value) == ("host control1", variable, "not set")


def test_a_relative_path_is_refused(files: Files) -> None:
    found = only(files.findings({"certificates_host_file": "tls/control1.pem"}))
    assert (found.value, "{{ inventory_dir }}/" in found.remedy) == ("'tls/control1.pem'", True)


def test_certificates_without_their_authority_are_refused(files: Files) -> None:
    del files.own["certificates_ca_file"]
    found = {item.variable: item.expected for item in files.findings()}
    assert found.keys() == {"certificates_host_file", "certificates_host_key_file"}
    assert "certificates_ca_file beside it" in found["certificates_host_file"]


def test_one_authority_for_all(files: Files) -> None:
    (files.directory / "other.pem").write_bytes(ROOT.pem)
    found = check(inventory({"worker1": {"certificates_ca_file": str(files.directory / "other.pem")}}, None, files.own))
    assert (only(found).where, only(found).variable) == ("host worker1", "certificates_ca_file")


EXPIRED = make("Old", ca=True, days=(-9, -1))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no certificate in PEM form"),
        (SERVER.pem, "CN=control1, which is no authority"),
        (ROOT.pem + SERVER.pem, "CN=control1, which is no authority"),
        (EXPIRED.pem, "CN=Old, expired on"),
        (make("New", ca=True, days=(1, 9)).pem, "CN=New, not valid before"),
    ],
)
def test_authorities_that_are_none(files: Files, content: bytes, told: str) -> None:
    found = [item for item in files.put("certificates_ca_file", content).findings() if "ca_file" in item.variable]
    # Every host trusts it, so every host is told.
    assert [item.where for item in found] == ["host control1", "host worker1", "host worker2"]
    assert all(told in item.value for item in found)


def test_an_authority_may_follow_an_expired_one(files: Files) -> None:
    assert files.put("certificates_ca_file", EXPIRED.pem + ROOT.pem).findings() == []


ON_HOSTS_OF_THEIR_OWN: dict[str, Sequence[str]] = {
    "postgres": ["db1"],
    "redis": ["broker1"],
    "airflow_api_server": ["api1"],
    "flower": ["flower1"],
    "control_plane": ["control1", "db1", "broker1", "api1", "flower1"],
    "airflow": ["control1", "api1", "flower1", "worker1", "worker2"],
}
BINDS = {"airflow_api_server_bind": "0.0.0.0", "airflow_flower_bind": "0.0.0.0"}


@pytest.mark.parametrize(
    ("host", "own", "names"),
    [
        ("db1", {}, {("192.0.2.3", False)}),
        ("db1", {"airflow_database_host": "db.example.org"}, {("db.example.org", False)}),
        ("db1", {"airflow_address": "db1.example.org"}, {("db1.example.org", False)}),
        ("broker1", {}, {("192.0.2.1", False)}),
        ("control1", {}, {("192.0.2.2", False), ("127.0.0.1", False)}),
        ("control1", {"haproxy_bind": "192.0.2.2"}, {("192.0.2.2", False)}),
        ("api1", {"airflow_api_server_bind": "10.0.0.1"}, {("api1", True), ("10.0.0.1", False)}),
        ("api1", {}, {("api1", True), ("127.0.0.1", False)}),
        ("api1", {"airflow_api_server_bind": "127.0.0.1"}, set()),
        ("flower1", {}, {("flower1", True), ("127.0.0.1", False)}),
        ("flower1", {"airflow_flower_bind": "127.0.0.1"}, set()),
        ("worker1", {}, set()),
    ],
)
def test_the_names_by_which_services_are_connected_to(
    host: str, own: dict[str, Any], names: set[tuple[str, bool]]
) -> None:
    several = inventory({host: own}, ON_HOSTS_OF_THEIR_OWN, BINDS)
    assert {(need.name, need.haproxy) for need in names_needed(several, several.hosts[host])} == names


def test_a_name_that_is_missing_is_told_with_who_needs_it(files: Files) -> None:
    bare = make("x", ROOT, ["192.0.2.0"])
    files.put("certificates_host_file", bare.pem).put("certificates_host_key_file", bare.key_pem)
    found = only(files.findings(BINDS))
    assert found.value.endswith("without 127.0.0.1, control1")
    assert "control1 as a DNS name, for HAProxy, at the API server" in found.expected


def test_a_worker_needs_no_certificate(files: Files) -> None:
    mine = {name: files.own.pop(name) for name in ("certificates_host_file", "certificates_host_key_file")}
    assert check(inventory({"control1": mine}, None, files.own)) == []


# The public certificate
@pytest.fixture
def public(tmp_path: Path) -> Files:
    """A public certificate; who signed it and for which name is nobody's business here."""
    made = make("airflow.example.org")
    return Files(tmp_path).put("haproxy_certificate_file", made.pem).put("haproxy_certificate_key_file", made.key_pem)


def test_a_public_certificate_is_looked_at(public: Files) -> None:
    assert (public.findings(), public.warnings()) == ([], [])
    found = only(public.put("haproxy_certificate_key_file", SERVER.key_pem).findings())
    assert (found.where, found.variable) == ("host control1", "haproxy_certificate_key_file")
    expired = make("airflow.example.org", days=(-9, -1))
    public.put("haproxy_certificate_file", expired.pem).put("haproxy_certificate_key_file", expired.key_pem)
    assert "expired on" in only(public.findings()).value


@pytest.mark.parametrize("variable", ["haproxy_certificate_file", "haproxy_certificate_key_file"])
def test_a_public_certificate_is_there(public: Files, variable: str) -> None:
    Path(public.own[variable]).unlink()
    assert only(public.findings()).variable == variable


def test_a_public_certificate_has_a_key(public: Files) -> None:
    del public.own["haproxy_certificate_key_file"]
    assert (only(public.findings()).variable, only(public.findings()).value) == (
        "haproxy_certificate_key_file",
        "not set",
    )


# Soon
def test_what_expires_soon_is_a_warning(files: Files) -> None:
    soon = make("control1", ROOT, SERVER_NAMES, days=(-300, 29))
    files.put("certificates_host_file", soon.pem).put("certificates_host_key_file", soon.key_pem)
    files.put("haproxy_certificate_file", soon.pem).put("haproxy_certificate_key_file", soon.key_pem)
    assert files.findings() == []
    own, public = files.warnings()
    assert own.startswith(f"host control1: certificates_host_file = {files.own['certificates_host_file']}: CN=control1")
    assert f"expires on {soon.certificate.not_valid_after_utc:%Y-%m-%d}" in own
    assert public.startswith("host control1: haproxy_certificate_file = ")
    files.own["certificates_renew_days"] = "28"
    assert files.warnings() == []


def test_an_authority_that_expires_soon_is_a_warning(files: Files) -> None:
    root = make("Root", ca=True, days=(-300, 29))
    server = make("control1", root, SERVER_NAMES)
    files.put("certificates_ca_file", root.pem + ROOT.pem)
    files.put("certificates_host_file", server.pem).put("certificates_host_key_file", server.key_pem)
    assert files.findings() == []
    assert ["CN=Root expires on" in told for told in files.warnings()] == [True]


def test_what_debian_13_will_refuse_is_a_warning(files: Files) -> None:
    bare = make("control1", ROOT, SERVER_NAMES, identifiers=False)
    files.put("certificates_host_file", bare.pem).put("certificates_host_key_file", bare.key_pem)
    assert files.findings() == []
    assert ["no authorityKeyIdentifier" in told and "Debian 13" in told for told in files.warnings()] == [True]


# The authority that the cluster makes
def authority(directory: Path, certificate: bytes | None, key: bytes | None) -> list[Finding]:
    for name, content in (("ca.pem", certificate), ("ca.key", key)):
        if content is not None:
            (directory / name).write_bytes(content)
    return check(inventory(everywhere={"certificates_dir": str(directory)}))


@pytest.mark.parametrize(
    ("certificate", "key"),
    [(None, None), (None, ROOT.encrypted_key(PASSPHRASE)), (ROOT.pem, ROOT.encrypted_key(PASSPHRASE))],
    ids=["none yet", "an interrupted run", "both"],
)
def test_an_authority_that_a_run_can_use(tmp_path: Path, certificate: bytes | None, key: bytes | None) -> None:
    assert authority(tmp_path, certificate, key) == []


SOON = make("Root", ca=True, days=(-300, 29))
AUTHORITIES: list[tuple[str, bytes, bytes | None, str, str, str]] = [
    ("key lost", ROOT.pem, None, "certificates_dir", "ca.pem without ca.key", "bring the old ca.key back"),
    (
        "another passphrase",
        ROOT.pem,
        ROOT.encrypted_key("hunter22"),
        "airflow_ca_passphrase",
        "a key that the passphrase does not open",
        "set the passphrase that it had",
    ),
    ("no passphrase", ROOT.pem, ROOT.key_pem, "airflow_ca_passphrase", "a key without a passphrase", "openssl pkey"),
    (
        "key of another one",
        ROOT.pem,
        SOON.encrypted_key(PASSPHRASE),
        "certificates_dir",
        "ca.pem for another key than ca.key",
        "bring the old ca.key back",
    ),
    ("no certificate", b"", ROOT.encrypted_key(PASSPHRASE), "certificates_dir", "no certificate", "remove it and run"),
    ("expired", EXPIRED.pem, EXPIRED.encrypted_key(PASSPHRASE), "certificates_dir", "expired on", "move ca.pem away"),
    ("soon", SOON.pem, SOON.encrypted_key(PASSPHRASE), "certificates_dir", "ca.pem expires on", "move ca.pem away"),
]


@pytest.mark.parametrize("row", AUTHORITIES, ids=lambda row: row[0])
def test_an_authority_that_a_run_cannot_use(
    tmp_path: Path, row: tuple[str, bytes, bytes | None, str, str, str]
) -> None:
    _, certificate, key, variable, value, remedy = row
    found = only(authority(tmp_path, certificate, key))
    assert (found.where, found.variable) == ("controller", variable)
    assert value in found.value
    assert remedy in found.remedy
    assert PASSPHRASE not in f"{found}"


def test_the_passphrase_of_any_host_is_tried(tmp_path: Path) -> None:
    assert authority(tmp_path, ROOT.pem, ROOT.encrypted_key("hunter22")) != []
    unknown: dict[str, Any] = {"airflow_ca_passphrase": ...}
    # The first host of this cluster is a worker.
    cluster = inventory(
        {"a-worker": unknown, "worker1": unknown, "worker2": unknown},
        {"airflow_worker": ["a-worker", "worker1"], "airflow": ["a-worker", "control1", "worker1"]},
        {"certificates_dir": str(tmp_path)},
    )
    assert only(check(cluster)).variable == "airflow_ca_passphrase"


def test_what_the_roles_have_set_is_no_mistake_of_a_person() -> None:
    assert check(inventory(everywhere=dict.fromkeys(rules.SET_BY_THE_ROLES, "x"))) == []


def test_a_passphrase_that_is_being_rotated_may_be_the_old_one(tmp_path: Path) -> None:
    rotating = {"airflow_secrets_previous": {"airflow_ca_passphrase": "the old one"}}
    for passphrase, findings in (("the old one", 0), (PASSPHRASE, 0), ("another one", 1)):
        (tmp_path / "ca.pem").write_bytes(ROOT.pem)
        (tmp_path / "ca.key").write_bytes(ROOT.encrypted_key(passphrase))
        cluster = inventory(everywhere={"certificates_dir": str(tmp_path)} | rotating)
        assert len(check(cluster)) == findings, passphrase


def test_there_is_one_authority_at_one_place(tmp_path: Path) -> None:
    found = only(check(inventory({"worker1": {"certificates_dir": str(tmp_path)}}, None, {"certificates_dir": "/x"})))
    assert (found.where, found.variable) == ("host worker1", "certificates_dir")
    assert only(check(inventory(everywhere={"certificates_dir": "pki"}))).expected.startswith("an absolute path")


def test_an_authority_of_an_inventory_that_brings_another_is_nobodys_business(files: Files) -> None:
    (files.directory / "ca.pem").write_bytes(EXPIRED.pem)
    assert files.findings({"certificates_dir": str(files.directory)}) == []
