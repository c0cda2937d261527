"""The way of a task through the cluster: who is told, and by which connection."""

from __future__ import annotations

import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow_client import TaskInstance, wait_for
from cluster_inventory import Cluster
from testinfra.host import Host

Connect = Callable[[str], Host]

DATABASES = (("airflow", 5432), ("celery_results", 5433))
HAPROXY_STATS = (
    "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock'); "
    "s.sendall(b'show stat\\n'); print(s.makefile().read())"
)


def psql(host: Host, database: str, port: int, *statements: str) -> str:
    """Return what psql prints, which includes notifications."""
    commands = " ".join(f'-c "{statement}"' for statement in statements)
    return str(host.check_output(f"LC_ALL=C runuser -u postgres -- psql -At -p {port} -d {database} {commands}"))


@pytest.mark.parametrize(("database", "port"), DATABASES)
def test_each_scheduler_listens_to_each_database(cluster: Cluster, connect: Connect, database: str, port: int) -> None:
    query = (
        "SELECT count(DISTINCT client_addr) FROM pg_stat_activity "
        f"WHERE datname = '{database}' AND pid IN (SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %' "
        "OR query = 'SELECT 1')"
    )
    host = connect(cluster.first("postgres"))
    wait_for(
        lambda: int(psql(host, database, port, query)) >= len(cluster.groups["airflow_scheduler"]),
        what=f"schedulers that listen to {database}",
        seconds=30,
    )


@pytest.mark.parametrize(("database", "port"), DATABASES)
def test_each_database_tells_of_the_end_of_a_task(
    cluster: Cluster,
    connect: Connect,
    run_cluster_check: Callable[..., list[TaskInstance]],
    database: str,
    port: int,
) -> None:
    host = connect(cluster.first("postgres"))
    with ThreadPoolExecutor() as threads:
        # psql prints the notifications that have arrived during a statement.
        heard = threads.submit(psql, host, database, port, "LISTEN airflow_scheduler", "SELECT pg_sleep(20)")
        run_cluster_check(tasks=2, seconds=5)
        assert 'Asynchronous notification "airflow_scheduler"' in heard.result()


def connections(host: Host) -> int:
    """Return how many connections the entrance of the Execution API has had."""
    table = str(host.check_output(f'python3 -c "{HAPROXY_STATS}"')).removeprefix("# ")
    [row] = [
        row
        for row in csv.DictReader(table.splitlines())
        if (row["pxname"], row["svname"]) == ("execution_api", "FRONTEND")
    ]
    return int(row["conn_tot"])


def sessions(host: Host) -> int:
    """Return how many sessions the results database has had."""
    query = "SELECT sessions FROM pg_stat_database WHERE datname = 'celery_results'"
    # From another database, because the query is a session, too.
    return int(psql(host, "postgres", 5433, query))


@pytest.mark.parametrize(("group", "count"), [("haproxy", connections), ("postgres", sessions)])
def test_schedulers_and_processes_of_the_pool_keep_their_connections(
    cluster: Cluster,
    connect: Connect,
    run_cluster_check: Callable[..., list[TaskInstance]],
    group: str,
    count: Callable[[Host], int],
) -> None:
    host = connect(cluster.first(group))
    slots = sum(int(cluster.variables[worker]["airflow_worker_concurrency"]) for worker in cluster.workers)
    # Each process of the pool has its connections then.
    run_cluster_check(tasks=2 * slots, seconds=1)
    before = count(host)
    tasks = 4 * slots
    run_cluster_check(tasks=tasks, seconds=0)
    # A connection that was idle for too long is made anew, and a worker is asked whether it reaches the Execution API.
    assert count(host) - before < tasks / 2
