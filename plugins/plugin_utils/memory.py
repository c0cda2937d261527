"""How the memory of a host is divided among the parts of the cluster that run on it.

Each part gets a limit of its own, so that one cannot starve another. First each gets the least that it works with, then
the rest is divided by weight; with what is kept for the system, the limits add up to no more than the memory.
docs/memory.md has the arithmetic in words. All sizes are in MiB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.role_defaults import role_defaults

# What MemTotal loses or gains with a kernel must not restart a database: it counts in steps of 1/32 to 1/16 of itself.
STEPS = 16

# Kernel, systemd, SSH, journal, HAProxy, log shipper, log store, and whoever logs in.
LEAST_SYSTEM = 160
MOST_SYSTEM = 4096
# A PostgreSQL without clients: its shared buffers at their least, its background processes, some page cache.
LEAST_POSTGRES: Mapping[str, int] = {"main": 64, "results": 32}
# For each connection that there may be. A backend has 2 to 4 MiB of its own [measured]; pools keep a third of theirs
# open, the processes of a worker's pool keep every one.
POSTGRES_CONNECTION: Mapping[str, int] = {"main": 1, "results": 2}
LEAST_REDIS = 64
# What the processes of Airflow 3.3.2 have under load [measured: 227, 197, 225, 164, 193, 45], and a twentieth.
API_SERVER = 240
EXECUTION_API = 205
AIRFLOW_PROCESS: Mapping[str, int] = {
    "airflow_scheduler": 240,
    "airflow_dag_processor": 180,
    "airflow_triggerer": 200,
    "flower": 50,
}
# A worker that shares its host with the control plane; each slot may be a task. Memory of its own, without that of its
# parent, has a slot's process 47 after its first task, and a task that does nothing 23 [measured].
WORKER = 300
WORKER_SLOT = 70
# A worker alone on its host when no task runs
IDLE_SLOT = 50
# What such a worker gets of the memory: the default of airflow_worker_memory_max
WORKER_SHARE = 90

WEIGHTS: Mapping[str, int] = {"postgres": 4, "redis": 1, "airflow": 3, "worker": 8}

# Connections that no process of the cluster holds: migrations, backups, people.
SPARE_CONNECTIONS: Mapping[str, int] = {"main": 25, "results": 10}
CONNECTION_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
MOST_CONNECTIONS = 262_143


@dataclass(frozen=True)
class Load:
    """What runs on a host and how many clients it has.

    :param groups: the host's inventory groups.
    :param api_server_processes: API server processes of this host.
    :param execution_api_processes: Execution API processes of this host.
    :param api_server_workers: API server processes of each unit.
    :param slots: task slots of the worker on this host.
    :param connections: connections that the clients of each PostgreSQL cluster hold at most.
    """

    groups: frozenset[str] = frozenset()
    api_server_processes: int = 1
    execution_api_processes: int = 2
    api_server_workers: int = 1
    slots: int = 0
    connections: Mapping[str, int] = field(default_factory=lambda: {"main": 150, "results": 50})

    @property
    def has_control(self) -> bool:
        """Whether an Airflow process other than a worker runs here."""
        return bool(self.groups & {*AIRFLOW_PROCESS, "airflow_api_server"})

    def least(self) -> dict[str, int]:
        """Return the least that each part on this host works with."""
        found = {}
        if "postgres" in self.groups:
            found["postgres"] = sum(postgres_least(name, count) for name, count in self.connections.items())
        if "redis" in self.groups:
            found["redis"] = LEAST_REDIS
        if self.has_control:
            found["airflow"] = sum(need for group, need in AIRFLOW_PROCESS.items() if group in self.groups)
            if "airflow_api_server" in self.groups:
                found["airflow"] += (
                    API_SERVER * self.api_server_processes + EXECUTION_API * self.execution_api_processes
                )
        # A worker alone on its host has its own limit, a share of the whole.
        if "airflow_worker" in self.groups and found:
            found["worker"] = WORKER + WORKER_SLOT * self.slots
        return found


@dataclass(frozen=True)
class Plan:
    """The limits of the parts of one host.

    :param total: memory of the host.
    :param system: what no part gets.
    :param parts: limit of each part that runs here: ``postgres``, ``redis``, ``airflow``, ``worker``.
    :param needed: the least memory of a host with which all of them work, explicit limits included.
    """

    total: int
    system: int
    parts: Mapping[str, int]
    needed: int

    @property
    def fits(self) -> bool:
        """Whether every part has what it needs."""
        return self.needed <= steady(self.total)


def postgres_least(cluster: str, connections: int) -> int:
    """Return the least that a PostgreSQL cluster with so many connections works with."""
    return LEAST_POSTGRES[cluster] + POSTGRES_CONNECTION[cluster] * connections


def steady(total: int) -> int:
    """Return a size rounded down to a step that small differences seldom cross."""
    step = max(1, (1 << (max(total, 1).bit_length() - 1)) // STEPS)
    return total // step * step


def plan(total: int, load: Load, explicit: Mapping[str, int] | None = None) -> Plan:
    """Divide a host's memory.

    :param total: memory of the host, at least 1.
    :param explicit: limits that a person has set, by part; 0 for none.
    """
    usable = steady(total)
    least = load.least()
    fixed = {part: size for part, size in (explicit or {}).items() if size and part in least}
    free = {part: size for part, size in least.items() if part not in fixed}
    needed = LEAST_SYSTEM + sum(fixed.values()) + sum(free.values())
    # The least of each part takes precedence over the share of the system, down to LEAST_SYSTEM.
    spare = max(LEAST_SYSTEM, usable - sum(fixed.values()) - sum(free.values()))
    system = min(MOST_SYSTEM, max(LEAST_SYSTEM, usable // 16), spare, usable // 4)
    left = max(0, usable - system - sum(fixed.values()))
    if sum(free.values()) > left:
        # Too little for all: each as much less as the others. The preflight refuses this.
        parts = {part: left * size // sum(free.values()) for part, size in free.items()}
    else:
        rest, weights = left - sum(free.values()), sum(WEIGHTS[part] for part in free)
        parts = {part: size + rest * WEIGHTS[part] // weights for part, size in free.items()}
    return Plan(total, system, {**fixed, **parts}, needed)


def step_up(count: float) -> int:
    """Return the next number of a scale in which each is up to twice the one before."""
    power = 10
    while True:
        for step in CONNECTION_STEPS:
            if step * power >= count:
                return min(int(step * power), MOST_CONNECTIONS)
        power *= 10


# Variables of roles that the arithmetic reads, and what they are for a host that does not set them.
DEFAULTS: Mapping[str, Any] = {
    **{
        name: role_defaults(role)[name]
        for role, name in (
            ("airflow", "airflow_config"),
            ("airflow_api_server", "airflow_api_server_instances"),
            ("airflow_api_server", "airflow_api_server_workers"),
            ("airflow_execution_api", "airflow_execution_api_instances"),
            ("airflow_triggerer", "airflow_triggerer_capacity"),
            ("airflow_worker", "airflow_worker_autoscale"),
            ("airflow_worker", "airflow_worker_concurrency"),
            ("postgres", "postgres_settings"),
        )
    },
    # The defaults of these are facts of the machine or the result of the arithmetic.
    "airflow_host_control_memory_mb": 0,
    "airflow_host_memory_mb": 0,
    "airflow_worker_memory_max": "",
    "postgres_memory_mb": 0,
    "redis_memory_mb": 0,
}
EXPLICIT: Mapping[str, str] = {
    "postgres": "postgres_memory_mb",
    "redis": "redis_memory_mb",
    "airflow": "airflow_host_control_memory_mb",
    "worker": "airflow_worker_memory_max",
}
# Airflow's own: the size of each process's pool of database connections.
POOL = {"sql_alchemy_pool_size": 5, "sql_alchemy_max_overflow": 10}
# Role airflow_execution_api sets this: a heartbeat has its connection for some milliseconds.
EXECUTION_API_POOL = {"sql_alchemy_pool_size": 5, "sql_alchemy_max_overflow": 5}
# A process that serves an API has a second pool, for what it does asynchronously.
POOLS: Mapping[str, int] = {
    "airflow_api_server": 2,
    "airflow_scheduler": 1,
    "airflow_dag_processor": 1,
    "airflow_triggerer": 1,
}

Groups = Mapping[str, Sequence[str]]
# Host and variable to value; DEFAULTS says what it is for a variable that is not set.
Value = Callable[[str, str], Any]


def whole(value: Any, default: int) -> int:
    """Return a value as a whole number from 0, or the default for what is none."""
    return int(str(value)) if re.fullmatch(r"\d+", str(value)) else default


def api_processes(host: str, value: Value) -> tuple[int, int]:
    """Return how many API server and Execution API processes run on a host of group airflow_api_server."""
    servers = int(value(host, "airflow_api_server_instances")) * int(value(host, "airflow_api_server_workers"))
    return servers, int(value(host, "airflow_execution_api_instances"))


def worker_slots(concurrency: Any, autoscale: Any) -> int:
    """Return how many tasks a worker runs at the same time, at most.

    :param concurrency: its ``airflow_worker_concurrency``.
    :param autoscale: its ``airflow_worker_autoscale``, ``[most, fewest]`` or nothing.
    """
    return int(autoscale[0] if autoscale else concurrency)


def connections(groups: Groups, value: Value) -> dict[str, int]:
    """Return how many connections each PostgreSQL cluster allows: those of its clients, rounded up."""
    return {cluster: step_up(count) for cluster, count in client_connections(groups, value).items()}


def client_connections(groups: Groups, value: Value) -> dict[str, int]:
    """Return how many connections the clients of each PostgreSQL cluster hold at most.

    The metadata database has the pools of the Airflow processes for clients. The one for Celery's results has each
    process of the workers' pools, which keeps its connection, and two more for each worker and scheduler. A scheduler
    listens to both with one connection more.
    """
    main, results = SPARE_CONNECTIONS["main"], SPARE_CONNECTIONS["results"]
    for group, pools in POOLS.items():
        for host in groups.get(group, ()):
            config = value(host, "airflow_config")
            found = config.get("database") if isinstance(config, Mapping) else None
            database = found if isinstance(found, Mapping) else {}
            servers, execution = api_processes(host, value) if group == "airflow_api_server" else (1, 0)
            for processes, pool in ((servers, POOL), (execution, EXECUTION_API_POOL)):
                main += pools * processes * sum(whole(database.get(key), size) for key, size in pool.items())
    for host in groups.get("airflow_worker", ()):
        results += worker_slots(value(host, "airflow_worker_concurrency"), value(host, "airflow_worker_autoscale")) + 2
    schedulers = len(groups.get("airflow_scheduler", ()))
    main += schedulers
    results += 3 * schedulers
    return {"main": main, "results": results}


def load_of(host: str, groups: Groups, value: Value) -> Load:
    """Return what runs on a host of the inventory."""
    own = frozenset(group for group, hosts in groups.items() if host in hosts)
    servers, execution = api_processes(host, value) if "airflow_api_server" in own else (0, 0)
    return Load(
        groups=own,
        api_server_processes=servers,
        execution_api_processes=execution,
        api_server_workers=int(value(host, "airflow_api_server_workers")),
        slots=(
            worker_slots(value(host, "airflow_worker_concurrency"), value(host, "airflow_worker_autoscale"))
            if "airflow_worker" in own
            else 0
        ),
        # Counting them asks every worker's variables.
        connections=connections(groups, value) if "postgres" in own else {},
    )


def size_mb(text: Any, total: int) -> int:
    """Return a size as systemd spells it (``6G``, ``90%``) in MiB; 0 for none and for ``infinity``."""
    match = re.fullmatch(r"(\d+)([KMGT%]?)", str(text).strip())
    if not match:
        return 0
    number, unit = int(match[1]), match[2]
    if unit == "%":
        return total * number // 100
    return number * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[unit] >> 20


def explicit_of(host: str, total: int, value: Value) -> dict[str, int]:
    """Return the limits that a person has set for a host, by part; 0 for none."""
    return {
        part: size_mb(value(host, name), total) if part == "worker" else int(value(host, name))
        for part, name in EXPLICIT.items()
    }


def host_plan(host: str, total: int, groups: Groups, value: Value) -> Plan:
    """Divide the memory of a host of the inventory."""
    return plan(total, load_of(host, groups, value), explicit_of(host, total, value))


def cluster_share(memory: int, cluster: str, counts: Mapping[str, int]) -> int:
    """Return what one of PostgreSQL's clusters gets of the memory for all of them; results stay small."""
    least = {name: postgres_least(name, count) for name, count in counts.items()}
    rest = memory - sum(least.values())
    if rest < 0:
        return memory * least[cluster] // sum(least.values())
    results = rest // 8
    return least[cluster] + (results if cluster == "results" else rest - results)


