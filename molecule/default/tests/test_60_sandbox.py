"""What a process of the cluster, and a task above all, is kept from; and that tasks work all the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow_client import AirflowClient, wait_for
from cluster_inventory import Cluster
from conftest import PROJECT, Play
from testinfra.host import Host

Connect = Callable[[str], Host]

MOST_EXPOSURE = 3.0
CONTROL_UNITS = (
    "airflow-api-server@8081",
    "airflow-execution-api@8091",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "airflow-flower",
)
WORKER_UNITS = ("airflow-worker", "airflow-worker-watchdog")
# Units of the distribution, by the group of their hosts.
SERVICE_UNITS = {
    "haproxy": ("haproxy.service",),
    "postgres": ("postgresql@*-main.service", "postgresql@*-results.service"),
    "redis": ("redis-server.service",),
}
WORKER_SECRETS = ("airflow_broker_password", "airflow_results_password")

PROBE_DAG = '''
import glob
import os
import subprocess
import tempfile
import time

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag, get_current_context, task


def refusal(action):
    """Return the name of the error that an action ends with, or what it returned."""
    try:
        return repr(action())
    except OSError as error:
        return type(error).__name__


def write(path):
    with open(path, "w") as file:
        file.write("x")
    os.unlink(path)


def read(path):
    with open(path, "rb") as file:
        return file.read(1)


def read_all(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # it ended meanwhile
        return b""


@dag(schedule=None, catchup=False)
def sandbox_probe():
    @task
    def forbidden():
        refused = {path: refusal(lambda: write(path)) for path in (
            "/etc/probe", "/usr/probe", "/opt/airflow/probe", "/opt/airflow/dags/probe", "/var/lib/airflow/probe",
            "/var/lib/airflow/plugins/probe.py", "/root/probe", "/home/probe", "/var/lib/probe", "/boot/probe",
            "/sys/fs/cgroup/probe", "/run/probe")}
        refused |= {path: refusal(lambda: read(path)) for path in (
            "/etc/shadow", "/etc/airflow/secrets/worker.env", "/etc/airflow/secrets/worker-watchdog.env")}
        refused["list /etc/airflow/secrets"] = refusal(lambda: os.listdir("/etc/airflow/secrets"))
        return refused

    @task
    def neighbour(number):
        """Be there, on each worker, while another task looks around."""
        time.sleep(15)

    @task
    def processes():
        def neighbours():
            return [path for path in glob.glob("/proc/[0-9]*/cmdline")
                    if read_all(path).startswith(b"airflow worker -- ") and path != f"/proc/{os.getpid()}/cmdline"]

        deadline = time.monotonic() + 60
        while not neighbours() and time.monotonic() < deadline:
            time.sleep(0.2)
        found = {}
        for folder in glob.glob("/proc/[0-9]*"):
            try:
                with open(f"{folder}/cmdline") as file:
                    command = file.read().replace("\\0", " ").strip()
            except OSError:  # it ended meanwhile
                continue
            for name in ("environ", "mem"):
                found[f"{folder}/{name}"] = [command, refusal(lambda: read(f"{folder}/{name}"))]
        return {"found": found, "parent": os.getppid(), "own": os.getpid()}

    @task
    def environment():
        child = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
        return {"own": dict(os.environ), "child": child}

    @task
    def network():
        import socket

        def reach(port):
            with socket.create_connection((DATABASE_HOST, port), timeout=5) as connection:
                return connection.getpeername()[1]

        return {str(port): refusal(lambda: reach(port)) for port in (DATABASE_PORT, RESULTS_PORT)}

    @task
    def virtualenv():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["python3", "-m", "venv", "--without-pip", folder], check=True)
            code = "import sys; print(sys.prefix != sys.base_prefix)"
            return subprocess.check_output([f"{folder}/bin/python", "-c", code], text=True)

    @task
    def usual_work():
        """What tasks usually do: temporary files, files at home and in the cache, code made at run time."""
        import mmap
        from pathlib import Path

        for folder in (*(Path(os.environ[name]) for name in ("HOME", "AIRFLOW_HOME", "XDG_CACHE_HOME")), Path.cwd()):
            (folder / "probe").write_text("x")
            (folder / "probe").unlink()
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
        os.nice(1)
        with tempfile.NamedTemporaryFile() as file:
            kind = subprocess.check_output(["stat", "--file-system", "--format=%T", file.name], text=True)
            return {"temporary": os.path.dirname(file.name), "in memory": kind.strip() in ("tmpfs", "ramfs")}

    @task
    def children():
        """Processes of the standard library, with builtin functions as a child does not know this file."""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        found = {"preexec_fn": subprocess.run(["true"], preexec_fn=os.setsid).returncode}
        for method in ("fork", "forkserver", "spawn"):
            context = multiprocessing.get_context(method)
            with context.Pool(2) as pool:
                found[f"Pool {method}"] = pool.map(int.bit_length, [1, 2, 4])
            with ProcessPoolExecutor(2, mp_context=context) as executor:
                found[f"executor {method}"] = list(executor.map(int.bit_length, [1, 2, 4]))
            process = context.Process(target=time.sleep, args=(0,))
            process.start()
            process.join()
            found[f"Process {method}"] = process.exitcode
        with multiprocessing.Manager() as manager:
            found["Manager"] = list(manager.list([1, 2, 3]))
        return found

    forbidden()
    neighbour.expand(number=list(range(8)))
    processes()
    environment()
    network()
    virtualenv()
    usual_work()
    children()
    BashOperator(task_id="bash", bash_command="set -e; echo a >file; sort file | grep a; true & wait; id -un")


sandbox_probe()
'''


@pytest.fixture(scope="module")
def probed(
    cluster: Cluster, client: AirflowClient, play: Play, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Run the probes as tasks on a worker; return what each returned, by task."""
    dags = tmp_path_factory.mktemp("dags") / "dags"
    shutil.copytree(PROJECT / "dags", dags)
    host = cluster.first("postgres")
    constants = {
        "DATABASE_HOST": cluster.address(host),
        "DATABASE_PORT": cluster.variables[host]["postgres_port"],
        "RESULTS_PORT": cluster.variables[host]["postgres_results_port"],
    }
    lines = "".join(f"{name} = {value!r}\n" for name, value in constants.items())
    (dags / "sandbox_probe_dag.py").write_text(lines + PROBE_DAG)
    play("-e", json.dumps({"airflow_dags_dir": str(dags)}), book="playbooks/dags.yml").must_succeed()
    client.wait_for_dag("sandbox_probe", seconds=120)
    client.pause("sandbox_probe", False)
    run_id = client.trigger("sandbox_probe")
    run = client.wait_for_run("sandbox_probe", run_id, seconds=180)
    tasks = client.tasks("sandbox_probe", run_id)
    logs = {task.task_id: client.log("sandbox_probe", task)[-2000:] for task in tasks if task.state != "success"}
    assert run.state == "success", logs
    yield {task.task_id: client.result("sandbox_probe", task) for task in tasks if task.map_index < 0}
    play(book="playbooks/dags.yml").must_succeed()


