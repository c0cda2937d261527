"""Run many tasks at the same time, and print the memory that each machine of the demo uses meanwhile.

``make demo``, then deploy again with ``.venv/bin/ansible-playbook site.yml -e airflow_worker_concurrency=50
-e airflow_host_memory_mb=4096``, then ``.venv/bin/python tools/size_benchmark.py --tasks 100``. The memory of a machine
is the sum of the proportional set sizes (PSS) of all its processes, in MiB.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

# The library of the tests
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/cluster"))

from cluster_inventory import PROJECT, Cluster

DAG = "failover_load"
# A process may end while its file is read.
MEMORY = "cat /proc/[0-9]*/smaps_rollup 2>/dev/null | awk '/^Pss:/ {kib += $2} END {print int(kib / 1024)}'"


def memory(cluster: Cluster) -> dict[str, int]:
    """Return the MiB that each machine uses."""
    return {host: int(lines[0]) for host, lines in cluster.command("all", "sh", "-c", MEMORY).items()}


def main() -> int:
    """Start the tasks, and follow them to their end; exit status 1 if a task needed a second try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100, help="tasks at the same time (default: 100)")
    parser.add_argument("--seconds", type=int, default=120, help="how long each task works (default: 120)")
    options = parser.parse_args()
    cluster = Cluster.read(PROJECT / "inventory/local")
    client = cluster.client()
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    before = memory(cluster)
    run = client.trigger(DAG, {"tasks": options.tasks, "seconds": options.seconds, "beat": 5})
    most, peak = 0, before
    while not client.run(DAG, run).finished:
        running = sum(task.state == "running" for task in client.tasks(DAG, run))
        most = max(most, running)
        if running == most:
            now = memory(cluster)
            peak = {host: max(peak[host], now[host]) for host in now}
        time.sleep(2)
    tasks = [task for task in client.tasks(DAG, run) if task.hostname]
    tries = Counter(task.try_number for task in tasks)
    print(f"{most} tasks at the same time, {client.run(DAG, run).state}; tries: {dict(tries)}")
    for host in sorted(peak):
        print(f"{host:10} {before[host]:6} MiB before, {peak[host]:6} MiB with the tasks")
    return 0 if set(tries) == {1} and most >= options.tasks else 1


if __name__ == "__main__":
    sys.exit(main())
