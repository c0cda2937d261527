"""The faults, each with how it is done and when it is healed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait

from faults.harness import Fault, Scene
from faults.machines import Direction

FREEZE_SECONDS = 60
CLOCK_JUMP_SECONDS = 60
# A control node that boots needs about so long until its API servers answer.
API_AWAY_SECONDS = 60
# Long enough for every task to be running when the service goes and when it comes back.
STEADY = {"tasks": 6, "seconds": 12}
# Long enough for the fence to find the tasks still running.
LONG = {"tasks": 6, "seconds": 20}
# Each service: where it runs, its unit, and the load that notices it.
SERVICES = {
    "postgresql": ("postgres", "postgresql@*.service"),
    "redis": ("redis", "redis-server.service"),
    "haproxy": ("haproxy", "haproxy.service"),
    "api-server": ("airflow_api_server", "airflow-api-server@8081.service"),
    "execution-api": ("airflow_api_server", "airflow-execution-api@8091.service"),
    "scheduler": ("airflow_scheduler", "airflow-scheduler.service"),
    "dag-processor": ("airflow_dag_processor", "airflow-dag-processor.service"),
    "triggerer": ("airflow_triggerer", "airflow-triggerer.service"),
    "flower": ("flower", "airflow-flower.service"),
    "log-store": ("airflow_api_server", "airflow-log-store.service"),
}
WORKER = "airflow-worker.service"
LOG_STORE = "airflow-log-store.service"
LOG_SHIPPER = "airflow-log-shipper.service"
# Longer than most tasks of the load still run.
LOG_OUTAGE_SECONDS = 20
# Less than the outage of the Execution API that no running task notices.
STALL_SECONDS = 5
STALL = f"""BEGIN;
LOCK TABLE dag_run, task_instance IN ACCESS EXCLUSIVE MODE;
SELECT pg_sleep({STALL_SECONDS});
ROLLBACK;
"""
# People who reload a page that does not come: more than the API servers have threads.
STALLED_REQUESTS = 50
EXECUTION_APIS = ("airflow-execution-api@8091", "airflow-execution-api@8092")


def unit(scene: Scene, service: str) -> tuple[str, str]:
    """Return host and unit of a service."""
    group, pattern = SERVICES[service]
    host = scene.cluster.first(group)
    return host, scene.machines.unit_of(host, pattern) if "*" in pattern else pattern


def kill_service(service: str) -> Fault:
    """Kill a service's main process; systemd starts it again."""
    return Fault(
        f"kill-{service}",
        f"kill -9 of {service}",
        inject=lambda scene: scene.machines.kill_unit(*unit(scene, service)),
        load=STEADY | ({"deferred": 4} if service == "triggerer" else {}),
    )


def restart_service(service: str) -> Fault:
    """Restart a service as a person does."""
    return Fault(
        f"restart-{service}",
        f"systemctl restart of {service}",
        inject=lambda scene: scene.machines.restart_unit(*unit(scene, service)),
        load=STEADY | ({"deferred": 4} if service == "triggerer" else {}),
    )


def drop(direction: Direction) -> Fault:
    """Lose a worker's packets silently."""
    words = {"both": "every packet", "incoming": "every packet to it", "outgoing": "every packet from it"}[direction]
    return Fault(
        "silent-drop" if direction == "both" else f"silent-drop-{direction}",
        f"a worker silently loses {words}",
        inject=lambda scene: scene.machines.drop(scene.worker, direction),
        until=Scene.moved,
        heal=lambda scene: scene.machines.undrop(scene.worker),
        load=LONG,
    )


