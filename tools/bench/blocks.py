"""Tasks, idle clusters and heartbeats: our cluster and stock Airflow in turns, on the same machines.

A block is one side at work: start, a load that warms it up, its idle use, then each shape once. The sides take turns,
so that what changes on the host in the course of an hour meets all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

import heartbeat_benchmark
from airflow_client import AirflowClient
from cluster_inventory import Cluster
from faults.machines import Machines

from bench.cpu import CpuMeter
from bench.ours import Ours
from bench.progress import step, tell
from bench.results import Results
from bench.shapes import BY_NAME, SHAPES, run_shape
from bench.site import Site
from bench.stock import API_PORT, Stock

ROUNDS = 3
IDLE_SECONDS = 120
BASE_SECONDS = 60
HEARTBEAT_SECONDS = 20
CONNECTIONS = 8
CONCURRENCY = 4


@dataclass(frozen=True)
class Side:
    """One of the compared clusters.

    :param slots: of all its workers.
    :param full: whether it takes part in the comparisons beside the one of tasks.
    :param endpoint: host, port and TLS of one Execution API process, from the control node.
    :param key: what tokens of tasks are signed with.
    """

    name: str
    slots: int
    full: bool
    start: Callable[[], None]
    stop: Callable[[], None]
    client: Callable[[], AirflowClient]
    endpoint: tuple[str, int, bool]
    key: str


def make_sides(cluster: Cluster, ours: Ours, stock: Stock) -> list[Side]:
    """Return our cluster, stock Airflow with as many slots, and stock Airflow with its own number of slots."""
    workers = len(cluster.workers)
    direct = ("127.0.0.1", heartbeat_benchmark.FIRST_PORT, False)
    own = int(cluster.variables[cluster.workers[0]]["airflow_worker_concurrency"])
    if own != CONCURRENCY:
        raise RuntimeError(f"airflow_worker_concurrency is {own}; the comparison is one with {CONCURRENCY}")
    key = cluster.password("airflow_jwt_secret")
    sides = [Side("ours", own * workers, True, ours.start, ours.stop, ours.client, direct, key)]
    for concurrency in (own, 16):

        def start(concurrency: int = concurrency) -> None:
            stock.start(concurrency)

        sides.append(
            Side(
                f"stock{concurrency * workers}",
                concurrency * workers,
                concurrency == own,
                start,
                stock.stop,
                stock.client,
                ("127.0.0.1", API_PORT, False),
                stock.keys["jwt"],
            )
        )
    return sides


def warm_up(client: AirflowClient, cpu: CpuMeter, workers: int, slots: int) -> None:
    """Run small loads until every worker has run a task of one: caches are filled, and every worker is there."""
    shape = BY_NAME["quick"]
    with step("warm up"):
        for _ in range(10):
            _, runs = run_shape(client, shape, cpu.read, {}, tasks=4 * slots)
            hosts = {task.hostname for dag, run in runs.items() for task in client.tasks(dag, run)}
            if len(hosts) >= workers:
                return
    raise RuntimeError(f"of {workers} workers only {', '.join(sorted(hosts))} run tasks")


def heartbeats(side: Side, machines: Machines, control: str) -> dict[str, Any]:
    """Return how many heartbeats one Execution API process answers each second."""
    with step("heartbeats"):
        client = side.client()
        tasks = heartbeat_benchmark.start_tasks(client, side.slots, HEARTBEAT_SECONDS + 10)
        times = heartbeat_benchmark.measure(
            machines, control, side.endpoint, side.key, tasks, connections=CONNECTIONS, seconds=HEARTBEAT_SECONDS
        )
        client.wait_for_run(heartbeat_benchmark.DAG, tasks[0]["dag_run_id"], seconds=120)
        return {"per_second": len(times) / HEARTBEAT_SECONDS, "connections": CONNECTIONS}


def run_blocks(site: Site, parts: Collection[str], rounds: int, results: Results) -> None:
    """Measure the parts ``tasks``, ``idle`` and ``heartbeats``; the raw figures are recorded after each block."""
    cluster = site.cluster()
    machines = Machines(cluster)
    control = cluster.first("control_plane")
    ours, stock = Ours(cluster, machines), Stock(cluster, machines, site.dags)
    cpu = CpuMeter(machines, {"control": [control], "workers": cluster.workers})
    sides = make_sides(cluster, ours, stock)
    found: dict[str, dict[str, Any]] = {part: {} for part in parts}
    try:
        stock.set_up()
        ours.stop()
        for turn in range(rounds if "tasks" in parts else 1):
            for side in sides:
                if not side.full and "tasks" not in parts:
                    continue
                tell(f"round {turn + 1}: {side.name}, {side.slots} slots")
                side.start()
                block(side, cluster, machines, cpu, parts if turn == 0 else {"tasks"}, found)
                side.stop()
                for part in parts:
                    results.record(part, found[part])
    finally:
        try:
            stock.remove()
        finally:
            ours.start()


def block(
    side: Side,
    cluster: Cluster,
    machines: Machines,
    cpu: CpuMeter,
    parts: Collection[str],
    found: dict[str, dict[str, Any]],
) -> None:
    """Measure one side once."""
    client = side.client()
    warm_up(client, cpu, len(cluster.workers), side.slots)
    long = "idle" in parts and side.full
    seconds = IDLE_SECONDS if long else BASE_SECONDS
    idle: dict[str, float] = {}
    if long or "tasks" in parts:
        with step(f"idle for {seconds} s"):
            idle = cpu.rate(seconds)
    if long:
        found["idle"][side.name] = {"seconds": seconds, **idle}
    if "heartbeats" in parts and side.full:
        found["heartbeats"][side.name] = heartbeats(side, machines, cluster.first("control_plane"))
    if "tasks" not in parts:
        return
    figures = found["tasks"].setdefault(side.name, {"slots": side.slots, "idle": [], "shapes": {}})
    figures["idle"].append(idle)
    for shape in SHAPES:
        with step(shape.title):
            measured, _ = run_shape(client, shape, cpu.read, idle)
        figures["shapes"].setdefault(shape.name, []).append(asdict(measured))
        rate = measured.tasks / measured.seconds
        tell(f"{side.name}: {shape.title}: {measured.tasks} in {measured.seconds:.1f} s, {rate:.2f} tasks/s")
