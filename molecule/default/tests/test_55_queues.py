"""Messages of tasks that no worker takes, and a broker that takes no messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from airflow_client import AirflowClient, TaskInstance, wait_for
from cluster_inventory import Cluster
from testinfra.host import Host

pytestmark = [pytest.mark.same_everywhere, pytest.mark.long]

DAG = "cluster_check"
TASKS = 6
# Seconds after which the scheduler queues a waiting task anew, and in which it removes the old message.
REQUEUE, REMOVE = 60, 30
LOGIN = (
    "REDISCLI_AUTH=$(sed -n 's|.*rediss://airflow:\\([^@]*\\)@.*|\\1|p' /etc/airflow/secrets/scheduler.env) "
    "redis-cli --no-auth-warning --user airflow --tls --cacert /etc/airflow/tls/ca.pem -h 127.0.0.1"
)
Redis = Callable[[str], str]
# Fills Redis, and keeps it full until FULL is removed. Over one connection: Redis frees the buffers of a closed one.
FULL = "/run/airflow-test-full"
FILL = """
touch {full}
setsid sh -c '
    {{
        large=$(head --bytes=60000 /dev/zero | tr "\\0" x)
        small=$(head --bytes=1000 /dev/zero | tr "\\0" x)
        for number in $(seq {number}); do echo "lpush filler $large"; done
        while [ -e {full} ]; do echo "lpush filler $small"; echo "lpush filler x"; sleep 0.02; done
    }} | {login} >{full}.log 2>&1
' >/dev/null 2>&1 </dev/null &
"""


@pytest.fixture(scope="module")
def broker(cluster: Cluster, connect: Callable[[str], Host]) -> Host:
    """Root's view of the host of Redis, which is that of the scheduler, too."""
    return connect(cluster.first("redis"))


@pytest.fixture(scope="module")
def redis(broker: Host) -> Redis:
    """Return what Redis answers to a command of the user that scheduler and workers have."""
    return lambda command: str(broker.check_output(f"{LOGIN} {command}"))


@pytest.fixture
def start_workers(cluster: Cluster, connect: Callable[[str], Host]) -> Iterator[Callable[[], None]]:
    """No worker takes tasks until the function is called, or the test is over."""
    hosts = [connect(worker) for worker in cluster.workers]

    def start() -> None:
        for host in hosts:
            host.check_output("systemctl start airflow-worker airflow-worker-watchdog")

    for host in hosts:
        host.check_output("systemctl stop airflow-worker-watchdog airflow-worker")
    yield start
    start()


def trigger(client: AirflowClient) -> str:
    """Start a run whose first task is followed by two others."""
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    return client.trigger(DAG, {"tasks": 2, "seconds": 0})


def queued(client: AirflowClient, runs: list[str]) -> list[TaskInstance]:
    """Return the queued tasks of runs."""
    return [task for run_id in runs for task in client.tasks(DAG, run_id) if task.state == "queued"]


def test_messages_are_bounded_by_the_queued_tasks(
    cluster: Cluster,
    connect: Callable[[str], Host],
    client: AirflowClient,
    redis: Redis,
    start_workers: Callable[[], None],
) -> None:
    runs = [trigger(client) for _ in range(TASKS)]

    def messages() -> set[str]:
        return set(redis("lrange default 0 -1").splitlines())

    wait_for(lambda: len(queued(client, runs)) == len(messages()) == TASKS, what="all tasks queued", seconds=90)
    first = messages()
    # Each task is queued anew with another message, and the old one goes.
    wait_for(
        lambda: not first & messages() and len(messages()) == TASKS,
        what="new messages instead of the old ones",
        seconds=REQUEUE + 2 * REMOVE,
    )
    # The messages of a run that is ended and deleted are removed.
    client.call("PATCH", f"/dags/{DAG}/dagRuns/{runs[0]}", {"state": "failed"})
    client.call("DELETE", f"/dags/{DAG}/dagRuns/{runs[0]}")
    wait_for(lambda: len(messages()) == TASKS - 1, what="the message of the deleted task removed", seconds=2 * REMOVE)

    begun = connect(cluster.workers[0]).check_output("date +%s")
    start_workers()
    for run_id in runs[1:]:
        assert client.wait_for_run(DAG, run_id, seconds=180).state == "success"
        assert {task.try_number for task in client.tasks(DAG, run_id)} == {1}
    # No worker has started a process for a message that was worth nothing.
    for worker in cluster.workers:
        journal = connect(worker).check_output(f"journalctl --unit=airflow-worker --since=@{begun} --no-pager")
        assert not re.search("403 Forbidden|Invalid auth token", journal)
    wait_for(lambda: redis("exists unacked") == "0", what="no message that was not acknowledged", seconds=120)


def test_a_full_broker_fails_no_task_and_needs_no_hand(client: AirflowClient, redis: Redis, broker: Host) -> None:
    maxmemory = int(broker.check_output("sed -n 's/^maxmemory \\([0-9]*\\)mb$/\\1/p' /etc/redis/redis.conf"))
    program = FILL.format(full=FULL, number=20 * maxmemory, login=LOGIN.replace("'", "'\\''"))
    broker.check_output(program)
    try:
        wait_for(
            lambda: set(broker.check_output(f"tail -n 40 {FULL}.log | cut -c1-3").split()) == {"OOM"},
            what="a broker that takes no message",
            seconds=60,
        )
        begun = broker.check_output("date +%s")
        run_id = trigger(client)
        wait_for(
            lambda: (
                broker.run(
                    f"journalctl --unit=airflow-scheduler --since=@{begun} --no-pager --grep='takes no messages'"
                ).succeeded
            ),
            what="the scheduler's line that the broker takes no messages",
            seconds=60,
        )
        assert {task.state for task in client.tasks(DAG, run_id)} <= {"queued", "scheduled", None}
    finally:
        broker.check_output(f"rm -f {FULL} {FULL}.log")
        wait_for(lambda: redis("del filler") == "0", what="a broker without the filler", seconds=10)
    assert client.wait_for_run(DAG, run_id, seconds=240).state == "success"
    assert {task.try_number for task in client.tasks(DAG, run_id)} == {1}
