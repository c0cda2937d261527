"""Measure how many heartbeats of running tasks the Execution APIs of a cluster answer each second.

``make demo`` first; then ``.venv/bin/python tools/heartbeat_benchmark.py``. As many tasks run as the workers have
slots, and many connections send their heartbeats again and again, each with the token of its task: from a worker
through HAProxy, as workers do, or with ``--direct`` from the API server's host to one Execution API process. All
machines share the cores of this one, so the real limit is above the result. ``--rate`` sends a given number each
second. The CPU time of the units that take part is shown as well.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import statistics
import sys
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

# The library of the tests
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/cluster"))

from airflow_client import AirflowClient, wait_for
from cluster_inventory import PROJECT, Cluster
from faults.machines import Machines

DAG = "cluster_check"
# What heartbeats cost CPU time, in units of the control node: the beginning of their names.
UNITS = ("airflow-execution-api@", "postgresql@", "haproxy")
FIRST_PORT = 8091
# Run on a machine of the cluster: prints how long each heartbeat took, in seconds.
PROGRAM = """
import http.client, json, ssl, sys, threading, time

host, port, tls, requests, connections, seconds, rate = json.load(sys.stdin)
times, errors, start = [], [], time.monotonic()
until, interval = start + seconds, connections / rate if rate else 0

def beat(number):
    path, body, headers = requests[number % len(requests)]
    due = start + interval * number / connections
    if tls:
        context = ssl.create_default_context(cafile="/etc/airflow/tls/ca.pem")
        link = http.client.HTTPSConnection(host, port, context=context)
    else:
        link = http.client.HTTPConnection(host, port)
    while time.monotonic() < until and not errors:
        time.sleep(max(0, due - time.monotonic()))  # the time between two heartbeats
        due += interval
        begun = time.monotonic()
        link.request("PUT", path, body, headers)
        answer = link.getresponse()
        text = answer.read()
        if answer.status != 204:
            errors.append(f"heartbeat: HTTP {answer.status}: {text[:300]!r}")
        times.append(time.monotonic() - begun)

