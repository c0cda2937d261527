"""What the logins of a worker may do in the results database and on the broker, and what filling the results costs.

Every statement and command is sent from a worker, with the worker's own URLs, to the real services.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from cluster_inventory import Cluster
from faults.machines import Machines

PYTHON = "/opt/airflow/current/bin/python"
PERMISSION_DENIED = "42501"
DAG = "cluster_check"

READ_URLS = """
import json, re, sys

def url(name):
    text = open("/etc/airflow/secrets/worker.env").read()
    return re.search(rf'^AIRFLOW__CELERY__{name}="?(.*?)"?$', text, re.MULTILINE)[1]
"""
# Reads a list of statements, and prints for each of them the SQLSTATE: "" for success. Nothing is committed.
STATEMENTS = (
    READ_URLS
    + """
import psycopg2

connection = psycopg2.connect(url("RESULT_BACKEND").replace("db+postgresql+psycopg2", "postgresql"))
answers = {}
for statement in json.load(sys.stdin):
    try:
        connection.cursor().execute(statement)
        answers[statement] = ""
    except psycopg2.Error as error:
        answers[statement] = error.pgcode or str(error)
    connection.rollback()
print(json.dumps(answers))
"""
)
# Reads a list of commands, and prints what Redis answers to each of them: "" for success.
COMMANDS = (
    READ_URLS
    + """
import redis
from celery import Celery

client = Celery(broker=url("BROKER_URL")).connection_for_read().default_channel.client
answers = {}
for command in json.load(sys.stdin):
    try:
        client.execute_command(*command)
        answers[" ".join(command)] = ""
    except redis.RedisError as error:
        answers[" ".join(command)] = f"{type(error).__name__} {error}"
print(json.dumps(answers))
"""
)
# What Celery and kombu do themselves, with the classes that the workers use.
CELERY = (
    READ_URLS
    + """
from celery import Celery

app = Celery(broker=url("BROKER_URL"), backend=url("RESULT_BACKEND"))
app.conf.result_expires = 10 * 365 * 86400
backend = app.backend
backend.store_result("probe", "kept", "SUCCESS")
backend.store_result("probe", "kept twice", "SUCCESS")
assert backend.get_task_meta("probe")["result"] == "kept twice"
backend.save_group("probe", app.GroupResult("probe", []))
assert backend.restore_group("probe", cache=False) is not None
backend.delete_group("probe")
backend.forget("probe")
backend.cleanup()

with app.connection_for_write() as connection:
    channel = connection.default_channel
    queue = connection.SimpleQueue("probe", queue_opts={"expires": 60})
    queue.put({"a": 1}, priority=3)
    message = queue.get(timeout=10)
    message.requeue()
    message = queue.get(timeout=10)
    assert message.payload == {"a": 1}
    message.ack()
    queue.queue.delete()
    queue.close()
    channel.qos.restore_visible()
    with channel.client.lock("probe.lock", timeout=5):
        pass
print(json.dumps("done"))
"""
)
# Fills the table of results with large rows, and what is left of its pages with small ones. Prints each refusal.
FILL = (
    READ_URLS
    + """
import psycopg2

connection = psycopg2.connect(url("RESULT_BACKEND").replace("db+postgresql+psycopg2", "postgresql"))
connection.autocommit = True
refused = []
for part, rows, length in json.load(sys.stdin):
    try:
        for first in range(0, 10_000_000, rows):
            connection.cursor().execute(
                "INSERT INTO celery_taskmeta (id, task_id, traceback) SELECT nextval('task_id_sequence'), "
                "'fill-' || %s || '-' || n, repeat(md5(n::text), %s) FROM generate_series(%s, %s) AS n",
                (part, length, first, first + rows - 1),
            )
    except psycopg2.Error as error:
        refused.append(str(error))
