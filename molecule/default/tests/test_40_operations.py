"""What a person does to a running cluster. The tests build on each other and run in this order."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from airflow_client import AirflowClient, ApiError, TaskInstance, wait_for
from cluster_inventory import Cluster
from conftest import (
    PROJECT,
    Play,
    playbook_command,
    playbook_environment,
    restarted,
)
from testinfra.host import Host

# They take minutes each, and nothing in them depends on the release of Debian.
pytestmark = pytest.mark.same_everywhere

Connect = Callable[[str], Host]
Starts = Callable[..., dict[str, str]]
RunClusterCheck = Callable[..., list[TaskInstance]]

# A task that reads its release when it begins and again when it is told to go on.
RELEASE_DAG = """
import time
from pathlib import Path

from airflow.sdk import dag, task
from release_marker import VERSION


@dag(schedule=None, catchup=False)
def release_check():
    @task
    def read_twice():
        folder = Path(__file__).parent
        deadline = time.monotonic() + 1200
        while not Path("/run/release-check-go").exists():
            if time.monotonic() > deadline:
                raise TimeoutError("nobody said go")
            time.sleep(0.2)
        from lazy_marker import VERSION as lazy

        return [VERSION, lazy, (folder / "marker.txt").read_text(), Path(__file__).parent.name]

    read_twice()


release_check()
"""


# Its first try says in on_kill that it had time and an Execution API; the next try returns that.
CLEAR_DAG = """
import time

from airflow.sdk import BaseOperator, Variable, dag


class Patient(BaseOperator):
    def execute(self, context):
        self.key = "clear_check " + context["run_id"]
        said = Variable.get(self.key, default=None)
        if said is None:
            self.log.info("the work begins")
            time.sleep(300)
        return said

    def on_kill(self):
        time.sleep(2)
        Variable.set(self.key, "on_kill had its time")


@dag(schedule=None, catchup=False)
def clear_check():
    Patient(task_id="wait")


clear_check()
"""


def write_release(folder: Path, version: str) -> None:
    """Write DAG files that all say the same version."""
    (folder / "release_check_dag.py").write_text(RELEASE_DAG)
    (folder / "clear_check_dag.py").write_text(CLEAR_DAG)
    for name in ("release_marker", "lazy_marker"):
        (folder / f"{name}.py").write_text(f"VERSION = {version!r}\n")
    (folder / "marker.txt").write_text(version)


def extra(**variables: object) -> tuple[str, str]:
    """Return the option that gives variables to ansible-playbook."""
    return "--extra-vars", json.dumps(variables)


def hide_nothing(output: str, secrets: dict[str, str]) -> set[str]:
    """Return the names of the secrets that stand in an output."""
    return {name for name, value in secrets.items() if value in output}


def test_check_mode_changes_nothing_and_shows_no_secret(play: Play, starts: Starts, secrets: dict[str, str]) -> None:
    before = starts()
    recap = play("--check", "--diff", "-vvv").must_succeed()
    assert recap.count("changed") == 0
    # Declared objects have passwords, too.
    assert hide_nothing(recap.output, secrets | {"airflow_connections and others": "declared-secret"}) == set()
    assert restarted(before, starts()) == set()


@pytest.mark.long
def test_a_diff_shows_no_value_of_a_free_form_variable(play: Play) -> None:
    marker = "marker-of-a-secret"
    config = {"secrets": {"backend_kwargs": {"token": marker}}}
    recap = play(
        *("--check", "--diff"),
        *extra(
            airflow_config=config,
            airflow_worker_environment={"TOKEN": marker},
            airflow_connections={"declared_uri": f"http://me:{marker}@service.example.org"},
            airflow_users={"one_more": {"email": "one@example.org", "roles": ["Viewer"], "password": marker}},
        ),
    ).must_succeed()
    for change in ("connection declared_uri: change password, port, extra", "user one_more: create"):
        assert change in recap.output
    assert recap.count("changed") > 0
    assert marker not in recap.output


# What a machine cannot be, and the word that the finding of it must have. All of them share
# a run, so the inventory check must accept each value.
UNFIT: dict[str, tuple[dict[str, object], str]] = {
    "memory": ({"preflight_min_worker_memory_mb": 99_999_999}, "preflight_min_worker_memory_mb"),
    "memory that is not there": ({"airflow_host_memory_mb": 99_999_999}, "airflow_host_memory_mb"),
    "disk": ({"preflight_min_disk_mb": 999_999_999}, "preflight_min_disk_mb"),
    "downgrade": ({"airflow_version": "3.3.1"}, "airflow_version"),
    "resolve": ({"airflow_database_host": "nowhere.invalid"}, "nowhere.invalid"),
    "Debian package": ({"airflow_runtime_packages": ["libmariadb33"]}, "libmariadb33"),
    "port": ({"log_store_port": 18793}, "log_store_port"),
    "directory of another application": ({"log_store_dir": "/var/lib/dpkg"}, "/var/lib/dpkg, with files of another"),
}


@pytest.fixture(scope="module")
def port_holder(cluster: Cluster, connect: Connect) -> Iterator[None]:
    """A stranger's program on the control node, at the port of UNFIT."""
    control = connect(cluster.first("airflow_api_server"))
    control.check_output("systemd-run --unit=port-holder --service-type=exec python3 -m http.server 18793")
    wait_for(lambda: control.socket("tcp://0.0.0.0:18793").is_listening, what="the stranger's program", seconds=30)
    yield
    control.check_output("systemctl stop port-holder")


