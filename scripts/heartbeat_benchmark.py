"""Measure how many heartbeats of running tasks the API servers of a cluster answer each second.

``make demo`` first; then ``.venv/bin/python scripts/heartbeat_benchmark.py``. One task runs, and many
connections send its heartbeat again and again, with its own token, through HAProxy as workers do. Everything
shares this machine's cores, so the real limit is above the result.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import json
import statistics
import sys
import threading
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_client import wait_for
from cluster_inventory import PROJECT, Cluster

DAG = "cluster_check"


def token(secret: str, task: str) -> str:
    """Return a token of the Execution API for one task instance, as the scheduler makes them."""

    def part(content: bytes) -> bytes:
        return urlsafe_b64encode(content).rstrip(b"=")

    now = int(time.time())
    claims = {"sub": task, "aud": "urn:airflow.apache.org:task", "iat": now, "nbf": now, "exp": now + 600, "jti": "0"}
    signed = part(json.dumps({"alg": "HS512", "typ": "JWT"}).encode()) + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(secret.encode(), signed, hashlib.sha512))).decode()


def beat(url: str, task: dict[str, Any], authorization: str, until: float, times: list[float]) -> None:
    """Send heartbeats over one connection until a moment; note how long each answer took."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port)
    body = json.dumps({"hostname": task["hostname"], "pid": task["pid"]})
    headers = {"Authorization": f"Bearer {authorization}", "Content-Type": "application/json"}
    while time.monotonic() < until:
        begun = time.monotonic()
        connection.request("PUT", f"/execution/task-instances/{task['id']}/heartbeat", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 204:
            raise RuntimeError(f"heartbeat: HTTP {answer.status}: {text[:300]!r}")
        times.append(time.monotonic() - begun)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--inventory", type=Path, default=PROJECT / "inventory/local")
    parser.add_argument("--connections", type=int, default=8, help="heartbeats on their way at once (default 8)")
    parser.add_argument("--seconds", type=float, default=20, help="time to measure (default 20)")
    arguments = parser.parse_args()
    cluster = Cluster.read(arguments.inventory)
    client = cluster.client()
    client.wait_for_dag(DAG, seconds=60)
    client.pause(DAG, False)
    run = client.trigger(DAG, {"tasks": 1, "seconds": arguments.seconds + 10})

    def running() -> dict[str, Any] | None:
        path = f"/dags/{DAG}/dagRuns/{run}/taskInstances"
        tasks = client.call("GET", path, task_id="record_host", state="running")["task_instances"]
        return next((task for task in tasks if task["task_id"] == "record_host" and task["pid"]), None)

    task = wait_for(running, what="one running task", seconds=60)
    authorization = token(cluster.password("airflow_jwt_secret"), task["id"])
    times: list[float] = []
    until = time.monotonic() + arguments.seconds
    threads = [
        threading.Thread(target=beat, args=(cluster.url, task, authorization, until, times))
        for _ in range(arguments.connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    slow = statistics.quantiles(times, n=20)[-1]
    print(
        f"{len(times) / arguments.seconds:.0f} heartbeats per second over {arguments.connections} connections; "
        f"answered in {statistics.median(times) * 1000:.0f} ms (median), {slow * 1000:.0f} ms (95th percentile)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
