"""Further DAG bundles and the credentials of git repositories."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import dag_bundles

TOKEN = {"name": "github", "token": "tok", "username": "robot"}
KEY = {
    "name": "gitlab",
    "ssh_key": "-----BEGIN KEY-----\nabc\n-----END KEY-----",
    "known_hosts": "h ssh-ed25519 AAAA\n\n",
}
KNOWN: dict[str, dict[str, Any]] = {"github": TOKEN, "gitlab": KEY}


def test_a_git_bundle_is_what_the_provider_takes() -> None:
    bundle = {"name": "b", "url": "git@h:r.git", "ref": "v1", "subdir": "dags", "credentials": "gitlab"}
    assert dag_bundles.config(bundle, 10) == {
        "name": "b",
        "classpath": dag_bundles.GIT_BUNDLE,
        "kwargs": {
            "repo_url": "git@h:r.git",
            "tracking_ref": "v1",
            "subdir": "dags",
            "git_conn_id": "git_gitlab",
            "refresh_interval": 10,
        },
    }
    assert dag_bundles.config({"name": "b", "url": "/r", "subdir": "", "credentials": ""}, 10)["kwargs"] == {
        "repo_url": "/r",
        "tracking_ref": "main",
        "refresh_interval": 10,
    }


def test_a_bundle_of_another_class_gets_its_arguments() -> None:
    bundle = {"name": "b", "classpath": "a.B", "kwargs": {"bucket": "x"}, "refresh_interval": 60}
    assert dag_bundles.config(bundle, 10) == {
        "name": "b",
        "classpath": "a.B",
        "kwargs": {"bucket": "x", "refresh_interval": 60},
    }


def test_credentials_are_connections_and_files_of_the_process() -> None:
    environment = dag_bundles.environment([TOKEN, KEY], "/etc/airflow/worker")
    assert {name: json.loads(value) for name, value in environment.items()} == {
        "AIRFLOW_CONN_GIT_GITHUB": {"conn_type": "git", "login": "robot", "password": "tok"},
        "AIRFLOW_CONN_GIT_GITLAB": {
            "conn_type": "git",
            "extra": {
                "key_file": "/etc/airflow/worker/git_gitlab.key",
                "known_hosts_file": "/etc/airflow/worker/git_gitlab.known_hosts",
                "strict_host_key_checking": "yes",
            },
        },
    }
    assert dag_bundles.files([TOKEN, KEY]) == {
        "git_gitlab.key": "-----BEGIN KEY-----\nabc\n-----END KEY-----\n",
        "git_gitlab.known_hosts": "h ssh-ed25519 AAAA\n",
    }


def test_sound_bundles_and_credentials_are_accepted() -> None:
    bundles = [
        {"name": "one", "url": "https://h/r.git", "credentials": "github"},
        {"name": "two", "url": "ssh://git@h/r.git", "credentials": "gitlab"},
        {"name": "three", "url": "git@h:r.git", "credentials": "gitlab"},
        {"name": "four", "url": "/srv/r.git"},
        {"name": "five", "classpath": "airflow.providers.amazon.aws.bundles.s3.S3DagBundle", "kwargs": {}},
    ]
    assert list(dag_bundles.bundle_problems(bundles, KNOWN)) == []
    assert list(dag_bundles.credential_problems([TOKEN, KEY])) == []


@pytest.mark.parametrize(
    ("bundle", "variable", "words"),
    [
        ({"url": "/r"}, "airflow_dag_bundles[0].name", "letters"),
        ({"name": "cluster", "url": "/r"}, "airflow_dag_bundles[0].name", "the cluster's"),
        ({"name": "dags", "url": "/r"}, "airflow_dag_bundles[0].name", "the cluster's"),
        ({"name": "a b", "url": "/r"}, "airflow_dag_bundles[0].name", "letters"),
        ({"name": "b"}, "airflow_dag_bundles[0]", "either url"),
        ({"name": "b", "url": "/r", "classpath": "a.B"}, "airflow_dag_bundles[0]", "either url"),
        ({"name": "b", "classpath": "B"}, "airflow_dag_bundles[0].classpath", "a class"),
        ({"name": "b", "url": "/r", "subdri": "x"}, "airflow_dag_bundles[0].subdri", "subdir"),
        ({"name": "b", "url": "https://u:p@h/r"}, "airflow_dag_bundles[0].url", "airflow_dag_bundles[0].credentials"),
        ({"name": "b", "url": "/r", "credentials": "hub"}, "airflow_dag_bundles[0].credentials", "github, gitlab"),
        ({"name": "b", "url": "git@h:r", "credentials": "github"}, "airflow_dag_bundles[0].url", "ssh_key"),
        ({"name": "b", "url": "http://h/r", "credentials": "github"}, "airflow_dag_bundles[0].url", "https://"),
        ({"name": "b", "url": "https://h/r", "credentials": "gitlab"}, "airflow_dag_bundles[0].url", "token"),
    ],
)
def test_a_bundle_that_cannot_work_is_refused(bundle: dict[str, Any], variable: str, words: str) -> None:
    [problem] = dag_bundles.bundle_problems([bundle], KNOWN)
    assert problem[0] == variable
    assert words in " ".join(problem[2:])
    assert "u:p" not in " ".join(problem)


def test_two_bundles_need_two_names() -> None:
    bundles = [{"name": "b", "url": "/r"}, {"name": "b", "url": "/s"}]
    [problem] = dag_bundles.bundle_problems(bundles, {})
    assert problem[0] == "airflow_dag_bundles[1].name"


@pytest.mark.parametrize(
    ("credential", "variable"),
    [
        ({"token": "hush"}, "airflow_git_credentials[0].name"),
        ({"name": "A b", "token": "hush"}, "airflow_git_credentials[0].name"),
        ({"name": "a"}, "airflow_git_credentials[0]"),
        ({"name": "a", "token": "hush", "ssh_key": "hush", "known_hosts": "x"}, "airflow_git_credentials[0]"),
        ({"name": "a", "ssh_key": "hush"}, "airflow_git_credentials[0].known_hosts"),
        ({"name": "a", "token": "hush", "user": "hush"}, "airflow_git_credentials[0].user"),
    ],
)
def test_a_credential_that_cannot_work_is_refused_and_not_shown(credential: dict[str, Any], variable: str) -> None:
    [problem] = dag_bundles.credential_problems([credential])
    assert problem[0] == variable
    assert "hush" not in " ".join(problem)
