"""Flower, and everybody who reads what workers publish, sees no message; Flower's logins command nobody."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow_client import http, wait_for
from cluster_inventory import Cluster
from faults.machines import Machines

PROBE = Path(__file__).with_name("probe_published.py")
# How each JSON Web Token begins.
TOKEN = "eyJ0b2tlbiI6ImEgdGVzdCJ9.c2VjcmV0"
# The first two are in the message of each task.
CONTENT = ("eyJ", "dag_rel_path", "bundle_info", "log_path")
# What the broker must refuse to Flower's login.
REFUSED = """
publish /0.celery.pidbox x; publish /0.celery.pidbox/x x; publish /0.celeryev/x x; spublish x y; pubsub channels
subscribe /0.celery.pidbox; psubscribe /0.*; psubscribe /0.celery.pidbox; psubscribe /0.reply.*
lpush default x; rpush default x; lrange default 0 -1; rpop default; lpop default; brpop default 1; lindex default 0
lmove default x left left; rename default x; copy default x; dump default; sort default; type default
del default; unlink default; expire default 1; set x y; get x; xadd s * a b; object encoding default
hgetall unacked; hget unacked x; hset unacked x y; zrange unacked_index 0 -1; zadd unacked_index 0 x
smembers _kombu.binding.celeryev; sadd _kombu.binding.celeryev x; srem _kombu.binding.default x
zadd _kombu.binding_deadlines 0 default; eval 'return 1' 0; evalsha x 0; script load 'return 1'; script flush
function list; fcall x 0; config get dir; keys *; scan 0; info; acl whoami; dbsize; memory usage default; save
client kill id 1; client list; client pause 1; monitor; flushall; shutdown
"""
CLI = ("redis-cli", "--tls", "--cacert", "/etc/airflow/tls/ca.pem")


@pytest.fixture(scope="module")
def machines(cluster: Cluster) -> Machines:
    """The machines of the cluster."""
    return Machines(cluster)


def probe(machines: Machines, name: str, process: str, *arguments: str) -> Any:
    """Run the probe on a machine, with the environment of a process there; return what it printed."""
    script = f'set -a; . /etc/airflow/secrets/{process}.env; exec /opt/airflow/current/bin/python - "$@"'
    return json.loads(machines.told(name, PROBE.read_text(), "sh", "-euc", script, "sh", *arguments))


def secrets_in(cluster: Cluster, text: str) -> list[str]:
    """Return what a published text must not hold, and holds."""
    passwords = ("airflow_broker_password", "airflow_results_password", "flower_broker_password")
    found = [content for content in CONTENT if content in text]
    return found + [name for name in passwords if cluster.password(name) in text]


def flower(cluster: Cluster, path: str, method: str = "GET") -> tuple[int, str]:
    """Send a request to Flower, with its login."""
    return http(method, cluster.flower_url + path, login=cluster.flower_login, ca_file=cluster.ca_file)


def test_a_message_that_waits_or_fails_is_not_published(cluster: Cluster, machines: Machines) -> None:
    host = cluster.workers[0]
    seen = probe(machines, host, "worker", "waiting", f"celery@{host}", TOKEN)
    assert {"task-received", "task-started", "task-failed"} <= {event["type"] for event in seen["events"]}
    assert all(seen["answers"][question] for question in ("reserved", "scheduled", "query_task", "conf", "stats"))
    assert secrets_in(cluster, json.dumps(seen)) == []
    # The kind of an exception is no content.
    failed = [event for event in seen["events"] if event["type"] == "task-failed"]
    assert {event["exception"] for event in failed} == {"ValidationError"}
    text = flower(cluster, "/api/tasks?state=FAILURE")[1]
    assert "ValidationError" in text
    assert secrets_in(cluster, text) == []


def test_flower_shows_tasks_and_no_message(cluster: Cluster, machines: Machines) -> None:
    client, host, number = cluster.client(), cluster.workers[0], 4
    client.wait_for_dag("cluster_check", seconds=120)
    client.pause("cluster_check", False)
    with ThreadPoolExecutor(1) as pool:
        # Besides the tasks that work there is one that counts them.
        listening = f"/run/listening-{time.time_ns()}"
        count = str(number + 1)
        publishing = pool.submit(probe, machines, host, "worker", "running", f"celery@{host}", count, listening)
        ready = f"if test -e {listening}; then echo yes; fi"
        wait_for(lambda: publishing.done() or machines.shell(host, ready).strip(), what="the probe", seconds=90)
        run_id = client.trigger("cluster_check", {"tasks": number, "seconds": 10})
        running = wait_for(
            lambda: (
                found if len(found := json.loads(flower(cluster, "/api/tasks?state=STARTED")[1])) >= number else None
            ),
            what="running tasks in Flower",
            seconds=60,
        )
        assert {task["worker"].removeprefix("celery@") for task in running.values()} <= set(cluster.workers)
        one = next(iter(running))
        datatable = (
            "/tasks/datatable?draw=1&start=0&length=10000&order[0][column]=0&columns[0][data]=name&order[0][dir]=asc"
        )
        pages = {
            "/": "celery@",
            "/workers?json=1": "celery@",
            "/api/workers": "celery@",
            f"/worker/celery@{host}": host,
        }
        pages |= {
            f"/task/{one}": one,
            f"/api/task/info/{one}": one,
            "/api/tasks": one,
            datatable: one,
            "/tasks": "Tasks",
        }
        for path, wanted in pages.items():
            status, text = flower(cluster, path)
            assert (status, wanted in text) == (200, True), path
            assert secrets_in(cluster, text) == [], path
    seen = publishing.result()
    assert seen["answers"]["active"]
    assert {"task-received", "task-started", "task-succeeded"} <= {event["type"] for event in seen["events"]}
    assert secrets_in(cluster, json.dumps(seen)) == []
    assert client.wait_for_run("cluster_check", run_id, seconds=120).state == "success"
    wait_for(
        lambda: running.keys() <= json.loads(flower(cluster, "/api/tasks?state=SUCCESS&limit=1000")[1]).keys(),
        what="the end of the tasks in Flower",
        seconds=30,
    )


def test_the_tasks_page_gets_its_rows(cluster: Cluster) -> None:
    """The page in a browser asks with POST."""
    query = "?draw=1&start=0&length=10&order[0][column]=0&columns[0][data]=name&order[0][dir]=asc"
    status, text = flower(cluster, f"/tasks/datatable{query}", "POST")
    assert (status, json.loads(text)["draw"]) == (200, 1)


def test_messages_are_hidden_without_the_failover_tuning(cluster: Cluster, machines: Machines) -> None:
    """Without the tuning, airflow.cfg has no leases; then the worker has no fence, and hides messages all the same."""
    program = (
        "from airflow_celery_cluster import celery_config\n"
        "from celery.app.task import Task\n"
        "from celery.signals import task_prerun\n"
        "print(Task.Request.__name__, celery_config.CONFIG['worker_send_task_events'], bool(task_prerun.receivers))\n"
    )
    script = """
        folder=$(mktemp -d); trap 'rm -r "$folder"' EXIT
        grep -v '^{left_out}' /etc/airflow/worker/airflow.cfg > "$folder/airflow.cfg"
        set -a; . /etc/airflow/secrets/worker.env
        AIRFLOW_HOME=$folder AIRFLOW_CONFIG=$folder/airflow.cfg /opt/airflow/current/bin/python - | tail -n 1
    """
    for left_out, fenced in (("terminate_after", False), ("no such line", True)):
        told = machines.told(cluster.workers[0], program, "sh", "-euc", script.format(left_out=left_out))
        assert told.split() == ["PrivateRequest", "True", str(fenced)]


def test_flower_counts_messages(cluster: Cluster) -> None:
    queues = {
        queue["name"]: queue["messages"]
        for queue in json.loads(flower(cluster, "/api/queues/length")[1])["active_queues"]
    }
    assert queues["default"] >= 0
    page = flower(cluster, "/broker")[1]
    assert all(name in page for name in queues)


@pytest.mark.parametrize(
    "path",
    [
        "/api/worker/shutdown/celery@{worker}",
        "/api/worker/pool/shrink/celery@{worker}?n=0",
        "/api/worker/queue/cancel-consumer/celery@{worker}?queue=no_such_queue",
        "/api/task/revoke/no-such-task",
        "/api/task/rate-limit/execute_workload?workername=celery@{worker}",
        "/api/task/send-task/no_such_task",
    ],
)
def test_flower_refuses_commands(cluster: Cluster, path: str) -> None:
    assert flower(cluster, path.format(worker="no-such-worker"), "POST")[0] in (403, 405)


def test_the_broker_login_of_flower_commands_no_worker(cluster: Cluster, machines: Machines) -> None:
    worker = f"celery@{cluster.workers[0]}"
    answers = probe(machines, cluster.workers[0], "worker", "command", worker)
    assert all(isinstance(answer, list) and answer for answer in answers.values()), answers
    refusals = probe(machines, cluster.first("flower"), "flower", "command", worker)
    assert refusals.keys() == answers.keys()
    assert all("Permission" in str(refusal) or refusal == "OperationalError" for refusal in refusals.values()), refusals


def test_the_broker_login_of_flower_can_only_watch(cluster: Cluster, machines: Machines) -> None:
    login = f"AUTH flower {cluster.password('flower_broker_password')}\n"

    def ask(command: str) -> str:
        return machines.told(cluster.first("redis"), login + command + "\n", *CLI).splitlines()[1]

    for command in filter(None, re.split(r"[;\n]\s*", REFUSED)):
        assert "NOPERM" in ask(command), command
    assert re.fullmatch(r"\d+", ask("llen default"))
    assert ask("ping") == "PONG"