def units_of(cluster: Cluster, name: str) -> list[str]:
    """Return the Airflow units of a host."""
    units = list(WORKER_UNITS) if name in cluster.workers else []
    groups = (
        "airflow_api_server",
        "airflow_api_server",
        "airflow_scheduler",
        "airflow_dag_processor",
        "airflow_triggerer",
        "flower",
    )
    return units + [unit for group, unit in zip(groups, CONTROL_UNITS, strict=True) if name in cluster.groups[group]]


def instance_of(unit: str) -> str:
    """Return the process of a unit, with its instance: files below /etc/airflow have this name."""
    return unit.removeprefix("airflow-")


def process_of(unit: str) -> str:
    """Return the process of a unit."""
    return instance_of(unit).split("@")[0]


def user_of(unit: str) -> str:
    """Return the user that a unit must have."""
    return "airflow-worker" if unit == "airflow-worker-watchdog" else f"airflow-{process_of(unit)}"


def main_pid(host: Host, unit: str) -> str:
    """Return a unit's main process."""
    return str(host.check_output(f"systemctl show --property=MainPID --value {unit}"))


def service_units(cluster: Cluster, connect: Connect) -> list[tuple[Host, str]]:
    """Return the running units of HAProxy, PostgreSQL and Redis, each with its host."""
    return [
        (host, host.check_output(f"systemctl list-units --plain --no-legend --state=active '{pattern}'").split()[0])
        for group, patterns in SERVICE_UNITS.items()
        for host in map(connect, cluster.groups[group])
        for pattern in patterns
    ]


