"""A setting whose Python package is not in the runtime is found, with the requirement that brings it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import airflow_imports
import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import config_packages
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.config_packages import missing

PROJECT = Path(__file__).resolve().parents[2]
# Extras of Airflow's own packages that no setting needs
WITHOUT_A_SWITCH = {"graphviz"}
# What is refused without, and accepted with, the requirement
NEEDS: list[tuple[str, Any, str]] = [
    ("metrics.statsd_on", True, "apache-airflow[statsd]"),
    ("metrics.statsd_on", "True", "apache-airflow[statsd]"),
    ("metrics.statsd_datadog_enabled", True, "apache-airflow-task-sdk[datadog]"),
    ("sentry.sentry_on", True, "apache-airflow[sentry]"),
    ("api.server_type", "gunicorn", "apache-airflow[gunicorn]"),
    ("profiling.memray_trace_components", "scheduler,api", "apache-airflow[memray]"),
    ("core.security", "kerberos", "apache-airflow[kerberos]"),
    ("celery.pool", "gevent", "apache-airflow-core[async]"),
    ("secrets.backend", "airflow.providers.hashicorp.secrets.vault.VaultBackend", "apache-airflow-providers-hashicorp"),
    (
        "workers.secrets_backend",
        "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend",
        "apache-airflow-providers-amazon",
    ),
    ("email.email_backend", "airflow.providers.sendgrid.utils.emailer.send_email", "apache-airflow-providers-sendgrid"),
    (
        "core.auth_manager",
        "airflow.providers.microsoft.azure.auth_manager.EntraAuthManager",
        "apache-airflow-providers-microsoft-azure",
    ),
    (
        "dag_processor.dag_bundle_config_list",
        [{"name": "s3", "classpath": "airflow.providers.amazon.aws.bundles.s3.S3DagBundle", "kwargs": {}}],
        "apache-airflow-providers-amazon",
    ),
    # An option that Airflow does not describe, of a provider's section
    ("openlineage.extractors", "airflow.providers.apache.hive.x.Y", "apache-airflow-providers-apache-hive"),
    # A package of the site's own: any requirement may bring it.
    ("logging.logging_config_class", "acme.logs.CONFIG", "acme-platform"),
    ("core.hostname_callable", "acme.names.address", "acme-platform"),
    ("secrets.backend", "acme.secrets.Backend", "acme-platform @ https://h/acme_platform-1-py3-none-any.whl"),
    (
        "database.external_db_managers",
        "airflow.providers.fab.auth_manager.models.db.FABDBManager,acme.Db",
        "acme-platform",
    ),
]
ACCEPTED: list[tuple[str, Any]] = [
    ("metrics.statsd_on", False),
    ("metrics.statsd_on", "false"),
    ("metrics.otel_on", True),
    ("traces.otel_on", True),
    ("api.server_type", "uvicorn"),
    ("core.hostname_callable", "socket.gethostname"),
    ("core.hostname_callable", "airflow_celery_cluster.identity.address"),
    ("logging.logging_config_class", "airflow.config_templates.airflow_local_settings.DEFAULT_LOGGING_CONFIG"),
    ("logging.base_log_folder", "/var/log/acme.d"),
    ("email.email_backend", "airflow.providers.smtp.notifications.smtp.send_smtp_notification"),
    ("core.xcom_backend", "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"),
    ("metrics.statsd_host", "acme.example.org"),
]


def config(setting: str, value: Any) -> dict[str, dict[str, Any]]:
    section, option = setting.split(".")
    return {section: {option: value}}


@pytest.mark.parametrize(("setting", "value", "requirement"), NEEDS)
def test_a_package_that_a_setting_needs_is_found(setting: str, value: Any, requirement: str) -> None:
    [found] = missing(config(setting, value), ["apache-airflow-providers-http"])
    assert found.option == setting
    assert found.requirement == ("" if requirement.startswith("acme") else requirement)
    assert list(missing(config(setting, value), [requirement])) == []


@pytest.mark.parametrize(("setting", "value"), ACCEPTED)
def test_what_the_lock_has_is_accepted(setting: str, value: Any) -> None:
    assert list(missing(config(setting, value), [])) == []


def test_a_module_among_the_plugins_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "acme.py").touch()
    assert list(missing(config("secrets.backend", "acme.Backend"), [], [tmp_path])) == []
    assert list(missing(config("secrets.backend", "other.Backend"), [], [tmp_path]))


@pytest.mark.parametrize(
    ("logging", "further", "package"),
    [
        ({"remote_base_log_folder": "s3://bucket/logs"}, {}, "amazon"),
        ({"remote_base_log_folder": "cloudwatch://arn"}, {}, "amazon"),
        ({"remote_base_log_folder": "gs://bucket"}, {}, "google"),
        ({"remote_base_log_folder": "stackdriver:///name"}, {}, "google"),
        ({"remote_base_log_folder": "wasb-logs"}, {}, "microsoft-azure"),
        ({"remote_base_log_folder": "oss://bucket"}, {}, "alibaba"),
        ({"remote_base_log_folder": "hdfs://host/logs"}, {}, "apache-hdfs"),
        ({}, {"elasticsearch": {"host": "es.example.org"}}, "elasticsearch"),
        ({}, {"opensearch": {"host": "os.example.org"}}, "opensearch"),
    ],
)
def test_remote_logs_need_the_provider_of_their_place(
    logging: Mapping[str, Any], further: Mapping[str, Any], package: str
) -> None:
    settings = {"logging": {"remote_logging": True, **logging}, **further}
    [found] = missing(settings, [])
    assert found.requirement == f"apache-airflow-providers-{package}"
    assert list(missing(settings, [found.requirement])) == []
    assert list(missing({"logging": logging, **further}, [])) == []


@pytest.mark.parametrize("option", config_packages.STORAGE_OPTIONS)
@pytest.mark.parametrize(
    ("place", "requirement"),
    [
        ("s3://aws_default@bucket/xcom", "apache-airflow-providers-amazon[s3fs]"),
        ("gs://bucket", "apache-airflow-providers-google"),
        ("abfs://container@account/xcom", "apache-airflow-providers-microsoft-azure"),
    ],
)
def test_an_object_storage_needs_the_provider_of_its_file_system(option: str, place: str, requirement: str) -> None:
    settings = {"common.io": {option: place}}
    [found] = missing(settings, ["apache-airflow-providers-http"])
    assert (found.option, found.requirement) == (f"common.io.{option}", requirement)
    assert list(missing(settings, [requirement])) == []
    assert list(missing({"common.io": {option: "file:///srv/xcom"}}, [])) == []


def test_the_provider_of_s3_alone_has_no_file_system() -> None:
    settings = {"common.io": {"xcom_objectstorage_path": "s3://bucket/xcom"}}
    [found] = missing(settings, ["apache-airflow-providers-amazon"])
    assert found.needs == "s3:// needs s3fs"
    assert list(missing(settings, ["apache-airflow-providers-amazon", "s3fs"])) == []


# --- The tables and the locked Airflow --------------------------------------------------------------------------------
def test_the_committed_file_is_that_of_the_locked_airflow() -> None:
    packages = tomllib.loads((PROJECT / "uv.lock").read_text())["package"]
    versions = {package["name"]: package["version"] for package in packages if "version" in package}
    committed = config_packages.imports()["locked"]
    assert committed == {name: versions[name] for name in committed}, "run tools/airflow_imports.py"


def test_each_extra_of_airflow_has_its_switch() -> None:
    """An extra of the next version that a setting needs must not be forgotten."""
    extras = config_packages.imports()["extras"]
    own = {extra for name in ("apache-airflow-core", "apache-airflow-task-sdk") for extra in extras[name]}
    used = {requirement.partition("[")[2].strip("]") for _, requirement in config_packages.SWITCHES.values()}
    assert own == used | WITHOUT_A_SWITCH
    for _, requirement in config_packages.SWITCHES.values():
        assert len(config_packages.brought_by(requirement)) > 1, requirement


def test_each_switch_is_a_setting_of_airflow() -> None:
    sections = json.loads((PROJECT / "roles/preflight/files/airflow_options.json").read_text())["sections"]
    for setting in config_packages.SWITCHES:
        section, option = setting.split(".")
        assert option in sections[section]


def test_every_way_to_import_a_setting_is_found() -> None:
    source = """
backend = conf.getimport("email", "EMAIL_BACKEND")
clazz = conf.getimport(section="core", key="auth_manager")
text = conf.get("core", "unit_test_mode")

def load():
    name = conf.get("logging", "logging_config_class", fallback=None)
    return import_string(name)

def other():
    return conf.get("core", "plugins_folder")
"""
    assert set(airflow_imports.imported_settings(source)) == {
        "email.email_backend",
        "core.auth_manager",
        "logging.logging_config_class",
    }


def test_every_place_of_remote_logs_is_found() -> None:
    source = """
if REMOTE:
    HOST: str | None = conf.get("search", "HOST")
    if folder.startswith("s3://"):
        from airflow.providers.amazon.log import A
    elif folder.startswith("x"):
        from airflow.providers.x import X
    elif HOST:
        from airflow.providers.search import S
"""
    assert airflow_imports.remote_logging(source) == {
        "s3://": "airflow.providers.amazon.log",
        "x": "airflow.providers.x",
        "search.host": "airflow.providers.search",
    }
