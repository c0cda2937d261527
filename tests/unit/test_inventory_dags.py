"""The rules for the DAGs and queues of an inventory."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import dag_bundles
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check, dags
from sample_inventory import inventory, only


def test_a_git_source_needs_its_url() -> None:
    found = check(inventory(everywhere={"airflow_dags_source": "git"}))
    assert {item.variable for item in found} == {"airflow_dags_git_url"}
    git = {"airflow_dags_source": "git", "airflow_dags_git_url": "https://git.example.org/x.git"}
    assert check(inventory(everywhere=git)) == []


@pytest.mark.parametrize("variable", ["airflow_dags_dir", "airflow_plugins_dir"])
@pytest.mark.parametrize("private", dags.PRIVATE)
@pytest.mark.parametrize(("path", "refused"), [(".", True), ("deploy/x", True), ("../beside", False)])
def test_what_airflow_reads_holds_nothing_private(
    variable: str, private: str, path: str, refused: bool, tmp_path: Path
) -> None:
    directory = tmp_path / "repository"
    directory.mkdir()
    found = check(inventory(everywhere={variable: str(directory), private: str(directory / path)}))
    assert {item.variable for item in found} == ({variable} if refused else set())
    assert all(f"{directory / path} ({dags.PRIVATE[private]})" in item.expected for item in found)


def test_an_inventory_without_a_directory_hides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``inventory_dir`` of ``--inventory host,`` is null."""
    monkeypatch.chdir(tmp_path)
    assert check(inventory(everywhere={"airflow_dags_dir": str(tmp_path), "inventory_dir": None})) == []


def test_a_directory_of_one_host_is_private_for_all(tmp_path: Path) -> None:
    own, everywhere = {"control1": {"backup_fetch_dir": str(tmp_path)}}, {"airflow_dags_dir": str(tmp_path)}
    found = check(inventory(own, everywhere=everywhere))
    assert "host worker1" in {item.where for item in found}


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


@pytest.mark.parametrize(
    ("classpath", "requirement"),
    [
        ("airflow.providers.amazon.aws.bundles.s3.S3DagBundle", "apache-airflow-providers-amazon>=9"),
        ("airflow.providers.google.cloud.bundles.gcs.GCSDagBundle", "apache-airflow-providers-google"),
        ("acme.bundles.Bundle", "acme-platform"),
    ],
)
def test_the_class_of_a_bundle_is_in_a_package_of_the_runtime(classpath: str, requirement: str) -> None:
    bundle = {"airflow_dag_bundles": [{"name": "git", "url": "/r"}, {"name": "own", "classpath": classpath}]}
    found = check(inventory(everywhere=bundle))
    assert {item.variable for item in found} == {"airflow_dag_bundles[1].classpath"}
    assert {item.value for item in found} == {f"'{classpath}'"}
    added = {"airflow_runtime_extra_requirements": [requirement]}
    assert check(inventory(everywhere=bundle | added)) == []
    only_workers = {"airflow_worker_extra_requirements": [requirement]}
    assert {item.where for item in check(inventory(everywhere=bundle | only_workers))} == {"host control1"}


def test_the_class_of_a_bundle_may_be_among_the_plugins_or_of_airflow_itself(tmp_path: Path) -> None:
    (tmp_path / "acme.py").touch()
    names = ("acme.Bundle", "airflow.dag_processing.bundles.local.LocalDagBundle", dag_bundles.GIT_BUNDLE)
    bundles = [{"name": f"b{index}", "classpath": name} for index, name in enumerate(names)]
    assert check(inventory(everywhere={"airflow_dag_bundles": bundles, "airflow_plugins_dir": str(tmp_path)})) == []


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
