"""The cluster does what it is for."""

from __future__ import annotations

from collections.abc import Callable

from airflow_client import AirflowClient, TaskInstance, http, wait_for
from cluster_inventory import Cluster
from testinfra.host import Host

Connect = Callable[[str], Host]
RunClusterCheck = Callable[..., list[TaskInstance]]


def test_tasks_run_on_every_worker(cluster: Cluster, client: AirflowClient, run_cluster_check: RunClusterCheck) -> None:
    tasks = run_cluster_check(tasks=4 * len(cluster.workers), seconds=4)
    assert len(tasks) == 4 * len(cluster.workers)
    assert {cluster.host_of(task.hostname) for task in tasks} == set(cluster.workers)
    for task in tasks:
        # What the machine calls itself, and what Airflow calls it, are one.
        assert cluster.host_of(client.result("cluster_check", task)["host"]) == cluster.host_of(task.hostname)


def complete_log(client: AirflowClient, task: TaskInstance) -> str:
    """Return the log of a task with its end, which is sent when Airflow already says that the task has ended."""
    return wait_for(
        lambda: text if "Done." in (text := client.log("cluster_check", task)) else None,
        what=f"the end of the log of {task.label}",
        seconds=10,
    )


def test_log_of_a_task_is_in_the_log_store(
    cluster: Cluster, client: AirflowClient, run_cluster_check: RunClusterCheck
) -> None:
    by_worker = {
        cluster.host_of(task.hostname): task for task in run_cluster_check(tasks=4 * len(cluster.workers), seconds=4)
    }
    assert set(by_worker) == set(cluster.workers)
    for task in by_worker.values():
        log = complete_log(client, task)
        assert f"/tasks/dag_id=cluster_check/run_id={task.run_id}" in log, log
        assert ":8793/" not in log, log
        assert task.hostname in log
        assert "Done. Returned value was: {'number': " + task.label in log, log


def test_flower_lists_every_worker(cluster: Cluster) -> None:
    workers = set(cluster.workers)
    seen = wait_for(
        lambda: found if (found := cluster.flower_workers()) == workers else None,
        what="every worker, and no other, in Flower",
        seconds=60,
    )
    assert seen == workers


def test_flower_asks_for_its_own_login(cluster: Cluster) -> None:
    user, password = cluster.flower_login
    for path in ("/", "/workers", "/api/workers", "/api/tasks", "/broker"):
        url = cluster.flower_url + path
        assert http("GET", url, ca_file=cluster.ca_file)[0] == 401, path
        assert http("GET", url, login=(user, "not" + password), ca_file=cluster.ca_file)[0] == 401, path
        assert http("GET", url, login=(user, password), ca_file=cluster.ca_file)[0] == 200, path
    assert http("GET", cluster.flower_url + "/", login=cluster.admin, ca_file=cluster.ca_file)[0] == 401


def test_default_pool_is_as_large_as_all_workers(cluster: Cluster, client: AirflowClient) -> None:
    slots = sum(int(cluster.variables[worker]["airflow_worker_concurrency"]) for worker in cluster.workers)
    assert client.call("GET", "/pools/default_pool")["slots"] == slots


def test_get_stocks_is_there_and_imports(client: AirflowClient) -> None:
    assert client.import_errors() == {}
    dag = client.wait_for_dag("get_stocks", seconds=60)
    assert dag["max_active_tasks"] == 2
    assert dag["timetable_periodic"] is True


def test_tasks_that_say_nothing_of_retries_have_some_with_backoff(client: AirflowClient) -> None:
    for task in client.call("GET", "/dags/cluster_check/tasks")["tasks"]:
        assert (task["retries"], task["retry_delay"]["seconds"], task["retry_exponential_backoff"]) == (3, 1, 2)
    # What a task says itself stands.
    for task in client.call("GET", "/dags/get_stocks/tasks")["tasks"]:
        assert (task["retries"], task["retry_delay"]["seconds"], task["retry_exponential_backoff"]) == (3, 20, 0)


def test_the_cleanup_of_checkouts_leaves_releases_alone(
    cluster: Cluster, connect: Connect, run_cluster_check: RunClusterCheck
) -> None:
    """It runs beside git bundles, on each worker, and would end at a release, which is no checkout."""
    storage = "/var/lib/airflow/dag_bundles"
    hosts = [connect(worker) for worker in cluster.workers]
    for host in hosts:
        host.check_output(
            "runuser -u airflow-worker -- sh -euc "
            f"'mkdir -p {storage}/dags/versions/pruned {storage}/_tracking/dags; "
            f"date --iso-8601=seconds >{storage}/_tracking/dags/pruned'"
        )
    run_cluster_check(tasks=4 * len(cluster.workers), seconds=4)
    cleanup = (
        "runuser -u airflow-worker -- env AIRFLOW_HOME=/var/lib/airflow AIRFLOW_CONFIG=/etc/airflow/worker/airflow.cfg "
        "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_MIN_VERSIONS=0 "
        "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_AGE_THRESHOLD=0 /opt/airflow/current/bin/python -c "
        "'from airflow.dag_processing.bundles.base import BundleUsageTrackingManager as Manager; "
        "Manager().remove_stale_bundle_versions()'"
    )
    for host in hosts:
        release = host.check_output("basename $(realpath /opt/airflow/dags/current)")
        for folder in (f"{storage}/_tracking/dags", f"{storage}/dags/versions"):
            versions = host.check_output(f"ls {folder}").split()
            assert release in versions
            assert "pruned" not in versions
        host.check_output(cleanup)
        assert host.check_output(f"find {storage}/_tracking/dags {storage}/dags/versions -mindepth 1") == ""
        assert host.file(f"/opt/airflow/dags/releases/{release}").is_directory