@pytest.fixture(scope="module")
def refused(play: Play, starts: Starts, port_holder: None) -> str:
    """What a deployment to unfit machines says: all findings are told together. It must leave the machines alone."""
    before = starts()
    recap = play(*extra(**{name: value for change, _ in UNFIT.values() for name, value in change.items()}))
    assert recap.status != 0
    assert "The inventory is refused" not in recap.output, recap.output[-3000:]
    assert recap.count("changed") == 0, recap.output[-3000:]
    assert recap.count("failed") > 0
    assert "No machine was" in recap.output
    assert restarted(before, starts()) == set()
    return recap.output


@pytest.mark.parametrize("expected", [expected for _, expected in UNFIT.values()], ids=list(UNFIT))
def test_a_machine_that_is_not_fit_is_refused_and_left_alone(refused: str, expected: str) -> None:
    # A finding begins with its number.
    findings = [" ".join(text.split()) for text in re.split(r"\n\s+(?=\d+\. )", refused)]
    found = [text for text in findings if expected in text]
    assert found, refused[-3000:]
    for word in ("expected:", "fix:"):
        assert word in found[0]


@pytest.fixture(scope="module")
def release_dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dags")


@pytest.fixture
def go(cluster: Cluster, connect: Connect) -> Iterator[Callable[[], None]]:
    """Let the waiting task go on; forget that afterwards."""

    def tell() -> None:
        for worker in cluster.workers:
            connect(worker).check_output("touch /run/release-check-go")

    yield tell
    for worker in cluster.workers:
        connect(worker).check_output("rm -f /run/release-check-go")


