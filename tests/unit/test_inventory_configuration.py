"""The rules for airflow_config and webserver_config.py."""

from __future__ import annotations

from typing import Any

import pytest
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
    for name, variable in config_rules.OWNED_OPTIONS.items():
        section, option = name.split(".")
        assert option in OPTIONS.sections[section]
        assert all(part in SPECS for part in variable.split(" and "))


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
