"""The rules for the values of an inventory: types, choices, ranges, forms, and what is the same on all hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import object_check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.values import (
    type_problem,
    value_problem,
    version_problem,
)
from sample_inventory import DEFAULTS, ROLES, SPECS, TEMPLATE_ERROR, inventory, only


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
    ("log_store_port", [1024, 65535, "20514"], [0, 1023, 65536, -1]),
    ("haproxy_port", [80, 443], [0, 65536]),
    ("airflow_worker_batch", ["1", "20", "5%", "50%", "100%"], ["0", "0%", "101%", "half", "1.5"]),
    ("airflow_worker_concurrency", [1, 64], [0, -4]),
    ("airflow_worker_queues", [["default", "gpu-1"]], [[], [""], ["a b"], ["a,b"]]),
    ("airflow_user", ["airflow"], ["root", "Air Flow", ""]),
    ("airflow_address", ["10.0.0.1", "worker1.example.org", "fd00::1"], ["http://x", "x:80", "", "a b"]),
    ("airflow_broker_url", ["redis://:p@h:6379/0", "rediss://h"], ["amqp://h", "h:6379", "sentinel://h", ""]),
    ("airflow_flower_broker_url", ["redis://:p@h:6379/0", "rediss://h"], ["sentinel://h", "h:6379"]),
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
        ["http://h/execution/", "https://h:9443/execution"],
        [
            "http://h/",
            "https://h/team/execution/",
            "h/execution/",
            "http://h/?/execution/",
            "http://me:pw@h/execution/",
            "http://h/#/execution/",
        ],
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
        [
            "/var/lib/pgbackrest",
            "/srv/nfs/airflow",
            "/homes/x",
            "/srv/a.b/..c",
            "/data.1",
            *(f"{shared}/airflow-backups" for shared in sorted(rules.SHARED_DIRECTORIES)),
            "/backup",
            "/library",
            "/srv2",
        ],
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
            *sorted(rules.SHARED_DIRECTORIES),
            "/boot/efi",
            "/lib",
            "/lib64",
            "/var/run/backup",
        ],
    ),
    ("backup_fetch_dir", ["", "/srv/copies"], ["copies"]),
    ("backup_full_schedule", ["Sun *-*-* 02:30:00", "daily", "*:0/5"], ["", "-1", "2 o'clock"]),
    ("backup_archive_timeout", [10, 300], [0, 9]),
    ("airflow_housekeeping_log_days", [1, 365], [0]),
    ("airflow_housekeeping_local_log_days", [1, 365], [0]),
    ("airflow_housekeeping_log_mb", [64, 500_000], [0, 63]),
    ("airflow_housekeeping_local_log_mb", [64, 500_000], [0, 63]),
    ("airflow_task_logs", ["store", "local", "s3://b/p", "wasb://logs"], ["", "s3", "stored", "s4://b", "s3:// b"]),
    ("airflow_task_logs_connection", ["", "logs_s3"], ["a b", "a/b"]),
    ("log_shipper_spool_mb", [64, 1024], [0, 63]),
    ("log_shipper_unit_spool_mb", [64, 1024], [0, 63]),
    (
        "log_store_dir",
        ["/srv/logs", "/var/lib/airflow-log-store", "/data"],
        ["logs", "/var/lib/airflow/x", "/tmp/x", "/a/../b", "/srv", "/var/log", "/mnt"],
    ),
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
    # An inventory does not set the parameters that one role passes to another.
    settable = {name for name in SPECS if name.startswith(rules.PREFIXES)} - rules.PASSED_BY_THE_CLUSTER.keys()
    numbers = {name for name in settable if SPECS[name]["type"] == "int" and "choices" not in SPECS[name]}
    unlimited = {name for name in numbers - rules.RULES.keys() if not name.startswith("local_machines_")}
    assert unlimited == set(), "add a range to RULES in plugins/plugin_utils/inventory_rules.py"


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
    found = only(check(inventory({"worker1": {"airflow_worker_concurrency": TEMPLATE_ERROR}})))
    assert found.variable == "airflow_worker_concurrency"
    assert "'nothing' is undefined" in found.value


@pytest.mark.parametrize(("name", "value"), [("redis_port", 6380), ("airflow_version", "3.3.1")])
def test_what_the_others_must_know_is_the_same_everywhere(name: str, value: Any) -> None:
    found = only(check(inventory({"control1": {name: value}})))
    assert (found.where, found.variable) == ("host control1", name)
    assert check(inventory(everywhere={name: value})) == []


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"airflow_worker_stop_timeout": 15}, True),
        ({"airflow_worker_stop_timeout": 16}, False),
        ({"airflow_worker_hand_over_time": 3600}, True),
        ({"airflow_worker_stop_timeout": "600", "airflow_worker_hand_over_time": "60"}, False),
    ],
)
def test_tasks_have_time_to_end_before_they_are_handed_over(values: dict[str, Any], refused: bool) -> None:
    found = check(inventory({"worker1": values}))
    assert [(item.where, item.variable) for item in found] == (
        [("host worker1", "airflow_worker_hand_over_time")] if refused else []
    )


def test_a_shared_directory_is_refused_with_one_below_it() -> None:
    found = only(check(inventory({"control1": {"backup_repository": "/var/backups"}})))
    assert (found.where, found.variable, found.value) == ("host control1", "backup_repository", "'/var/backups'")
    assert "other software uses /var/backups" in found.expected
    assert found.remedy == "set backup_repository to a directory of its own, such as /var/backups/airflow-backups"
    assert check(inventory({"control1": {"backup_repository": "/var/backups/airflow-backups"}})) == []


def test_a_wrong_time_is_told_once() -> None:
    assert only(check(inventory({"worker1": {"airflow_worker_stop_timeout": 0}}))).expected.startswith("a whole number")


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


@pytest.mark.parametrize("name", rules.RULES)
@pytest.mark.parametrize("value", [["/srv"], {"a": 1}], ids=str)
def test_a_value_of_another_type_ends_in_no_error(name: str, value: Any) -> None:
    check(inventory({}, None, {name: value}))