@pytest.mark.long
def test_a_setting_restarts_what_reads_it_and_a_task_stays_with_its_release(
    cluster: Cluster,
    play: Play,
    starts: Starts,
    connect: Connect,
    client: AirflowClient,
    release_dags: Path,
    go: Callable[[], None],
    tmp_path: Path,
) -> None:
    write_release(release_dags, "one")
    dags: dict[str, object] = {"airflow_dags_dir": str(release_dags), "airflow_dags_keep_releases": 2}
    # Of one worker, one slot more; the scheduler counts the slots of all.
    slots = int(cluster.variables["worker1"]["airflow_worker_concurrency"]) + 1
    one_host = tmp_path / "one_host.yml"
    one_host.write_text(json.dumps({"all": {"hosts": {"worker1": {"airflow_worker_concurrency": slots}}}}))
    one_host_options = ("--inventory", str(one_host))
    before = starts()
    play(*one_host_options, *extra(**dags)).must_succeed()
    assert restarted(before, starts()) == {"control1:airflow-scheduler", "worker1:airflow-worker"}

    before = starts()
    config = cluster.variables["control1"]["airflow_config"] | {"triggerer": {"job_heartbeat_sec": 4}}
    play(*one_host_options, *extra(**dags, airflow_config=config)).must_succeed()
    assert restarted(before, starts()) == {"control1:airflow-triggerer"}

    client.wait_for_dag("release_check", seconds=120)
    client.pause("release_check", False)
    run_id = client.trigger("release_check")

    def running() -> bool:
        return any(task.state == "running" for task in client.tasks("release_check", run_id))

    wait_for(running, what="the task of release_check running", seconds=120)
    write_release(release_dags, "two")
    before = starts()
    play(*one_host_options, *extra(**dags)).must_succeed()
    assert restarted(before, starts()) == {"control1:airflow-triggerer"}
    # More releases than are kept, and the unfinished run keeps the first one on every host that may need it.
    for name in ("three", "four"):
        write_release(release_dags, name)
        play(*extra(**dags), book="playbooks/dags.yml").must_succeed()
    for host in (*cluster.workers, cluster.first("airflow_dag_processor")):
        assert len(connect(host).check_output("ls /opt/airflow/dags/releases").split()) == 3
    go()
    assert client.wait_for_run("release_check", run_id, seconds=120).state == "success"
    [task] = client.tasks("release_check", run_id)
    *versions, first_release = client.result("release_check", task)
    assert versions == ["one", "one", "one"]

    def result_of_a_new_run() -> list[str]:
        newer = client.trigger("release_check")
        assert client.wait_for_run("release_check", newer, seconds=120).state == "success"
        [newer_task] = client.tasks("release_check", newer)
        found: list[str] = client.result("release_check", newer_task)
        return found

    newest = wait_for(
        lambda: found if (found := result_of_a_new_run())[-1] != first_release else None,
        what="a DAG run of the newest release",
        seconds=120,
    )
    assert newest[:3] == ["four", "four", "four"]


@pytest.mark.long
def test_a_task_that_is_cleared_while_it_runs_has_time_to_end(client: AirflowClient) -> None:
    client.wait_for_dag("clear_check", seconds=120)
    client.pause("clear_check", False)
    run_id = client.trigger("clear_check")

    def begun() -> bool:
        [task] = client.tasks("clear_check", run_id)
        return task.state == "running" and "the work begins" in client.log("clear_check", task)

    wait_for(begun, what="the work of clear_check", seconds=120, transient=(ApiError,))
    client.clear("clear_check")
    assert client.wait_for_run("clear_check", run_id, seconds=120).state == "success"
    [task] = client.tasks("clear_check", run_id)
    assert client.result("clear_check", task) == "on_kill had its time"


@pytest.mark.long
def test_a_setting_that_breaks_the_first_of_a_pair_leaves_the_second_alone(
    cluster: Cluster, play: Play, starts: Starts, connect: Connect
) -> None:
    """An Execution API does not start with this setting. The scheduler, which reads it too, comes later in the run."""
    control = cluster.first("airflow_api_server")
    before = starts()
    # The preflight refuses the value, unless it looks away.
    unseen = {"airflow_config_extra_sections": ["api_auth"]}
    config = cluster.variables[control]["airflow_config"] | {"api_auth": {"jwt_leeway": "many"}}
    recap = play(*extra(airflow_config=config, **unseen))
    assert recap.status != 0
    assert "airflow-execution-api@8091 does not stay up" in recap.output
    assert "invalid literal for int()" in recap.output
    assert restarted(before, starts()) == {f"{control}:airflow-execution-api@8091"}
    # The files of the second are its own, so it serves also after a restart.
    host = connect(control)
    host.check_output("systemctl restart airflow-execution-api@8092")
    ask = "import urllib.request as r; r.urlopen('http://127.0.0.1:8092/execution/health', timeout=5)"
    wait_for(lambda: host.run("python3 -c %s", ask).rc == 0, what="the second Execution API healthy", seconds=120)
    play().must_succeed()


