"""The rules for airflow_config and webserver_config.py."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import config_packages, config_rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.configuration import (
    config_problems,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import WEBSERVER_TEXT
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_rules import RULES
from sample_inventory import OPTIONS, SPECS, TEMPLATE_ERROR, inventory, only


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
    ({"scheduler": {"max_tis_per_query": "many"}}, "scheduler.max_tis_per_query", "'many'", "set it to an integer"),
    ({"scheduler": {"max_tis_per_query": 1.5}}, "scheduler.max_tis_per_query", "1.5", "set it to an integer"),
    ({"scheduler": {"max_tis_per_query": True}}, "scheduler.max_tis_per_query", "True", "set it to an integer"),
    ({"core": {"load_examples": "maybe"}}, "core.load_examples", "'maybe'", "set it to True or False"),
    ({"operators": {"default_ram": "512M"}}, "operators.default_ram", "'512M'", "set it to an integer"),
    ({"fab": {"custom_roles": "{'Viewer': 1}"}}, "fab.custom_roles", "\"{'Viewer': 1}\"", "set it to JSON"),
    ({"core": {"dagbag_import_timeout": None}}, "core.dagbag_import_timeout", "null", "set it to a number"),
    ({"core": {"dagbag_import_timeout": [60]}}, "core.dagbag_import_timeout", "[60]", "set it to a number"),
    ({"core": {"lazy_load_plugins": "yes"}}, "core.lazy_load_plugins", "'yes'", "set it to True or False"),
    ({"api": {"enable_swagger_ui": ""}}, "api.enable_swagger_ui", "''", "set it to True or False"),
    ({"celery": {"pool": "threads"}}, "celery.pool", "'threads'", "airflow_worker_concurrency"),
    (
        {"celery": {"worker_enable_remote_control": "no"}},
        "celery.worker_enable_remote_control",
        "'no'",
        "remove it",
    ),
    (
        {"celery": {"extra_celery_config": {"worker_pool": "solo", "worker_max_tasks_per_child": 9}}},
        "celery.extra_celery_config.worker_pool",
        "'solo'",
        "remove it",
    ),
    (
        {"celery": {"extra_celery_config": '{"broker_url": "redis://u:hunter22@h"}'}},
        "celery.extra_celery_config.broker_url",
        "(hidden)",
        "set airflow_broker_url instead",
    ),
    ({"celery": {"ssl_active": False}}, "celery.ssl_active", "False", "set variable airflow_broker_url instead"),
    ({"triggerer": {"queues_enabled": True}}, "triggerer.queues_enabled", "True", "remove it"),
    ({"core": {"default_impersonation": "etl"}}, "core.default_impersonation", "'etl'", "remove it"),
    ({"core": {"hostname_callable": "socket.getfqdn"}}, "core.hostname_callable", "'socket.getfqdn'", "remove it"),
    (
        {"core": {"auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"}},
        "core.auth_manager",
        "(hidden)",
        "airflow_webserver_config",
    ),
    ({"api": {"ssl_ca_file": "/etc/ssl/x.pem"}}, "api.ssl_ca_file", "'/etc/ssl/x.pem'", "certificates_ca_file"),
    ({"api": {"client_use_public_certs": 1}}, "api.client_use_public_certs", "1", "remove it"),
    ({"api": {"ssl_cert": "/x.pem"}}, "api.ssl_cert", "'/x.pem'", "airflow_api_server_bind"),
    ({"api": {"ssl_key": "/x.pem"}}, "api.ssl_key", "(hidden)", "airflow_api_server_bind"),
    (
        {"celery_broker_transport_options": {"fanout_prefix": "/x."}},
        "celery_broker_transport_options.fanout_prefix",
        "'/x.'",
        "remove it",
    ),
    (
        {"celery_broker_transport_options": {"fanout_patterns": False}},
        "celery_broker_transport_options.fanout_patterns",
        "False",
        "remove it",
    ),
    ({"celery_broker_transport_options": {"sep": ":"}}, "celery_broker_transport_options.sep", "':'", "remove it"),
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
    ({"database": {"sql_alchemy_engine_args": "{} "}}, "database.sql_alchemy_engine_args", "(hidden)", "on one line"),
    ({"zzzzzz": {"a": 1}}, "zzzzzz", "a section with a", "add zzzzzz to airflow_config_extra_sections"),
    (
        {"celery_broker_transport_options": {"socket_timout": 1}},
        "celery_broker_transport_options.socket_timout",
        "1",
        "rename it to socket_timeout",
    ),
]


@pytest.mark.parametrize(
    ("config", "variable", "value", "remedy"), CONFIG, ids=[f"{row[1]}={row[2]}" for row in CONFIG]
)
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
        {"core": {"dagbag_import_timeout": "60", "lazy_load_plugins": "True", "default_task_execution_timeout": None}},
        {"core": {"dagbag_import_timeout": "60.5", "lazy_load_plugins": 0, "task_success_overtime": 0.5}},
        {"scheduler": {"max_tis_per_query": 16.0, "job_heartbeat_sec": "1e1", "scheduler_heartbeat_sec": 0.5}},
        {"scheduler": {"max_tis_per_query": "$QUERY", "catchup_by_default": "f # as before"}},
        {"fab": {"custom_roles": {"Viewer": []}}, "api": {"expose_config": "non-sensitive-only"}},
        {"celery": {"json_logs": ""}, "database": {"sql_alchemy_max_overflow": -1}},
        {"celery": {"pool": "prefork", "worker_enable_remote_control": "t", "extra_celery_config": "[]"}},
        {"celery_broker_transport_options": {"fanout_prefix": True, "fanout_patterns": "true"}},
        {"core": {"auth_manager": "airflow_celery_cluster.auth_manager.ClusterAuthManager"}},
        {"core": {"default_impersonation": ""}, "triggerer": {"queues_enabled": "False"}},
        {"api": {"client_use_public_certs": 0, "ssl_ca_file": "/etc/airflow/tls/ca.pem"}},
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
    for name, variable in config_rules.OWNED_OPTIONS.items():
        section, option = name.split(".")
        assert option in OPTIONS.sections[section]
        assert all(part in SPECS for part in variable.split(" and "))


# What the roles set and airflow_config may replace, and why nothing breaks.
REPLACEABLE = {
    "api.expose_config": "a choice of the site: who may read the settings in the UI",
    "celery.result_backend_sqlalchemy_engine_options": "a mapping is laid over that of the roles",
    "celery.ssl_mutual_tls": "for an external Redis that wants a certificate; Flower reads it",
    "celery.worker_prefetch_multiplier": "tasks wait at a busy worker, and are not lost",
    "celery_broker_transport_options.health_check_interval": "a time limit of each connection by itself",
    "celery_broker_transport_options.socket_connect_timeout": "a time limit of each connection by itself",
    "celery_broker_transport_options.socket_keepalive": "a property of each connection by itself",
    "celery_broker_transport_options.socket_timeout": "a time limit of each connection by itself",
    "core.dags_folder": "no bundle of the cluster reads it; where it is hidden, the preflight refuses it",
    "core.load_examples": "documented, for a first look",
    "dag_processor.bundle_refresh_check_interval": "how soon a change of a bundle is noticed",
    "dag_processor.print_stats_interval": "how often the DAG processor logs a table",
    "dag_processor.stale_bundle_cleanup_interval": "how long old versions of a git bundle use the disk",
    "database.sql_alchemy_max_overflow": "the memory plan and the connections are computed from it",
    "database.sql_alchemy_pool_size": "the memory plan and the connections are computed from it",
    "fab.auth_rate_limited": "HAProxy limits logins anyway",
    "fab.session_lifetime_minutes": "documented in docs/security.md",
    "fab.session_max_lifetime_minutes": "documented in docs/security.md",
    "logging.namespace_levels": "what is logged",
    "logging.remote_logging": "Elasticsearch and OpenSearch need it, and no URL",
}
ROLES = Path(__file__).parents[2] / "roles"


def configs(node: Any, *names: str) -> Iterator[dict[str, Any]]:
    """Return the mappings of these names, wherever they are in a document."""
    if isinstance(node, list):
        for item in node:
            yield from configs(item, *names)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in names:
                yield value
            else:
                yield from configs(value, *names)


def set_by_the_roles() -> set[str]:
    """Return the names of all options that a role sets for a process. Those of the failover have inequalities."""
    found: set[str] = set()
    names = ("__airflow_base_config", "__airflow_failover_switches", "airflow_process_config")
    for path in [*ROLES.glob("*/tasks/*.yml"), ROLES / "airflow/vars/main.yml"]:
        for config in configs(yaml.safe_load(path.read_text()), *names):
            # A section that is a template is of tokens, which a site may sign itself, or not of Airflow.
            found |= {
                f"{name}.{option}"
                for name, section in config.items()
                if isinstance(section, dict)
                for option in section
            }
    return found


def test_each_option_that_the_roles_set_is_refused_or_replaceable() -> None:
    found = set_by_the_roles()
    assert {"core.auth_manager", "fab.cookie_secure", "core.default_task_retries", "failover.hand_over_after"} <= found
    tables = (
        config_rules.OWNED_OPTIONS,
        config_rules.FIXED_OPTIONS,
        config_rules.FIXED_VALUES,
        config_rules.STORE_OPTIONS,
    )
    refused = {*config_rules.WRITTEN_OPTIONS}.union(*tables)
    # Airflow does not know the section of the cluster's own.
    known = {name for name in found if name.partition(".")[0] in OPTIONS.sections}
    assert found - known == {"failover.hand_over_after"}
    assert known - refused == REPLACEABLE.keys()


def test_what_the_cluster_tells_celery_is_refused_as_a_further_setting() -> None:
    path = ROLES / "airflow_runtime/files/runtime/airflow_celery_cluster/celery_config.py"
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Assign(targets=[ast.Name(id="CONFIG")], value=ast.BinOp(right=ast.Dict() as own)):
                found |= set(ast.literal_eval(own))
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id="CONFIG"), slice=ast.Constant(value=str(name)))]):
                found.add(name)
    assert found == {"worker_send_task_events", "database_engine_options"}
    assert found <= config_rules.CELERY_SETTINGS.keys()


def test_each_type_and_each_fixed_option_is_of_an_option_of_airflow() -> None:
    assert set(OPTIONS.empty) <= OPTIONS.types.keys()
    for name in (*config_rules.FIXED_OPTIONS, *config_rules.FIXED_VALUES, *OPTIONS.types):
        section, _, option = name.rpartition(".")
        assert option in OPTIONS.sections[section]


@pytest.mark.parametrize("option", ["logging_config_class", "base_log_folder", "log_filename_template"])
def test_a_setting_that_takes_logs_past_the_log_store_is_refused(option: str) -> None:
    own = {"airflow_config": {"logging": {option: "airflow.x.y"}}}
    found = [item for item in check(inventory({"worker1": own})) if "while airflow_task_logs is store" in item.expected]
    assert (only(found).where, only(found).variable) == ("host worker1", f"airflow_config.logging.{option}")
    local = inventory({"worker1": own}, None, {"airflow_task_logs": "local"})
    assert [item for item in check(local) if "airflow_task_logs" in item.expected] == []


def test_an_object_storage_for_task_logs_needs_its_provider() -> None:
    def found(*requirements: str, **own: Any) -> list[Finding]:
        everywhere = {
            "airflow_task_logs": "s3://logs/airflow",
            "airflow_runtime_extra_requirements": list(requirements),
        }
        return [item for item in check(inventory(everywhere=everywhere | own)) if "task_logs" in item.variable]

    provider = "apache-airflow-providers-amazon"
    lacking = found()
    assert {item.variable for item in lacking} == {"airflow_task_logs"}
    assert all(provider in item.remedy and item.value.startswith("s3://logs/airflow") for item in lacking)
    assert found(provider) == []
    # The setting of another place does not hide it.
    assert found(airflow_config={"logging": {"remote_log_conn_id": "other"}})
    assert found(provider, airflow_task_logs="store") == []


@pytest.mark.parametrize("option", config_rules.STORE_OPTIONS)
def test_the_log_store_beside_an_object_storage_has_the_same_rules(option: str) -> None:
    section, _, name = option.partition(".")
    own = {"airflow_task_logs": "s3://logs/airflow", "airflow_config": {section: {name: "x"}}}
    found = check(inventory(everywhere=own))
    assert [item for item in found if "while airflow_task_logs is s3://logs/airflow" in item.expected]


def test_each_object_storage_of_airflow_is_accepted_as_a_place_of_logs() -> None:
    places = [place for place in config_packages.imports()["remote_logging"] if "." not in place]
    assert places
    for place in places:
        url = place.removesuffix("://") + "://name"
        assert RULES["airflow_task_logs"].problem(url) is None