class Wait:
    """True once a time has passed since the fault: for faults that are defined by how long they last."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, scene: Scene) -> bool:
        return time.monotonic() - scene.injected >= self.seconds


def stop_worker(scene: Scene) -> None:
    """Begin a drain."""
    scene.machines.run(scene.worker, "systemctl", "stop", "--no-block", WORKER)


def start_worker(scene: Scene) -> None:
    """Put the worker back."""
    scene.machines.run(scene.worker, "systemctl", "start", WORKER)


def limit_memory(scene: Scene) -> None:
    """Give every worker little memory."""
    for name in scene.cluster.workers:
        scene.machines.limit_memory(name, "1500m")


def unlimit_memory(scene: Scene) -> None:
    """Give every worker back what it had."""
    for name in scene.cluster.workers:
        scene.machines.limit_memory(name, "0")


def stopped(scene: Scene) -> bool:
    """Whether the worker has ended its drain."""
    shown = scene.machines.run(scene.worker, "systemctl", "show", "--property=ActiveState", "--value", WORKER)
    return shown.strip() in ("inactive", "failed")


def lose_broker_data(scene: Scene) -> None:
    """Redis comes back with an empty disk."""
    host, redis = unit(scene, "redis")
    scene.machines.shell(
        host,
        f"systemctl stop {redis}; rm -rf /var/lib/redis/dump.rdb /var/lib/redis/appendonlydir; systemctl start {redis}",
    )


def kill_supervisor(scene: Scene) -> None:
    """Kill the process of the Celery pool that watches a running task."""
    main = scene.machines.main_process(scene.worker, WORKER)
    script = (
        f"for supervisor in $(pgrep -P {main}); do for task in $(pgrep -P $supervisor); do "
        "if [ $(ps -o pgid= -p $task) = $task ]; then kill -9 $supervisor; exit 0; fi; done; done; exit 1"
    )
    scene.machines.shell(scene.worker, script)


def power_cut(scene: Scene) -> None:
    """Every machine at once."""
    scene.machines.power_off(*scene.machines.names)


def cut_control_node(scene: Scene) -> None:
    """The control node loses every worker."""
    scene.machines.drop(scene.control)


def both(scene: Scene) -> None:
    """A worker loses its power, and at the same moment the scheduler is killed."""
    scene.machines.power_off(scene.worker)
    scene.machines.kill_unit(*unit(scene, "scheduler"))


def api_servers(scene: Scene, verb: str) -> None:
    """Stop or start every API server and every Execution API of the cluster."""
    for host in scene.cluster.groups["airflow_api_server"]:
        scene.machines.run(host, "systemctl", verb, "airflow-api-server@8081", *EXECUTION_APIS)


def stall_database(scene: Scene) -> None:
    """Lock the tables that heartbeats and pages need, for some seconds. Raises RuntimeError if HAProxy notices."""
    host, proxy = scene.cluster.first("postgres"), scene.cluster.first("haproxy")
    begun = scene.machines.run(proxy, "date", "+%s").strip()
    psql = ("runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "-qtA", "-v", "ON_ERROR_STOP=1", "-d", "airflow")
    with ThreadPoolExecutor(STALLED_REQUESTS + 1) as threads:
        stall = threads.submit(scene.machines.told, host, STALL, *psql)
        pages = [threads.submit(scene.client.call, "GET", "/dags/~/dagRuns", limit=1) for _ in range(STALLED_REQUESTS)]
    stall.result()
    wait(pages)  # whatever they answer
    journal = scene.machines.run(proxy, "journalctl", "--unit=haproxy", f"--since=@{begun}", "--output=cat")
    if down := [line for line in journal.splitlines() if " is DOWN" in line]:
        raise RuntimeError("\n".join(down))


def log_stores(scene: Scene, verb: str) -> None:
    """Stop or start every log store of the cluster."""
    for host in scene.cluster.groups["airflow_api_server"]:
        scene.machines.run(host, "systemctl", verb, LOG_STORE)


def answers_again(scene: Scene) -> bool:
    """Whether the worker answers Celery's ping."""
    return scene.worker not in scene.silent()