def exposure(host: Host, unit: str) -> float:
    """Return how exposed a unit is, from 0 to 10, in the words of systemd."""
    said = host.run(f"systemd-analyze security --no-pager {unit}").stdout
    return float(said.partition("Overall exposure level for")[2].partition(": ")[2].split()[0])


def test_exposure(cluster: Cluster, connect: Connect, name: str) -> None:
    host = connect(name)
    for unit in units_of(cluster, name):
        assert 0 < exposure(host, unit) <= MOST_EXPOSURE, unit


def test_exposure_of_services(cluster: Cluster, connect: Connect) -> None:
    found = {unit: exposure(host, unit) for host, unit in service_units(cluster, connect)}
    assert len(found) == 4
    assert {unit: number for unit, number in found.items() if not 0 < number <= MOST_EXPOSURE} == {}


def test_no_process_of_a_service_is_root(cluster: Cluster, connect: Connect) -> None:
    for host, unit in service_units(cluster, connect):
        group = host.check_output(f"systemctl show --property=ControlGroup --value {unit}")
        # The path that systemd names begins at the machine's own root, which a container may see deeper down.
        pids = host.check_output(f"cat $(find /sys/fs/cgroup -path '*{group}/cgroup.procs' | head -1)").split()
        assert main_pid(host, unit) in pids
        users = set(host.check_output(f"ps -o user:32= -p {','.join(pids)}").split())
        assert users == {{"haproxy": "haproxy", "redis-s": "redis"}.get(unit[:7], "postgres")}, unit


def test_haproxy_reloads_in_its_sandbox(cluster: Cluster, connect: Connect) -> None:
    """The new worker binds ports below 1024 and reads the keys again, without root."""
    host = connect(cluster.first("haproxy"))

    def workers() -> set[str]:
        return set(host.check_output(f"pgrep --parent {main_pid(host, 'haproxy')}").split())

    before = workers()
    host.check_output("systemctl reload haproxy")
    wait_for(lambda: workers() - before, what="a new worker process of HAProxy", seconds=30)
    port = cluster.variables[cluster.first("haproxy")]["haproxy_port"]
    answer = host.check_output(
        f"curl --silent --cacert /etc/airflow/tls/ca.pem https://127.0.0.1:{port}/api/v2/version -o /dev/null "
        "-w '%{http_code}'"
    )
    assert answer == "200"
    modes = host.check_output("stat -c '%a %U' /run/haproxy /etc/airflow/tls/haproxy.pem.key").splitlines()
    assert modes == ["750 haproxy", "600 haproxy"]