print(json.dumps(refused))
"""
)

REFUSED_STATEMENTS = (
    # Tables and whatever else takes space
    "CREATE TABLE public.probe (i int)",
    "CREATE TEMPORARY TABLE probe (i int)",
    "CREATE SCHEMA probe",
    "CREATE SEQUENCE public.probe",
    "CREATE MATERIALIZED VIEW public.probe AS SELECT 1",
    "CREATE EXTENSION pg_trgm",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'a')",
    "SELECT pg_export_snapshot()",
    "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "SELECT pg_notify('a', 'b')",
    "SET temp_file_limit = -1",
    "COPY (SELECT 1) TO '/tmp/probe'",
    # The tables of the owner
    "TRUNCATE public.celery_taskmeta",
    "DROP TABLE public.celery_taskmeta",
    "ALTER TABLE public.celery_taskmeta ADD probe int",
    "CREATE INDEX ON public.celery_taskmeta (status)",
    "SELECT setval('public.task_id_sequence', 1)",
    # Code
    "CREATE FUNCTION public.probe() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DO $$ BEGIN PERFORM 1; END $$",
    "COPY public.celery_taskmeta TO PROGRAM 'true'",
    "SELECT query_to_xml('SELECT 1', true, true, '')",
    # Other sessions and roles
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_sleep(0)",
    "SET ROLE celery_owner",
    "SET SESSION AUTHORIZATION postgres",
    "CREATE ROLE probe",
    "ALTER ROLE CURRENT_USER CREATEDB",
    "ALTER DATABASE celery_results SET work_mem = '1GB'",
    # What others know
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_read_file('/etc/passwd')",
)
ACCEPTED_STATEMENTS = (
    "INSERT INTO celery_taskmeta (id, task_id) VALUES (nextval('task_id_sequence'), 'probe')",
    "SELECT id, task_id, status, result, date_done, traceback FROM celery_taskmeta WHERE task_id = 'probe'",
    "UPDATE celery_taskmeta SET status = 'SUCCESS' WHERE task_id = 'probe'",
    "DELETE FROM celery_taskmeta WHERE task_id = 'probe'",
    "INSERT INTO celery_tasksetmeta (id, taskset_id) VALUES (nextval('taskset_id_sequence'), 'probe')",
    "DELETE FROM celery_tasksetmeta WHERE taskset_id = 'probe'",
)
REFUSED_COMMANDS = (
    *("EVAL|return 1|0", "EVAL_RO|return 1|0", "FCALL|probe|0", "FUNCTION|LIST", "FUNCTION|FLUSH", "FUNCTION|STATS"),
    *("SCRIPT|FLUSH", "SCRIPT|KILL", "FLUSHALL", "FLUSHDB", "KEYS|*", "SCAN|0", "RANDOMKEY", "DBSIZE", "INFO"),
    *("CONFIG|GET|dir", "CONFIG|SET|maxmemory|1", "DEBUG|SLEEP|0", "SAVE", "BGSAVE", "BGREWRITEAOF", "LASTSAVE"),
    *("SHUTDOWN|ABORT", "REPLICAOF|NO|ONE", "MONITOR", "CLIENT|LIST", "CLIENT|KILL|ID|999999999", "CLIENT|PAUSE|1"),
    *("CLIENT|NO-EVICT|ON", "ACL|LIST", "ACL|WHOAMI", "MODULE|LIST", "SLOWLOG|GET", "MEMORY|STATS", "PUBSUB|CHANNELS"),
    *("SELECT|1", "SWAPDB|0|0", "MOVE|probe.a|1", "COPY|probe.a|probe.b", "SORT|probe.a", "RENAME|probe.a|probe.b"),
    *("DUMP|probe.a", "RESTORE|probe.a|0|x", "SETRANGE|probe.a|536870911|x", "SETBIT|probe.a|1|1", "APPEND|probe.a|x"),
    *("PERSIST|probe.a", "XADD|probe.a|*|a|b", "BLMOVE|probe.a|probe.b|LEFT|LEFT|1", "LTRIM|probe.a|0|0"),
)
ACCEPTED_COMMANDS = (
    *("PING", "LPUSH|probe.a|x", "LLEN|probe.a", "RPOP|probe.a", "HSET|probe.h|a|b", "HDEL|probe.h|a"),
    *("ZADD|probe.z|1|a", "ZRANGE|probe.z|0|-1", "ZREM|probe.z|a", "PUBLISH|/0.probe|x", "DEL|probe.a"),
    *("SCRIPT|EXISTS|0000000000000000000000000000000000000000",),
)


@pytest.fixture(scope="module")
def machines(cluster: Cluster) -> Machines:
    """The machines of the cluster."""
    return Machines(cluster)


def asked(machines: Machines, worker: str, program: str, question: object = None) -> Any:
    """Run a Python program of the runtime on a worker, and return its answer."""
    said = machines.told(worker, json.dumps(question), PYTHON, "-c", program)
    return json.loads(said.splitlines()[-1])


def commands(words: Sequence[str]) -> list[list[str]]:
    """Split commands at their bars."""
    return [command.split("|") for command in words]


def test_a_worker_is_refused_whatever_celery_does_not_need(cluster: Cluster, machines: Machines) -> None:
    answers = asked(machines, cluster.workers[0], STATEMENTS, REFUSED_STATEMENTS)
    assert {statement: code for statement, code in answers.items() if code != PERMISSION_DENIED} == {}


def test_a_worker_reads_and_writes_results(cluster: Cluster, machines: Machines) -> None:
    answers = asked(machines, cluster.workers[0], STATEMENTS, ACCEPTED_STATEMENTS)
    assert {statement: code for statement, code in answers.items() if code} == {}


def test_a_worker_is_refused_whatever_kombu_does_not_send(cluster: Cluster, machines: Machines) -> None:
    answers = asked(machines, cluster.workers[0], COMMANDS, commands(REFUSED_COMMANDS))
    assert {
        command: answer
        for command, answer in answers.items()
        # Redis looks at this one before it looks at the user.
        if not answer.startswith("NoPermissionError") and "DEBUG command not allowed" not in answer
    } == {}


def test_a_worker_sends_what_kombu_sends(cluster: Cluster, machines: Machines) -> None:
    answers = asked(machines, cluster.workers[0], COMMANDS, commands(ACCEPTED_COMMANDS))
    assert {command: answer for command, answer in answers.items() if answer} == {}


def test_celery_and_kombu_work_with_a_worker_s_logins(cluster: Cluster, machines: Machines) -> None:
    assert asked(machines, cluster.workers[0], CELERY) == "done"


def postgres_sql(cluster: Cluster, machines: Machines, statement: str) -> str:
    """Run a statement in the results database as the superuser."""
    host = cluster.first("postgres")
    port = str(cluster.variables[host]["postgres_results_port"])
    command = ("psql", "-At", "-v", "ON_ERROR_STOP=1", "-p", port, "-d", "celery_results")
    return machines.told(host, statement, "runuser", "-u", "postgres", "--", *command)


@contextmanager
def file_limit(cluster: Cluster, machines: Machines, size: int) -> Iterator[int]:
    """Lower the limit that the unit sets for the results cluster's files; yield the limit of the unit.

    The way to the limit of the unit is the same, and longer. Sessions that have begun before would keep the old limit.
    """
    host = cluster.first("postgres")
    unit = machines.unit_of(host, "postgresql@*-results.service")
    # As the user of the process: root of a container may lack the capability to change the limits of others.
    prlimit = ("runuser", "-u", "postgres", "--", "prlimit", f"--pid={machines.main_process(host, unit)}")
    limit = machines.run(host, *prlimit, "--fsize", "--output=SOFT", "--raw", "--noheadings").strip()
    machines.run(host, *prlimit, f"--fsize={size}:")
    end_sessions = (
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    postgres_sql(cluster, machines, end_sessions)
    try:
        yield int(limit)
    finally:
        machines.run(host, *prlimit, f"--fsize={limit}:")
        postgres_sql(cluster, machines, end_sessions)


def test_full_results_do_not_stop_the_metadata(cluster: Cluster, machines: Machines) -> None:
    """Celery refuses to begin a task whose state it cannot write. The metadata database, on the same disk, goes on."""
    worker, client = cluster.workers[0], cluster.client()
    client.wait_for_dag(DAG, seconds=120)
    # Larger than a segment of the WAL, which must not fail.
    with file_limit(cluster, machines, 24 << 20) as limit:
        assert 0 < limit < 1 << 30, "a table would go on in a second file"
        try:
            refused = asked(machines, worker, FILL, [("a", 500, 50), ("b", 500, 0)])
            # The room of rows whose insertion failed; autovacuum would give it back at a time of its own.
            postgres_sql(cluster, machines, "VACUUM celery_taskmeta")
            refused += asked(machines, worker, FILL, [("c", 1, 0)])
            assert ["could not extend file" in said and "File too large" in said for said in refused] == [True] * 3
            with pytest.raises(RuntimeError, match="could not extend file"):
                asked(machines, worker, CELERY)
            client.pause(DAG, True)
            run_id = client.trigger(DAG, {"tasks": 4, "seconds": 0})
        finally:
            postgres_sql(cluster, machines, "DELETE FROM celery_taskmeta WHERE task_id LIKE 'fill-%'")
            postgres_sql(cluster, machines, "VACUUM celery_taskmeta")
        assert asked(machines, worker, CELERY) == "done"
        client.pause(DAG, False)
        assert client.wait_for_run(DAG, run_id, seconds=120).state == "success"


def test_notifications_fill_no_disk(cluster: Cluster, machines: Machines) -> None:
    """NOTIFY needs no privilege; what waits for a listener is kept in a small file system of the unit."""
    host = cluster.first("postgres")
    process = machines.main_process(host, machines.unit_of(host, "postgresql@*-results.service"))
    mounts = [line.split() for line in machines.run(host, "cat", f"/proc/{process}/mounts").splitlines()]
    found = {path: (kind, options.split(",")) for _, path, kind, options, *_ in mounts if path.endswith("/pg_notify")}
    assert [(kind, "size=16384k" in options) for kind, options in found.values()] == [("tmpfs", True)]
