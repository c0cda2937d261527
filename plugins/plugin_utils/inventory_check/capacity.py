"""Rules for what load and memory allow: the time of a failover, and the parts of a host."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import memory, process_memory, topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import (
    HEARTBEATS_PER_API_PROCESS,
    START_SECONDS,
    Broken,
    Failover,
    broken,
    least_seconds,
    unrenewed_tokens,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding, show
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    Host,
    Inventory,
    is_true,
)

# Of role haproxy: what HAProxy takes at the port of the Execution API. tests/unit/test_memory.py compares it.
EXECUTION_API_CONNECTIONS = 3000
# Fewer: health checks, and the workers that start, connect to that port as well.
MOST_RUNNING_TASKS = 2900


def check_failover(inventory: Inventory) -> Iterator[Finding]:
    """The time of a failover can be kept: by the number itself, by the load that it makes, and by airflow_config."""
    names = ("airflow_failover_seconds", "airflow_failover_tuning", "airflow_default_task_retry_delay")
    sound = [host for host in inventory.cluster if inventory.sound(host, *names)]
    hosts = [host for host in sound if is_true(host.get("airflow_failover_tuning", True))]
    for host in sound:
        if host not in hosts:
            yield from config_findings(inventory, host, unrenewed_tokens)
    if not hosts:
        return
    seconds, delay = hosts[0].number("airflow_failover_seconds"), hosts[0].number("airflow_default_task_retry_delay")
    if seconds is None or delay is None:
        return
    failover = Failover(seconds, delay)
    tasks = sum(slots_of(inventory, host) for host in inventory.members(topology.WORKER_GROUP))
    servers = sum(
        host.number("airflow_execution_api_instances") or 1 for host in inventory.members("airflow_api_server")
    )
    capacity = servers * HEARTBEATS_PER_API_PROCESS
    where = "group airflow"
    if not failover.possible:
        least = least_seconds(delay)
        yield Finding(
            where,
            "airflow_failover_seconds",
            show(seconds),
            f"at least {least}: without {failover.detection_interval} (detection), {delay} (retry delay) and "
            f"{START_SECONDS} (start), {failover.heartbeat_timeout} s are left for heartbeats, fence and margin",
            f"set airflow_failover_seconds: {least}, or a shorter airflow_default_task_retry_delay",
        )
        return
    rate = failover.requests_per_second(tasks)
    if servers and rate > capacity:
        least = least_seconds(delay, tasks, capacity)
        more = f"set airflow_failover_seconds: {least}, or " if least else ""
        yield Finding(
            where,
            "airflow_failover_seconds",
            show(seconds),
            f"at most {capacity} heartbeats per second for {servers} Execution API processes; {tasks} slots, each with "
            f"one every {failover.heartbeat_interval} s, make {rate:.0f}",
            f"{more}raise airflow_execution_api_instances to {math.ceil(rate / HEARTBEATS_PER_API_PROCESS)} in all",
        )
    for host in hosts:
        yield from config_findings(inventory, host, partial(broken, failover))


def config_findings(
    inventory: Inventory, host: Host, rule: Callable[[Mapping[str, Any]], Iterator[Broken]]
) -> Iterator[Finding]:
    """Yield what a rule finds in the ``airflow_config`` of a host."""
    config = host.get("airflow_config", {})
    if inventory.sound(host, "airflow_config") and isinstance(config, Mapping):
        for problem in rule(config):
            yield Finding(
                f"host {host.name}",
                f"airflow_config.{problem.option}",
                show(problem.value),
                problem.arithmetic,
                problem.remedy,
            )


def check_connections(inventory: Inventory) -> Iterator[Finding]:
    """The connections that servers accept are enough for their clients."""
    workers = inventory.members(topology.WORKER_GROUP)
    tasks = sum(slots_of(inventory, host) for host in workers)
    if tasks > MOST_RUNNING_TASKS:
        yield Finding(
            "group airflow_worker",
            "airflow_worker_concurrency",
            f"{tasks} slots in all",
            f"at most {MOST_RUNNING_TASKS} slots: each holds a connection to the Execution API, of which HAProxy takes "
            f"{EXECUTION_API_CONNECTIONS}",
            "lower airflow_worker_concurrency, or deploy a second cluster",
        )
    clients = memory.client_connections(inventory.groups, partial(memory_value, inventory))
    for host in inventory.members("postgres"):
        given = "postgres_max_connections" in host.names and inventory.sound(host, "postgres_max_connections")
        most = host.number("postgres_max_connections") if given else None
        if most is not None and most < max(clients.values()):
            yield Finding(
                f"host {host.name}",
                "postgres_max_connections",
                show(most),
                f"at least {max(clients.values())}: the clients of the metadata database hold up to {clients['main']} "
                f"connections, those of the results up to {clients['results']}",
                "remove it: the cluster computes the number for each database",
            )


def memory_value(inventory: Inventory, name: str, variable: str) -> Any:
    """Return a variable of a host for the arithmetic of memory; a value that is refused counts as its default."""
    host = inventory.hosts[name]
    usable = variable in host.names and inventory.sound(host, variable)
    return host.get(variable, memory.DEFAULTS[variable]) if usable else memory.DEFAULTS[variable]


def check_memory(inventory: Inventory) -> Iterator[Finding]:
    """What the parts of a host get fits into its memory, where the inventory says how much that is.

    Elsewhere the machine is asked, by host_check.
    """

    value = partial(memory_value, inventory)
    for host in inventory.cluster:
        stated = int(value(host.name, "airflow_host_memory_mb"))
        if stated:
            for problem in process_memory.problems(host.name, stated, inventory.groups, value):
                yield Finding(f"host {host.name}", problem.variable, problem.value, problem.expected, problem.remedy)


def slots_of(inventory: Inventory, host: Host) -> int:
    """Return how many tasks a worker runs at the same time; 0 where its variables do not say."""
    if not inventory.sound(host, "airflow_worker_concurrency", "airflow_worker_autoscale"):
        return 0
    return memory.worker_slots(host.number("airflow_worker_concurrency") or 0, host.get("airflow_worker_autoscale", []))