def test_no_process_looks_into_another(cluster: Cluster, connect: Connect, name: str) -> None:
    host = connect(name)
    units = units_of(cluster, name)
    pids = {unit: main_pid(host, unit) for unit in units}
    script = []
    for unit in units:
        user = user_of(unit)
        assert host.check_output(f"ps -o user:32= -p {pids[unit]}").strip() == user
        for other in units:
            paths = [f"/etc/airflow/secrets/{instance_of(other)}.env"] if other != unit else []
            if user_of(other) != user:
                paths += [f"/proc/{pids[other]}/environ", f"/proc/{pids[other]}/mem"]
                paths.append(f"/etc/airflow/{instance_of(other)}/airflow.cfg")
            # Each line of the answer is a path that is not there, or one that is not refused.
            script += [
                f"test -e {path} || echo {path} is missing; "
                f"LC_ALL=C runuser -u {user} -- head -c 1 {path} 2>&1 | grep -q 'Permission denied' || "
                f"echo {user} reads {path}"
                for path in paths
            ]
    assert script
    assert host.check_output("\n".join(script)) == ""


def test_a_process_reads_its_own_settings(cluster: Cluster, connect: Connect, name: str) -> None:
    """Otherwise "permission denied" above would mean nothing."""
    host = connect(name)
    for unit in units_of(cluster, name):
        if unit != "airflow-worker-watchdog":
            host.check_output(f"runuser -u {user_of(unit)} -- head -c 1 /etc/airflow/{instance_of(unit)}/airflow.cfg")


def test_a_task_is_refused(probed: dict[str, Any]) -> None:
    answers = probed["forbidden"]
    assert {what: how for what, how in answers.items() if how not in ("PermissionError", "OSError")} == {}


def test_a_task_reads_no_memory_of_the_worker(probed: dict[str, Any]) -> None:
    found: dict[str, list[str]] = probed["processes"]["found"]
    for program in ("airflow_celery_cluster.worker_watchdog", "celeryd: celery@"):
        assert [path for path, (command, _) in found.items() if program in command], (program, found)
    assert f"/proc/{probed['processes']['parent']}/environ" in found
    # What another task has executed is that task's, and holds no secret of the worker: see the next test.
    shown = {path: said for path, said in found.items() if said[1] not in ("PermissionError", "FileNotFoundError")}
    assert {
        path: said
        for path, said in shown.items()
        if any(word in said[0] for word in ("celeryd", "watchdog", "supervisor"))
    } == {}


def test_a_task_reads_nothing_of_another_task(probed: dict[str, Any]) -> None:
    """Its token, above all: it is in the memory of the task and of its supervisor."""
    found, own = probed["processes"]["found"], probed["processes"]["own"]
    others = {
        path: how
        for path, (command, how) in found.items()
        if command.startswith(("airflow worker --", "airflow supervisor", "airflow task supervisor"))
        and not path.startswith(f"/proc/{own}/")
    }
    assert others
    assert {path: how for path, how in others.items() if how not in ("PermissionError", "FileNotFoundError")} == {}


def test_a_task_inherits_no_secret_of_the_worker(probed: dict[str, Any], secrets: dict[str, str]) -> None:
    environment = json.dumps(probed["environment"])
    assert "AIRFLOW_HOME" in environment
    for name in WORKER_SECRETS:
        assert secrets[name] not in environment, name
    for name in ("BROKER_URL", "RESULT_BACKEND", "API__SECRET_KEY"):
        assert name not in environment


def test_a_task_reaches_the_results_and_not_the_metadata(cluster: Cluster, probed: dict[str, Any]) -> None:
    variables = cluster.variables[cluster.first("postgres")]
    main, results = str(variables["postgres_port"]), str(variables["postgres_results_port"])
    assert probed["network"] == {main: "TimeoutError", results: results}


def test_tasks_do_what_they_usually_do(probed: dict[str, Any]) -> None:
    assert probed["bash"] == "airflow-worker"
    assert probed["virtualenv"].strip() == "True"
    assert probed["usual_work"] == {"temporary": "/var/tmp", "in memory": False}


def test_a_task_has_children(probed: dict[str, Any]) -> None:
    ways = probed["children"]
    assert len(ways) == 11
    assert {way: result for way, result in ways.items() if result not in (0, [1, 2, 3])} == {}
