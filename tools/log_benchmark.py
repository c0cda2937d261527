"""Measure what the log store costs, and how much of a log is lost with its machine.

``make demo`` first; then ``.venv/bin/python tools/log_benchmark.py``. All machines share the cores of this one.

- Lost at a cut: a worker loses its power ``--cuts`` times while its tasks write a line each 0.1 s, into the log and
  into a ledger on its disk. The time between the last line of the log in the UI, read while the worker is off, and the
  last line of the ledger.
- Time for each line: a process that writes lines as a supervisor does, with and without the sender, in turns.
- Lines per second: ``--lines`` lines that one process hands to the shipper of a worker, until the log store has all of
  them.
- Memory: the share of shipper and log store that no other process has (PSS), before and after these lines.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

# The library of the tests
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/cluster"))

from airflow_client import wait_for
from cluster_inventory import PROJECT, Cluster
from faults import ledger
from faults.harness import DAG, Scene, tasks_of
from faults.machines import Machines

SHIPPER, STORE = "airflow-log-shipper", "airflow-log-store"
TASKS = "/var/lib/airflow-log-store/tasks"
# A line of a task's log as structlog writes it, with 200 bytes of text.
LINE = '{"timestamp":"2026-01-01T00:00:00.000000Z","event":"%s","level":"info","logger":"task"}' % ("x" * 200)
# Writes lines with and without the sender, in turns; prints microseconds per line of each turn.
COST = """
import json, sys, tempfile, time
from airflow_celery_cluster.log_sender import Sender

lines, turns, text = json.load(sys.stdin)
data = text.encode() + b"\\n"
found = {"plain": [], "sent": []}
with tempfile.TemporaryDirectory() as directory:
    sender = Sender("/run/airflow-log-shipper/lines.sock", directory)
    for turn in range(turns):
        for kind in found:
            with open(f"{directory}/{kind}.{turn}.log", "ab", buffering=0) as file:
                begun = time.perf_counter()
                for number in range(lines):
                    if kind == "sent":
                        sender.note(file)
                    file.write(data)
                found[kind].append((time.perf_counter() - begun) / lines * 1e6)
                sender.finish(f"{kind}.{turn}.log", 60)
print(json.dumps(found))
"""
# Hands lines to the shipper; prints the seconds until it has taken them.
SEND = """
import json, socket, sys, time

path, count, text = json.load(sys.stdin)
line = f"task\\t{path}\\t{text}\\n".encode()
begun = time.monotonic()
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/run/airflow-log-shipper/lines.sock")
    for start in range(0, count, 1000):
        connection.sendall(line * min(1000, count - start))
print(time.monotonic() - begun)
"""


def lost_at_a_cut(cluster: Cluster, machines: Machines) -> list[float]:
    """Power a worker off; return the seconds that are missing at the end of the log of each of its tasks."""
    scene = Scene(cluster, machines, cluster.client())
    if problems := scene.wait_until_healthy():
        raise RuntimeError("; ".join(problems))
    scene.begin_load({"tasks": 8, "seconds": 20, "beat": 0.1})
    scene.injected = time.monotonic()
    machines.power_off(scene.worker)
    try:
        wait_for(scene.moved, what="the lost tasks run elsewhere", seconds=120)
        instances = {f"{task.task_id}[{task.map_index}]": task for task in tasks_of(scene, scene.run_id)}
        logs = {name: scene.client.log(DAG, replace(instances[name], try_number=1)) for name in scene.hit}
    finally:
        machines.power_on(scene.worker)
    scene.wait_for_run(scene.run_id, 300)
    return [
        one.last - max(ledger.signs_in_log(logs[one.task]), default=one.begin)
        for one in scene.executions()
        if one.host == scene.worker and not one.ended
    ]


def memory(machines: Machines, host: str, unit: str) -> float:
    """Return the memory of a unit's main process (PSS), in MiB."""
    script = f"grep ^Pss: /proc/$(systemctl show --property=MainPID --value {unit})/smaps_rollup"
    return int(machines.shell(host, script).split()[1]) / 1024


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inventory", action="append", type=Path, help="default: inventory/local")
    parser.add_argument("--cuts", type=int, default=5)
    parser.add_argument("--lines", type=int, default=200_000)
    arguments = parser.parse_args()
    cluster = Cluster.read(*(arguments.inventory or [PROJECT / "inventory/local"]))
    machines = Machines(cluster)
    worker, store = cluster.workers[0], cluster.groups["airflow_api_server"][0]
    cluster.client().pause(DAG, False)

    print("| figure | value |\n|---|---|")
    lost = sorted(value for _ in range(arguments.cuts) for value in lost_at_a_cut(cluster, machines))
    if lost:
        late = lost[min(len(lost) - 1, int(0.95 * len(lost)))]
        print(f"| lost at a cut, {len(lost)} tasks: median | {statistics.median(lost):.2f} s |")
        print(f"| lost at a cut: 95th percentile | {late:.2f} s |")

    as_worker = ("runuser", "--user=airflow-worker", "--group=airflow", "--")
    python = "/opt/airflow/current/bin/python"
    cost = json.loads(machines.told(worker, json.dumps([20_000, 7, LINE]), *as_worker, python, "-c", COST))
    plain, sent = (statistics.median(cost[kind]) for kind in ("plain", "sent"))
    print(f"| time of the writer for each line of {len(LINE)} bytes, with / without the sender | {sent / plain:.2f} |")
    print(f"| the same, difference | {sent - plain:.1f} µs |")

    before = memory(machines, worker, SHIPPER), memory(machines, store, STORE)
    path = f"dag_id=benchmark/run_id={uuid.uuid4().hex}/task_id=lines/attempt=1.log"
    stored = f"{TASKS}/{path}.{cluster.address(worker)}"
    begun = time.monotonic()
    taken = float(machines.told(worker, json.dumps([path, arguments.lines, LINE]), *as_worker, "python3", "-c", SEND))

    def complete() -> bool:
        return machines.run(store, "sh", "-c", f"wc -l <'{stored}'", check=False).strip() == str(arguments.lines)

    wait_for(complete, what=f"{arguments.lines} stored lines", seconds=600, interval=0.2)
    seconds = time.monotonic() - begun
    print(f"| lines per second that a shipper takes from one process | {arguments.lines / taken:,.0f} |")
    print(f"| lines per second from there into the log store | {arguments.lines / seconds:,.0f} |")
    after = memory(machines, worker, SHIPPER), memory(machines, store, STORE)
    print(f"| memory of the shipper, before / after | {before[0]:.0f} / {after[0]:.0f} MiB |")
    print(f"| memory of the log store, before / after | {before[1]:.0f} / {after[1]:.0f} MiB |")
    machines.run(store, "rm", stored)


if __name__ == "__main__":
    main()