@pytest.mark.long
def test_a_changed_setting_leaves_each_queue_a_worker_and_shows_its_wait(
    cluster: Cluster, client: AirflowClient, play: Play, run_cluster_check: RunClusterCheck, tmp_path: Path
) -> None:
    client.wait_for_dag("cluster_check", seconds=120)
    client.pause("cluster_check", False)
    run_id = client.trigger("cluster_check", {"tasks": 3 * len(cluster.workers), "seconds": 90})

    def busy() -> bool:
        running = {task.hostname for task in client.tasks("cluster_check", run_id) if task.state == "running"}
        return len(running) == len(cluster.workers)

    wait_for(busy, what="tasks on every worker", seconds=120)
    log = tmp_path / "ansible.log"
    change = extra(airflow_worker_environment={"CHANGED_SETTING": "yes"})
    with log.open("w") as file:
        process = subprocess.Popen(
            playbook_command(cluster, *change, "--limit", "airflow_worker"),
            cwd=PROJECT,
            env=playbook_environment() | {"PYTHONUNBUFFERED": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        wait_for(lambda: "airflow-worker stops: " in log.read_text(), what="a worker that stops", seconds=180)
        run_cluster_check(tasks=2, seconds=1)
        stopping = set(
            re.findall(r"^(\S+): airflow-worker stops: \d+ tasks? runs?, .* s left$", log.read_text(), re.MULTILINE)
        )
        assert process.wait() == 0, log.read_text()[-6000:]
    assert len(stopping) == 1, log.read_text()[-6000:]
    assert client.wait_for_run("cluster_check", run_id, seconds=120).state == "success"
    play("--limit", "airflow_worker").must_succeed()


@pytest.fixture
def no_mirror(cluster: Cluster, connect: Connect) -> Iterator[None]:
    """Debian's mirrors are out of reach, and the lists of packages are old; afterwards as before."""
    setting = "/etc/apt/apt.conf.d/99-no-mirror"
    for name in cluster.groups["all"]:
        connect(name).check_output(
            f"""echo 'Acquire::http::Proxy "http://127.0.0.1:9"; Acquire::https::Proxy "http://127.0.0.1:9";' >{setting}
            find /var/lib/apt/lists -exec touch -d '2 days ago' {{}} +
            ! apt-get update -o APT::Update::Error-Mode=any"""
        )
    yield
    for name in cluster.groups["all"]:
        connect(name).check_output(f"rm {setting}")


@pytest.mark.long
def test_a_deployment_without_new_packages_needs_no_mirror(play: Play, no_mirror: None) -> None:
    assert play().must_succeed().count("changed") == 0


@pytest.mark.long
def test_a_run_that_was_broken_off_is_finished_by_the_next_one(
    cluster: Cluster, play: Play, starts: Starts, connect: Connect, tmp_path: Path
) -> None:
    change = extra(airflow_worker_queues=["default", "broken_off"])
    before = starts()
    log = tmp_path / "ansible.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            playbook_command(cluster, *change),
            cwd=PROJECT,
            env=playbook_environment() | {"PYTHONUNBUFFERED": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # The worst moment: the new unit file is written, the unit still runs with the old one.
    wait_for(
        lambda: "Process | Ensure the unit is running: worker" in log.read_text(),
        what="the run at the workers' units",
        seconds=300,
    )
    os.killpg(process.pid, signal.SIGINT)
    try:
        status = process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        # Ansible's own end may hang after a Ctrl-C; a person would close the terminal then.
        os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
    assert status != 0
    assert "TASK [airflow_celery.cluster.airflow_worker : Wait until" not in log.read_text()

    recap = play(*change).must_succeed()
    after = starts()
    # The scheduler, because the slot more of the test before is gone again; the watchdog guards the same queues.
    units = ("airflow-worker", "airflow-worker-watchdog")
    workers = {f"{worker}:{unit}" for worker in cluster.workers for unit in units}
    assert restarted(before, after) == workers | {"control1:airflow-scheduler"}
    for worker in cluster.workers:
        line = connect(worker).check_output("systemctl show --property=Environment --value airflow-worker")
        assert "AIRFLOW_WORKER_QUEUES=default,broken_off" in line.split()
    assert recap.count("failed") == 0
