"""What the worker's watchdog does, with the short times that the inventory sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from airflow_client import AirflowClient, TaskInstance, wait_for
from cluster_inventory import Cluster
from testinfra.host import Host

pytestmark = pytest.mark.same_everywhere

LOGS = "/var/lib/airflow/logs"


@pytest.fixture
def worker_name(cluster: Cluster) -> str:
    """The worker that gets into trouble."""
    return cluster.workers[0]


@pytest.fixture
def machine(connect: Callable[[str], Host], worker_name: str) -> Host:
    """Root's view of it."""
    return connect(worker_name)


def main_pid(machine: Host) -> int:
    """Return the worker's main process; 0 for none."""
    return int(machine.check_output("systemctl show --property=MainPID --value airflow-worker"))


def answers(machine: Host, worker_name: str) -> bool:
    """Return whether the worker answers within 2 s."""
    ping = (
        "/usr/local/sbin/airflow-run worker-watchdog"
        f" airflow_celery_cluster.worker_ping celery@{worker_name} --timeout=2"
    )
    return bool(machine.run(ping).rc == 0)


def start_run(client: AirflowClient, tasks: int, seconds: float) -> str:
    """Trigger a run of `cluster_check` and return its id."""
    client.wait_for_dag("cluster_check", seconds=120)
    client.pause("cluster_check", False)
    return client.trigger("cluster_check", {"tasks": tasks, "seconds": seconds})


def host_tasks(client: AirflowClient, run_id: str) -> list[TaskInstance]:
    """Return the run's tasks that record their host."""
    return [task for task in client.tasks("cluster_check", run_id) if task.task_id == "record_host"]


def test_a_stopped_worker_is_restarted_and_loses_no_task(
    client: AirflowClient, cluster: Cluster, machine: Host, worker_name: str
) -> None:
    before = main_pid(machine)
    run_id = start_run(client, tasks=8, seconds=15)

    def running_here() -> list[TaskInstance]:
        tasks = host_tasks(client, run_id)
        return [task for task in tasks if task.state == "running" and cluster.host_of(task.hostname) == worker_name]

    here = wait_for(running_here, what=f"tasks on {worker_name}", seconds=60, interval=0.5)
    machine.check_output(f"kill -STOP {before}")
    assert not answers(machine, worker_name)
    wait_for(lambda: main_pid(machine) not in (0, before), what="another main process", seconds=90)
    wait_for(lambda: answers(machine, worker_name), what=f"an answer of {worker_name}", seconds=60)
    assert client.wait_for_run("cluster_check", run_id, seconds=120).state == "success"
    after = {task.map_index: task for task in host_tasks(client, run_id)}
    # What ran when the main process was stopped ended where it ran.
    assert [after[task.map_index].try_number for task in here] == [1] * len(here)
    assert "is catatonic" in machine.check_output("journalctl --unit=airflow-worker-watchdog --no-pager --output=cat")


@pytest.fixture
def small_log_disk(machine: Host) -> Iterator[Host]:
    """A file system of its own, of 100 MiB, for the logs of the worker."""
    machine.check_output(f"mount -t tmpfs -o size=100m,mode=0700,uid=airflow-worker,gid=airflow tmpfs {LOGS}")
    yield machine
    # Lazily: a task may be at home there.
    machine.check_output(f"umount --lazy {LOGS}")


def test_a_worker_with_a_full_disk_takes_no_task_until_there_is_room(
    client: AirflowClient, cluster: Cluster, small_log_disk: Host, worker_name: str
) -> None:
    def said(text: str, since: str) -> bool:
        journal = f"journalctl --unit=airflow-worker-watchdog --no-pager --output=cat --since=@{since}"
        return text in small_log_disk.check_output(journal)

    def hosts() -> set[str]:
        run_id = start_run(client, tasks=8, seconds=1)
        assert client.wait_for_run("cluster_check", run_id, seconds=120).state == "success"
        tasks = host_tasks(client, run_id)
        assert {task.try_number for task in tasks} == {1}
        return {cluster.host_of(task.hostname) for task in tasks}

    begun = small_log_disk.check_output("date +%s")
    small_log_disk.check_output(f"dd if=/dev/zero of={LOGS}/filler bs=1M 2>/dev/null || test -s {LOGS}/filler")
    wait_for(lambda: said("no longer consumes", begun), what="no queue", seconds=30, interval=0.5)
    assert hosts() == set(cluster.workers) - {worker_name}
    small_log_disk.check_output(f"rm {LOGS}/filler")
    wait_for(lambda: said("consumes again", begun), what="its queues again", seconds=30, interval=0.5)
    wait_for(lambda: worker_name in hosts(), what=f"a task on {worker_name}", seconds=60)
