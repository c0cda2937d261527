"""Debian packages and Python packages of the hosts: the same on all hosts of a pool, and nothing left of a build."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow_client import AirflowClient, wait_for
from cluster_inventory import Cluster
from conftest import Play, restarted
from testinfra.host import Host

Connect = Callable[[str], Host]
Starts = Callable[..., dict[str, str]]


def extra(**variables: object) -> tuple[str, str]:
    """Return the option that gives variables to ansible-playbook."""
    return "--extra-vars", json.dumps(variables)


def debian_packages(host: Host) -> set[str]:
    """Return the installed Debian packages with their versions."""
    shown = host.check_output("dpkg-query --show --showformat='${db:Status-Abbrev}${binary:Package}=${Version}\n'")
    return {line.split()[1] for line in shown.splitlines() if line.startswith("ii")}


def test_the_workers_have_the_same_debian_packages(cluster: Cluster, connect: Connect) -> None:
    """One of them has built the runtime: what that needed must not decide what tasks can do there."""
    first, *others = cluster.workers
    expected = debian_packages(connect(first))
    assert others
    for worker in others:
        found = debian_packages(connect(worker))
        assert found == expected, f"{worker}: {sorted(found ^ expected)}"


def test_a_task_can_make_a_virtual_environment_on_every_worker(worker: str, connect: Connect) -> None:
    """With the worker's own user and interpreter, as Airflow's virtualenv operators do."""
    environment = "/tmp/test-venv"
    connect(worker).check_output(
        f"runuser -u airflow-worker -- /opt/airflow/current/bin/python -m venv --clear {environment}"
        f" && {environment}/bin/pip --version && rm -rf {environment}"
    )


# No requirements: the tests need no package index then.
VENV_DAG = """
from airflow.sdk import dag, task


@dag(schedule=None, catchup=False)
def venv_check():
    @task.virtualenv(system_site_packages=False)
    def isolated(number):
        import sys
        import time

        time.sleep(4)
        return sys.prefix != sys.base_prefix

    @task.external_python(python="/usr/bin/python3", expect_airflow=False)
    def external(number):
        import sys

        return sys.executable == "/usr/bin/python3"

    isolated.expand(number=list(range(SLOTS)))
    external.expand(number=list(range(SLOTS)))


venv_check()
"""


@pytest.mark.long
def test_virtualenv_and_external_python_work_on_every_worker(
    cluster: Cluster, play: Play, client: AirflowClient, tmp_path: Path
) -> None:
    slots = 4 * len(cluster.workers)
    (tmp_path / "venv_check_dag.py").write_text(VENV_DAG.replace("SLOTS", str(slots)))
    play(*extra(airflow_dags_dir=str(tmp_path)), book="playbooks/dags.yml").must_succeed()
    client.wait_for_dag("venv_check", seconds=120)
    client.pause("venv_check", False)
    hosts: dict[str, set[str]] = {"isolated": set(), "external": set()}

    def everywhere() -> bool:
        run_id = client.trigger("venv_check")
        assert client.wait_for_run("venv_check", run_id, seconds=300).state == "success"
        tasks = [task for task in client.tasks("venv_check", run_id) if task.task_id in hosts]
        assert len(tasks) == slots * len(hosts)
        for task in tasks:
            assert client.result("venv_check", task)
            hosts[task.task_id].add(cluster.host_of(task.hostname))
        return all(seen == set(cluster.workers) for seen in hosts.values())

    # A fast worker can take all tasks of a run.
    wait_for(everywhere, what="both kinds of task on each worker", seconds=600)
    play(book="playbooks/dags.yml").must_succeed()


# mysqlclient has no wheel: it needs a compiler and header files to be built, and a library to be imported.
MYSQL = {"airflow_runtime_extra_requirements": ["bokeh_sampledata", "mysqlclient"]}
MYSQL_BUILD = ["build-essential", "default-libmysqlclient-dev", "pkg-config", "python3-dev"]


def left(cluster: Cluster, connect: Connect) -> dict[str, set[str]]:
    """Return what a build may leave on each host: packages and files."""
    found = {}
    for host in cluster.groups["airflow"]:
        shown = connect(host).check_output("find /opt/airflow -maxdepth 2 -path '/opt/airflow/dags/*' -prune -o -print")
        found[host] = debian_packages(connect(host)) | set(shown.splitlines())
    return found


@pytest.mark.long
@pytest.mark.same_everywhere
def test_check_mode_reports_a_release_and_dags_that_are_pending(
    cluster: Cluster, play: Play, starts: Starts, connect: Connect, tmp_path: Path
) -> None:
    dags, locks = tmp_path / "dags", tmp_path / "locks"
    for folder in (dags, locks):
        folder.mkdir()
    (dags / "empty.py").touch()
    change = {"airflow_dags_dir": str(dags), "airflow_runtime_lock_dir": str(locks)}
    before, units = left(cluster, connect), starts()
    recap = play("--check", *extra(**change, airflow_runtime_extra_requirements=["roman"])).must_succeed()
    for host in cluster.groups["airflow"]:
        assert recap.hosts[host]["changed"] > 0
    assert left(cluster, connect) == before
    assert restarted(units, starts()) == set()
    assert list(locks.iterdir()) == []


@pytest.mark.long
@pytest.mark.same_everywhere
def test_a_failed_build_leaves_nothing_and_is_reported_once(
    cluster: Cluster, play: Play, starts: Starts, connect: Connect, tmp_path: Path
) -> None:
    before, units = left(cluster, connect), starts()
    # Its header files are there, and no compiler.
    build_packages = ["default-libmysqlclient-dev", "pkg-config"]
    recap = play(*extra(**MYSQL, airflow_runtime_build_packages=build_packages, airflow_runtime_lock_dir=str(tmp_path)))
    assert recap.status != 0
    assert "mysqlclient" in recap.output
    assert recap.count("failed") == 1, recap.output[-3000:]
    assert left(cluster, connect) == before
    assert list(tmp_path.iterdir()) == []
    assert restarted(units, starts()) == set()


@pytest.mark.long
@pytest.mark.same_everywhere
def test_packages_of_build_and_run_time(cluster: Cluster, play: Play, connect: Connect) -> None:
    before = {host: debian_packages(connect(host)) for host in cluster.groups["airflow"]}
    play(
        *extra(**MYSQL, airflow_runtime_build_packages=MYSQL_BUILD, airflow_runtime_packages=["libmariadb3"])
    ).must_succeed()
    for host in cluster.groups["airflow"]:
        connect(host).check_output("/opt/airflow/current/bin/python -c 'import MySQLdb'")
        added = {re.split("[:=]", package)[0] for package in debian_packages(connect(host)) - before[host]}
        assert "libmariadb3" in added
        assert added & {"gcc", "make", "libmariadb-dev", *MYSQL_BUILD} == set()
    play().must_succeed()
