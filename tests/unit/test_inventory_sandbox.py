"""The rules for paths in the sandbox of the units, and for backups."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import config_rules, sandbox
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.backups import backup_warnings
from sample_inventory import inventory

LOGS = {"logging": {"base_log_folder": "/srv/logs"}}
# The log store has a directory of its own.
LOCAL = {"airflow_task_logs": "local"}

GIT = {"airflow_dags_source": "git"}
LOCAL_BUNDLE = {"name": "x", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}


@pytest.mark.parametrize(
    ("own", "variable"),
    [
        (LOCAL | {"airflow_config": LOGS}, "airflow_config.logging.base_log_folder"),
        (
            LOCAL | {"airflow_config": {"logging": {"base_log_folder": "/tmp/logs"}}},
            "airflow_config.logging.base_log_folder",
        ),
        ({"airflow_config": {"core": {"dags_folder": "/home/me/dags"}}}, "airflow_config.core.dags_folder"),
        (
            {"airflow_config": {"dag_processor": {"dag_bundle_storage_path": "/root/x"}}},
            "airflow_config.dag_processor.dag_bundle_storage_path",
        ),
        (
            LOCAL | {"airflow_config": {"logging": {"base_log_folder": "/var/lib/airflow/other"}}},
            "airflow_config.logging.base_log_folder",
        ),
        (LOCAL | {"airflow_config": LOGS, "airflow_sandbox": {"scheduler": {"ReadWritePaths": "/srv/logs"}}}, ""),
        (LOCAL | {"airflow_config": LOGS, "airflow_worker_sandbox": {"ReadWritePaths": ["-/srv"]}}, ""),
        (LOCAL | {"airflow_config": LOGS, "airflow_sandbox": {"scheduler": {"ProtectSystem": "full"}}}, ""),
        (
            {
                "airflow_config": {"core": {"dags_folder": "/home/me/dags"}},
                "airflow_sandbox": {"dag-processor": {"ProtectHome": False}},
            },
            "",
        ),
        ({"airflow_config": {"core": {"dags_folder": "/homework/dags"}}}, ""),
        (
            {"airflow_config": {"secrets": {"backend_kwargs": {"variables_file_path": "/home/ops/v.json", "x": 1}}}},
            "airflow_config.secrets.backend_kwargs.variables_file_path",
        ),
        (
            {"airflow_config": {"secrets": {"backend_kwargs": '{"files": ["/srv/v.json", "/root/v.json"]}'}}},
            "airflow_config.secrets.backend_kwargs.files[1]",
        ),
        ({"airflow_config": {"secrets": {"backend_kwargs": '{"/home/x'}}}, ""),
        ({"airflow_config": {"secrets": {"backend_kwargs": {"variables_file_path": "/tmp/v.json"}}}}, ""),
        ({"backup_settings": {"repo1-path": "/srv/x"}}, "backup_settings.repo1-path"),
        ({"backup_settings": {"repo2-path": "/srv/x"}}, "backup_settings.repo2-path"),
        ({"backup_settings": {"spool-path": "/srv/x"}}, "backup_settings.spool-path"),
        ({"backup_settings": {"repo2-path": "/x", "repo2-type": "s3"}}, ""),
        ({"backup_settings": {"repo1-path": "/x", "repo1-type": "s3"}}, ""),
    ],
)
def test_a_path_that_the_sandbox_of_a_unit_hides_is_refused(own: dict[str, Any], variable: str) -> None:
    found = check(inventory({"control1": own}, None, LOCAL if "airflow_task_logs" in own else None))
    assert [item.variable for item in found] == ([variable] if variable else [])


@pytest.mark.parametrize(
    ("everywhere", "variable"),
    [
        (GIT | {"airflow_dags_git_url": "/home/git/dags.git"}, "airflow_dags_git_url"),
        (GIT | {"airflow_dags_git_url": "file:///srv/../root/dags%2Egit"}, "airflow_dags_git_url"),
        (GIT | {"airflow_dags_git_url": "/tmp/dags.git"}, "airflow_dags_git_url"),
        (GIT | {"airflow_dags_git_url": "ssh://git@h/home/git/dags.git"}, ""),
        (GIT | {"airflow_dags_git_url": "git@h:/home/git/dags.git"}, ""),
        ({"airflow_dags_git_url": "/home/git/dags.git"}, ""),
        (
            GIT | {"airflow_dags_git_url": "/home/dags.git", "airflow_worker_sandbox": {"ProtectHome": "read-only"}},
            "",
        ),
        ({"airflow_dag_bundles": [{"name": "x", "url": "file:///home/x.git"}]}, "airflow_dag_bundles[0].url"),
        (
            {"airflow_dag_bundles": [LOCAL_BUNDLE | {"kwargs": {"path": "/home/x"}}]},
            "airflow_dag_bundles[0].kwargs.path",
        ),
        ({"airflow_dag_bundles": [LOCAL_BUNDLE | {"kwargs": {"path": "/srv/home/x"}}]}, ""),
    ],
)
def test_a_source_of_dags_that_the_sandbox_hides_is_refused(everywhere: dict[str, Any], variable: str) -> None:
    found = check(inventory(everywhere=everywhere))
    assert {item.variable for item in found} == ({variable} if variable else set())
    assert all("(docs/sandbox.md)" in item.expected for item in found)


def test_what_is_hidden_is_what_the_sandbox_says() -> None:
    assert all(sandbox.SETTINGS[setting] is True for setting in config_rules.HIDDEN_PATHS.values())
    assert sandbox.SETTINGS["ProtectSystem"] == "strict"


@pytest.mark.parametrize(
    ("repository", "logs", "refused"),
    [
        ("/srv/data", "/srv/data", True),
        ("/srv/data/backups", "/srv/data", True),
        ("/srv/data", "/srv/data/logs", True),
        ("/srv/data/backups", "/srv/data/logs", False),
        ("/srv/data", "/srv/data-logs", False),
    ],
)
def test_backups_and_stored_logs_are_apart(repository: str, logs: str, refused: bool) -> None:
    own = {"control1": {"backup_repository": repository}}
    found = check(inventory(own, everywhere={"log_store_dir": logs}))
    assert [item.variable for item in found] == (["backup_repository"] if refused else [])
    store = {"control1": own["control1"] | {"backup_settings": {"repo1-type": "s3"}}}
    assert check(inventory(store, everywhere={"log_store_dir": logs})) == []


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