@dataclass(frozen=True)
class Problem:
    """A variable that cannot work on a machine."""

    variable: str
    value: str
    expected: str
    remedy: str


def buffer_problems(host: str, found: Plan, load: Load, value: Value) -> Iterator[Problem]:
    """Yield shared buffers that somebody has set and that leave a PostgreSQL cluster no room."""
    settings = value(host, "postgres_settings")
    if "postgres" not in found.parts or not isinstance(settings, Mapping) or "shared_buffers" not in settings:
        return
    text = str(settings["shared_buffers"])
    match = re.fullmatch(r"(\d+) ?(kB|MB|GB|TB)?", text)
    if not match:
        return
    # A number alone counts blocks of 8 kB.
    kilobytes = {None: 8, "kB": 1, "MB": 1 << 10, "GB": 1 << 20, "TB": 1 << 30}[match[2]]
    least = min(cluster_share(found.parts["postgres"], name, load.connections) for name in load.connections)
    if int(match[1]) * kilobytes > least * 1024 // 2:
        yield Problem(
            "postgres_settings.shared_buffers",
            text,
            f"at most {least // 2}MB, half of the memory of each PostgreSQL cluster on this host",
            "remove it: shared buffers follow postgres_memory_mb, which may be raised instead",
        )


def problems(host: str, machine: int, groups: Groups, value: Value) -> Iterator[Problem]:
    """Yield what a person's values make impossible on a machine with so much memory."""
    stated = int(value(host, "airflow_host_memory_mb"))
    if stated > machine:
        yield Problem(
            "airflow_host_memory_mb",
            str(stated),
            f"at most {machine}, the memory of the machine in MiB",
            "set it to what the machine has, or remove it",
        )
        return
    total = stated or machine
    load = load_of(host, groups, value)
    stated_limits = explicit_of(host, total, value)
    found = plan(total, load, stated_limits)
    least = load.least()
    explicit = {part: size for part, size in stated_limits.items() if size and part in least}
    yield from buffer_problems(host, found, load, value)
    limit = stated_limits["worker"] or total * WORKER_SHARE // 100
    if "airflow_worker" in load.groups and not least and limit < (idle := WORKER + IDLE_SLOT * load.slots):
        name = "airflow_worker_autoscale" if value(host, "airflow_worker_autoscale") else "airflow_worker_concurrency"
        yield Problem(
            name,
            str(value(host, name)),
            f"at most {max(0, (limit - WORKER) // IDLE_SLOT)} slots on a worker that may use {limit} of {total} MiB "
            f"(airflow_worker_memory_max): without any task, {WORKER} and {IDLE_SLOT} for each slot are {idle}",
            f"lower {name}, or give the machine more memory",
        )
    small = False
    for part, size in explicit.items():
        if size < least[part]:
            small = True
            yield Problem(
                EXPLICIT[part],
                str(value(host, EXPLICIT[part])),
                f"at least {least[part]} MiB for what runs on this host",
                f"set {EXPLICIT[part]} to {least[part]} or more, or remove it for a share of the host's memory",
            )
    if not found.fits and not small:
        terms = " + ".join(
            f"{explicit.get(part, least[part])} ({EXPLICIT[part] if part in explicit else 'least for ' + part})"
            for part in least
        )
        names = [EXPLICIT[part] for part in explicit]
        shown = ", ".join(str(value(host, name)) for name in names)
        yield Problem(
            ", ".join(names) or "memory",
            shown or f"{total} MB",
            f"a sum of at most {steady(total)} MiB: {LEAST_SYSTEM} (system) + {terms} = {found.needed}",
            f"lower or remove {' or '.join(names)}"
            if names
            else "give the machine more memory, move a group to another host, or lower airflow_worker_concurrency",
        )