threads = [threading.Thread(target=beat, args=[number]) for number in range(connections)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if errors:
    sys.exit(errors[0])
print(json.dumps(times))
"""
# Run on a machine of the cluster: prints the CPU seconds of each unit's processes and of those that they have reaped.
# From /proc, since systemd counts CPU time only where it is delegated a CPU controller.
CPU = """
import collections, json, os, pathlib, re

used = collections.Counter()
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        unit = re.findall(r"/([^/\\n]+)[.]service", (process / "cgroup").read_text())
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # the process has ended
        continue
    if unit:
        used[unit[-1]] += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
print(json.dumps(used))
"""
# Prints the version of the Execution API that the client of the worker asks for. Not an import, which would write a
# configuration for the user root.
VERSION = r"""
cd /opt/airflow/current/lib/python3*/site-packages/airflow/sdk/api/datamodels
sed -n 's/^API_VERSION.* = "\(.*\)"$/\1/p' _generated.py
"""


def token(secret: str, task: str) -> str:
    """Return a token of the Execution API for one task instance, as the scheduler makes them."""

    def part(content: bytes) -> bytes:
        return urlsafe_b64encode(content).rstrip(b"=")

    now = int(time.time())
    kid = hashlib.sha256(f"kid:{secret}".encode()).hexdigest()[:16]
    claims = {"sub": task, "aud": "urn:airflow.apache.org:task", "iat": now, "nbf": now, "exp": now + 600, "jti": "0"}
    header = {"alg": "HS512", "typ": "JWT", "kid": kid}
    signed = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims | {"scope": "execution"}).encode())
    return (signed + b"." + part(hmac.digest(secret.encode(), signed, hashlib.sha512))).decode()


def start_tasks(client: AirflowClient, number: int, seconds: float) -> list[dict[str, Any]]:
    """Start tasks that run for some time; return them as soon as all of them run."""
    client.wait_for_dag(DAG, seconds=60)
    client.pause(DAG, False)
    run = client.trigger(DAG, {"tasks": number, "seconds": seconds})

    def running() -> list[dict[str, Any]] | None:
        path = f"/dags/{DAG}/dagRuns/{quote(run)}/taskInstances"
        tasks = client.call("GET", path, task_id="record_host", state="running")["task_instances"]
        found = [task for task in tasks if task["task_id"] == "record_host" and task["pid"]]
        return found if len(found) == number else None

    return wait_for(running, what=f"{number} running tasks", seconds=60)


def measure(
    machines: Machines,
    host: str,
    endpoint: tuple[str, int, bool],
    secret: str,
    tasks: list[dict[str, Any]],
    *,
    connections: int,
    seconds: float,
    rate: float = 0,
) -> list[float]:
    """Send heartbeats of running tasks from a machine; return how long each one took, in seconds.

    :param endpoint: host, port and whether there is TLS.
    :param secret: what the cluster signs tokens of tasks with.
    :param rate: heartbeats per second of all connections; 0 for as many as are answered.
    """
    # As the client of the worker sends it.
    version = machines.shell(host, VERSION).strip()
    requests = [
        (
            f"/execution/task-instances/{task['id']}/heartbeat",
            json.dumps({"hostname": task["hostname"], "pid": task["pid"]}),
            {
                "Authorization": f"Bearer {token(secret, task['id'])}",
                "Content-Type": "application/json",
                "Airflow-API-Version": version,
            },
        )
        for task in tasks
    ]
    wanted = json.dumps([*endpoint, requests, connections, seconds, rate])
    return list(json.loads(machines.told(host, wanted, "python3", "-c", PROGRAM)))


def cpu_seconds(machines: Machines, host: str) -> dict[str, float]:
    """Return the CPU seconds that each of ``UNITS`` has used; instances of a unit count together."""
    used = json.loads(machines.run(host, "python3", "-c", CPU))
    return {unit: sum(seconds for name, seconds in used.items() if name.startswith(unit)) for unit in UNITS}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--inventory", type=Path, default=PROJECT / "inventory/local")
    parser.add_argument(
        "--direct", action="store_true", help="send to one Execution API process, without HAProxy and TLS"
    )
    parser.add_argument("--connections", type=int, default=8, help="heartbeats under way at once (default 8)")
    parser.add_argument(
        "--rate", type=float, default=0, help="heartbeats per second (default: as many as are answered)"
    )
    parser.add_argument("--seconds", type=float, default=20, help="time to measure (default 20)")
    arguments = parser.parse_args()
    cluster = Cluster.read(arguments.inventory)
    slots = sum(int(cluster.variables[worker]["airflow_worker_concurrency"]) for worker in cluster.workers)
    tasks = start_tasks(cluster.client(), slots, arguments.seconds + 10)
    haproxy = cluster.first("haproxy")
    port = int(cluster.variables[haproxy]["haproxy_execution_api_port"])
    address = cluster.variables[haproxy]["airflow_address"] or cluster.address(haproxy)
    machines = Machines(cluster)
    before = cpu_seconds(machines, haproxy)
    times = measure(
        machines,
        cluster.first("airflow_api_server") if arguments.direct else cluster.workers[0],
        ("127.0.0.1", FIRST_PORT, False) if arguments.direct else (address, port, True),
        cluster.password("airflow_jwt_secret"),
        tasks,
        connections=arguments.connections,
        seconds=arguments.seconds,
        rate=arguments.rate,
    )
    used = {unit: seconds - before[unit] for unit, seconds in cpu_seconds(machines, haproxy).items()}
    slow = statistics.quantiles(times, n=20)[-1]
    print(
        f"{len(times) / arguments.seconds:.0f} heartbeats per second over {arguments.connections} connections, "
        f"{len(tasks)} running tasks; "
        f"answered in {statistics.median(times) * 1000:.0f} ms (median), {slow * 1000:.0f} ms (95th percentile)"
    )
    costs = (
        f"{unit.removesuffix('@')} {seconds / len(times) * 1000:.2f} ms ({seconds / arguments.seconds:.0%} of a core)"
        for unit, seconds in used.items()
    )
    print(f"CPU time for each heartbeat: {', '.join(costs)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
