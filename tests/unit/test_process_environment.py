"""Environment variables for the code of a user, and what of the cluster reads the same ones."""

from __future__ import annotations

import importlib
import json
import os
import re
import urllib.request
from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.filter.cluster import environment_file
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import process_environment as environment

RUNTIME = Path(__file__).parents[2] / "roles/airflow_runtime/files/runtime/airflow_celery_cluster"


def test_variables_of_connections_reach_the_tasks_alone() -> None:
    wanted = {"PGHOST": "db", "CELERY_BROKER_URL": 'redis://:"$x"@h', "PGPORT": 5432, "HTTPS_PROXY": "http://p", "N": 3}
    found = environment.keep_for_tasks(wanted)
    kept = json.loads(found.pop(environment.TASK_VARIABLES))
    assert kept == {"PGHOST": "db", "CELERY_BROKER_URL": 'redis://:"$x"@h', "PGPORT": "5432"}
    assert found == {"HTTPS_PROXY": "http://p", "N": 3}


@pytest.mark.parametrize("variables", [{}, {"N": 3, "HTTPS_PROXY": "http://p"}])
def test_other_variables_stay_as_they_are(variables: dict[str, object]) -> None:
    assert environment.keep_for_tasks(variables) == variables


def test_what_is_for_tasks_is_one_line_for_systemd() -> None:
    lines = environment_file(environment.keep_for_tasks({"PGPASSWORD": 'a"b\\c$d`e\u00e9'})).splitlines()
    assert len(lines) == 1
    value = re.sub(r"\\(.)", r"\1", lines[0].partition("=")[2][1:-1])
    assert json.loads(value) == {"PGPASSWORD": 'a"b\\c$d`e\u00e9'}


def test_tasks_read_the_variable_that_the_deployment_writes() -> None:
    assert f'TASK_VARIABLES = "{environment.TASK_VARIABLES}"' in (RUNTIME / "task_process.py").read_text()


def test_a_refusal_names_variable_reason_and_alternative_but_no_value() -> None:
    for variable, name, expected in (
        ("airflow_environment", "PGHOST", "airflow_worker_environment"),
        ("airflow_worker_environment", "LD_LIBRARY_PATH", "/etc/ld.so.conf.d"),
        ("airflow_worker_environment", "PYTHONPATH", "airflow_worker_extra_requirements"),
        ("airflow_triggerer_environment", "OPENSSL_CONF", "BashOperator(env="),
        ("airflow_api_server_environment", "RES_OPTIONS", "/etc/resolv.conf"),
    ):
        problem = environment.environment_problem(variable, {name: "hunter22"})
        assert problem
        assert name in problem
        assert expected in problem
        assert "hunter22" not in problem


# What httpx, with which Airflow makes a client in each API server, accepts and refuses.
@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "HTTPS_PROXY",
            ["", "http://p:3128", "https://p:3128/", "p:3128", "p", "http://u:p%40@h:1/", "http://[fd00::1]:3128"],
            ["socks5://p:1", "socks5h://p:1", "ftp://p", "http://p:port", "http://", "p q"],
        ),
        ("all_proxy", ["http://p:3128"], ["socks5://p:1"]),
        (
            "NO_PROXY",
            ["", "*", "localhost,.example.org,10.0.0.0/8", "::1,fd00::1", "host:80", "*.example.org"],
            ["[::1]", "a,fd00::/8", "[fd00::1]:80"],
        ),
        ("FTP_PROXY", ["socks5://x"], []),
    ],
)
def test_a_proxy_keeps_no_api_server_from_starting(name: str, good: list[str], bad: list[str]) -> None:
    for variable, refused in (("airflow_environment", bad), ("airflow_worker_environment", [])):
        found = {text: environment.environment_problem(variable, {name: text}) for text in good + bad}
        assert [text for text, problem in found.items() if problem] == refused
        for problem in filter(None, found.values()):
            assert f"in {name}" in problem
            assert "airflow_worker_environment" in problem


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "worker1"),
        ({"NO_PROXY": "a.example, b"}, "a.example,b,worker1"),
        ({"no_proxy": "a"}, "a,worker1"),
        # requests looks at the lower case first.
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,worker1"),
        ({"no_proxy": "a,worker1"}, "a,worker1"),
        ({"NO_PROXY": "*"}, None),
        ({"NO_PROXY": ""}, "worker1"),
    ],
)
def test_logs_are_fetched_without_a_proxy(
    before: dict[str, str], after: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(RUNTIME.parent))
    connections = importlib.import_module("airflow_celery_cluster.connections")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    asked = []
    connections._without_proxy(lambda url, path: asked.append((url, os.environ.get("no_proxy"))))(
        "http://worker1:1", "x"
    )
    assert asked == [("http://worker1:1", after)]
    assert urllib.request.proxy_bypass("worker1")