def jump_clock(host: str, service: str) -> Fault:
    """Move the wall clock of one unit forward."""

    def where(scene: Scene) -> str:
        return scene.control if host == "control" else scene.cluster.workers[-1]

    return Fault(
        f"clock-jump-{service.removeprefix('airflow-')}",
        f"the clock of the {service.removeprefix('airflow-')} jumps {CLOCK_JUMP_SECONDS} s ahead, and back",
        prepare=lambda scene: scene.machines.prepare_clock(where(scene), service),
        inject=lambda scene: scene.machines.clock_offset(where(scene), service, CLOCK_JUMP_SECONDS),
        until=Wait(8),
        heal=lambda scene: scene.machines.clock_offset(where(scene), service, 0),
        restore=lambda scene: scene.machines.restore_clock(where(scene), service),
    )


FAULTS: tuple[Fault, ...] = (
    Fault(
        "power-off",
        "a worker machine loses its power",
        inject=lambda scene: scene.machines.power_off(scene.worker),
        until=Scene.moved,
        heal=lambda scene: scene.machines.power_on(scene.worker),
    ),
    Fault(
        "power-off-stubborn",
        "a worker loses every packet; its tasks ignore SIGTERM",
        inject=lambda scene: scene.machines.drop(scene.worker),
        until=Scene.moved,
        heal=lambda scene: scene.machines.undrop(scene.worker),
        load=LONG | {"kind": "stubborn"},
    ),
    Fault(
        "freeze",
        f"a worker machine stands still for {FREEZE_SECONDS} s and goes on",
        inject=lambda scene: scene.machines.freeze(scene.worker),
        until=Wait(FREEZE_SECONDS),
        heal=lambda scene: scene.machines.thaw(scene.worker),
        # Fine enough to see what a task does in the moment between thaw and fence.
        load={"tasks": 6, "seconds": 25, "beat": 0.05},
    ),
    Fault(
        "cable-cut",
        "a worker's network cable is pulled, and plugged in again",
        inject=lambda scene: scene.machines.pull_cable(scene.worker),
        until=Scene.moved,
        heal=lambda scene: scene.machines.plug_cable(scene.worker),
        load=LONG,
    ),
    drop("both"),
    drop("incoming"),
    drop("outgoing"),
    Fault(
        "silent-drop-child",
        "a worker loses every packet; its tasks work in processes with sessions of their own",
        inject=lambda scene: scene.machines.drop(scene.worker),
        until=Scene.moved,
        heal=lambda scene: scene.machines.undrop(scene.worker),
        load=LONG | {"kind": "child"},
    ),
    Fault(
        "control-node-cut",
        "the control node loses every packet for 20 s",
        inject=cut_control_node,
        until=Wait(20),
        heal=lambda scene: scene.machines.undrop(scene.control),
        load=LONG,
    ),
    Fault(
        "control-node-reboot",
        "the control node is shut down and started",
        inject=lambda scene: scene.machines.reboot(scene.control),
    ),
    Fault(
        "worker-reboot",
        "a worker machine is shut down, drained, and started",
        inject=lambda scene: scene.machines.reboot(scene.worker),
    ),
    Fault(
        "power-cut",
        "every machine loses its power at once",
        inject=power_cut,
        heal=lambda scene: scene.machines.power_on(*scene.machines.names),
    ),
    Fault(
        "redis-data-loss",
        "Redis comes back with an empty disk",
        inject=lose_broker_data,
        load={"tasks": 16, "seconds": 8},
    ),
    Fault("kill-task-supervisor", "kill -9 of the process that watches a task", inject=kill_supervisor),
    Fault(
        "kill-worker",
        "kill -9 of the Celery worker's main process",
        inject=lambda scene: scene.machines.kill_unit(scene.worker, WORKER),
    ),
    Fault(
        "restart-worker",
        "systemctl restart of a worker",
        inject=lambda scene: scene.machines.restart_unit(scene.worker, WORKER),
    ),
    Fault(
        "catatonic-worker",
        "the Celery worker's main process is stopped for good (SIGSTOP)",
        inject=lambda scene: scene.machines.signal_unit(scene.worker, "STOP", WORKER),
        until=answers_again,
    ),
    Fault(
        "drain",
        "systemctl stop of a worker whose tasks end in time",
        inject=stop_worker,
        until=stopped,
        heal=start_worker,
    ),
    Fault(
        "drain-too-long",
        "systemctl stop of a worker whose tasks do not end in time",
        inject=stop_worker,
        until=stopped,
        heal=start_worker,
        load={"tasks": 6, "seconds": 40},
    ),
    Fault(
        "disk-full",
        "the disk of a worker's logs is full",
        inject=lambda scene: scene.machines.fill_log_disk(scene.worker),
        until=Wait(15),
        heal=lambda scene: scene.machines.empty_log_disk(scene.worker),
        complete_logs=False,
        load={"tasks": 16, "seconds": 8},
    ),
    Fault(
        "memory",
        "one task takes all the memory that its worker may have",
        prepare=limit_memory,
        restore=unlimit_memory,
        inject=lambda scene: None,
        load={"tasks": 6, "seconds": 12, "kind": "memory"},
    ),
    jump_clock("control", "airflow-scheduler"),
    jump_clock("worker", "airflow-worker"),
    Fault(
        "power-off-and-kill-scheduler",
        "a worker loses its power, and the scheduler is killed",
        inject=both,
        until=Scene.moved,
        heal=lambda scene: scene.machines.power_on(scene.worker),
    ),
    Fault(
        "kill-both-execution-apis",
        "kill -9 of both Execution APIs",
        inject=lambda scene: scene.machines.kill_unit(scene.cluster.first("airflow_api_server"), *EXECUTION_APIS),
    ),
    Fault(
        "api-servers-away",
        f"all API servers and Execution APIs are stopped for {API_AWAY_SECONDS} s",
        inject=lambda scene: api_servers(scene, "stop"),
        until=Wait(API_AWAY_SECONDS),
        heal=lambda scene: api_servers(scene, "start"),
        load=LONG,
    ),
    Fault(
        "database-stall",
        f"the metadata database answers nothing for {STALL_SECONDS} s",
        inject=stall_database,
        load=LONG,
    ),
    Fault(
        "log-store-stopped",
        f"every log store is stopped for {LOG_OUTAGE_SECONDS} s",
        inject=lambda scene: log_stores(scene, "stop"),
        until=Wait(LOG_OUTAGE_SECONDS),
        heal=lambda scene: log_stores(scene, "start"),
    ),
    Fault(
        "kill-log-shipper",
        "kill -9 of a worker's log shipper",
        inject=lambda scene: scene.machines.kill_unit(scene.worker, LOG_SHIPPER),
    ),
    Fault(
        "log-shipper-hangs",
        f"a worker's log shipper stands still for {LOG_OUTAGE_SECONDS} s",
        inject=lambda scene: scene.machines.signal_unit(scene.worker, "STOP", LOG_SHIPPER),
        until=Wait(LOG_OUTAGE_SECONDS),
        heal=lambda scene: scene.machines.signal_unit(scene.worker, "CONT", LOG_SHIPPER),
    ),
    *(kill_service(service) for service in SERVICES),
    *(restart_service(service) for service in SERVICES),
    Fault(
        "backlog",
        "ten times more tasks than slots, waiting longer than task_queued_timeout",
        inject=lambda scene: None,
        # Sixteen slots, and one minute of task_queued_timeout.
        load={"tasks": 160, "seconds": 12, "beat": 2},
    ),
)
# Those that `make test` runs, once each.
SHORT = frozenset(
    {
        "power-off",
        "freeze",
        "silent-drop-child",
        "api-servers-away",
        "kill-postgresql",
        "database-stall",
        "kill-both-execution-apis",
        "redis-data-loss",
        "drain-too-long",
        "log-store-stopped",
    }
)
BY_NAME = {fault.name: fault for fault in FAULTS}
