"""Environment variables for the code of users, and the connections inside the cluster that must ignore them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from airflow_client import AirflowClient, TaskInstance, wait_for
from cluster_inventory import Cluster
from conftest import PROJECT, Recap
from testinfra.host import Host

pytestmark = pytest.mark.same_everywhere

# Nobody listens there.
PROXY = "http://127.0.0.1:9"
FOR_ALL = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), PROXY),
    "NO_PROXY": "example.org",
    "REQUESTS_CA_BUNDLE": "/nonexistent",
    "PROBE": "for all",
}
# Each of them would keep a worker from the broker, the results, or the Execution API.
FOR_WORKERS = {
    "PROBE": "for workers",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "NO_PROXY": "fd00::/8",
    "SSL_CERT_FILE": "/nonexistent",
    "SSLKEYLOGFILE": "/nonexistent/keys",
    "PGHOSTADDR": "192.0.2.1",
    "PGSERVICE": "nowhere",
    "PGOPTIONS": "--nonsense",
    "CELERY_BROKER_URL": "redis://192.0.2.1",
    "CELERY_RESULT_BACKEND": "redis://192.0.2.1",
    "CELERY_LOADER": "nowhere",
    "WEB_CONCURRENCY": "3",
}
WANTED = {
    "worker": FOR_ALL | FOR_WORKERS,
    "triggerer": FOR_ALL | {"PROBE": "for triggers"},
    "dag-processor": FOR_ALL | {"PROBE": "for DAG files"},
    "api-server@8081": FOR_ALL | {"PROBE": "for API servers"},
    "execution-api@8091": FOR_ALL,
    "scheduler": FOR_ALL,
}
FOR_TASKS_ALONE = ("SSLKEYLOGFILE", "WEB_CONCURRENCY", "PGHOSTADDR", "PGSERVICE", "PGOPTIONS")

PROBE_DAG = """
import json, os, subprocess, sys
from airflow.sdk import dag, task
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync


@dag(schedule=None, catchup=False, description=json.dumps(os.environ.get("PROBE")))
def environment_probe():
    @task
    def seen():
        code = "import json, os; print(json.dumps(dict(os.environ)))"
        child = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
        return {"own": dict(os.environ), "child": child}

    DateTimeSensorAsync(task_id="deferred", target_time="2020-01-01T00:00:00+00:00")
    seen()


environment_probe()
"""


def ping(host: Host, worker: str, seconds: float) -> tuple[int, str]:
    """Have a worker reach the Execution API; return the exit status and what was said."""
    done = host.run(
        f"/usr/local/sbin/airflow-run worker airflow_celery_cluster.worker_ping celery@{worker} --execution-api "
        f"--timeout={seconds}"
    )
    return done.rc, done.stderr


def test_a_worker_says_whether_it_reaches_the_execution_api(
    cluster: Cluster, connect: Callable[[str], Host], worker: str
) -> None:
    machine, entrance = connect(worker), connect(cluster.first("haproxy"))
    assert ping(machine, worker, 30)[0] == 0
    entrance.check_output("systemctl stop haproxy")
    try:
        status, message = ping(machine, worker, 8)
    finally:
        entrance.check_output("systemctl start haproxy")
    assert status == 1
    assert "/execution/: ConnectError" in message
    wait_for(lambda: ping(machine, worker, 5)[0] == 0, what=f"{worker} at the Execution API again", seconds=60)


@pytest.fixture(scope="module")
def deployed(
    play: Callable[..., Recap], client: AirflowClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Deploy all these variables, and take them away again."""
    dags = tmp_path_factory.mktemp("dags") / "dags"
    shutil.copytree(PROJECT / "dags", dags)
    (dags / "environment_probe_dag.py").write_text(PROBE_DAG)
    variables = {
        "airflow_dags_dir": str(dags),
        "airflow_environment": FOR_ALL,
        "airflow_worker_environment": FOR_WORKERS,
        "airflow_triggerer_environment": {"PROBE": "for triggers"},
        "airflow_dag_processor_environment": {"PROBE": "for DAG files"},
        "airflow_api_server_environment": {"PROBE": "for API servers"},
    }
    play("--extra-vars", json.dumps(variables)).must_succeed()
    yield
    play().must_succeed()


@pytest.mark.long
def test_each_process_has_its_variables(
    deployed: None, cluster: Cluster, connect: Callable[[str], Host], client: AirflowClient
) -> None:
    for process, wanted in WANTED.items():
        group = "airflow_worker" if process == "worker" else "airflow_scheduler"
        host = connect(cluster.first(group))
        # The title of a process overwrites what the kernel shows of its environment.
        [file] = re.findall(
            r"/etc/airflow/secrets/\S+-environment\.env",
            host.check_output(f"systemctl show --property=EnvironmentFiles airflow-{process}"),
        )
        shown = host.check_output(f"env -i sh -c 'set -a; . {file}; exec /usr/bin/env'")
        found = dict(line.split("=", 1) for line in shown.splitlines())
        # The worker itself has none of those that are for its tasks.
        alone = {name for name in wanted if name in FOR_TASKS_ALONE or name.startswith("CELERY")}
        assert found.keys() & alone == set(), process
        assert {name: found.get(name) for name in wanted.keys() - alone} == {
            name: value for name, value in wanted.items() if name not in alone
        }, process
        shown = host.check_output(f"systemctl show airflow-{process}")
        assert "for all" not in shown
        assert "192.0.2.1" not in shown


@pytest.mark.long
def test_tasks_have_the_variables_and_the_cluster_ignores_them(
    deployed: None, client: AirflowClient, run_cluster_check: Callable[..., list[TaskInstance]]
) -> None:
    known = wait_for(
        lambda: (found := client.dag("environment_probe")) and found["description"] and found,
        what="the DAG with the variable of the DAG processor",
        seconds=120,
    )
    assert json.loads(known["description"]) == "for DAG files"
    client.pause("environment_probe", False)
    run_id = client.trigger("environment_probe")
    run = client.wait_for_run("environment_probe", run_id, seconds=180)
    tasks = {task.task_id: task for task in client.tasks("environment_probe", run_id)}
    logs = {name: client.log("environment_probe", task) for name, task in tasks.items()}
    assert run.state == "success", logs
    seen = client.result("environment_probe", tasks["seen"])
    for process in ("own", "child"):
        assert {name: seen[process].get(name) for name in WANTED["worker"]} == WANTED["worker"], process
        assert "AIRFLOW_CLUSTER_TASK_VARIABLES" not in seen[process]
    # Logs come from the worker by HTTP. None of the tasks has failed before, as one without the Execution API does.
    for name, task in tasks.items():
        assert "Could not read served logs" not in logs[name]
        assert logs[name].strip()
        assert task.try_number == 1
    found = run_cluster_check(tasks=8, seconds=3)
    assert {task.try_number for task in found} == {1}
