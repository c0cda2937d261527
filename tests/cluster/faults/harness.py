"""One run of one fault: load, fault, healing, and the proof that nothing was lost."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from airflow_client import AirflowClient, ApiError, DagRun, TaskInstance, WaitTimeout, wait_for
from cluster_inventory import Cluster

from faults import ledger
from faults.machines import Machines

DAG = "failover_load"
# What a client sees of a cluster that something has just been done to.
TRANSIENT = (ApiError, OSError, http.client.HTTPException, json.JSONDecodeError)
# So long a component may take until it is healthy again: Airflow itself calls one unhealthy after 30 s.
HEALTHY_SECONDS = 180
# So long the last lines of a log may take to the log store after everything is healthy.
LOG_SECONDS = 30


class Scene:
    """A cluster with a load on it, and the machine that something happens to.

    :param tasks: names of the load's tasks, as the ledger has them.
    :param worker: the worker with the most running tasks.
    :param hit: tasks that run on it.
    """

    def __init__(self, cluster: Cluster, machines: Machines, client: AirflowClient) -> None:
        self.cluster = cluster
        self.machines = machines
        self.client = client
        self.control = cluster.first("control_plane")
        self.worker = cluster.workers[-1]
        self.run_id = ""
        self.tasks: list[str] = []
        self.hit: set[str] = set()
        self.injected = 0.0

    def executions(self) -> list[ledger.Execution]:
        """Return what the ledgers on all workers say now."""
        return ledger.read(self.machines.ledger(self.run_id, self.cluster.workers))

    def begin_load(self, load: Mapping[str, object]) -> None:
        """Start the load, wait until all of its tasks that have a slot run, and choose the machine."""
        self.run_id = self.client.trigger(DAG, dict(load))
        self.tasks = [f"load[{number}]" for number in range(int(str(load.get("tasks", 8))))]
        self.tasks += [f"deferred[{number}]" for number in range(int(str(load.get("deferred", 0))))]
        slots = sum(int(self.cluster.variables[name]["airflow_worker_concurrency"]) for name in self.cluster.workers)
        expected = min(slots, sum(task.startswith("load") for task in self.tasks))

        def running() -> list[ledger.Execution] | None:
            found = self.executions()
            return found if len(found) >= expected else None

        found = wait_for(running, what=f"{expected} running tasks", seconds=120, interval=0.5, transient=TRANSIENT)
        hosts = Counter(execution.host for execution in found)
        if hosts:
            self.worker = hosts.most_common(1)[0][0]
        self.hit = {execution.task for execution in found if execution.host == self.worker}

    def all_deferred(self) -> bool:
        """Whether every task that waits in the triggerer does so now."""
        states = [task.state for task in self.client.tasks(DAG, self.run_id) if task.task_id == "deferred"]
        return len(states) == sum(task.startswith("deferred") for task in self.tasks) and set(states) == {"deferred"}

    def moved(self) -> bool:
        """Whether every task that ran on the chosen worker when it was hit has begun again, or has come to its end."""
        found = self.executions()
        return self.hit <= {one.task for one in found if one.ended or one.begin > self.injected}

    def problems_of_cluster(self) -> list[str]:
        """Return what is not as it should be with components and workers, now."""
        problems = [f"{name} is {state}" for name, state in self.client.health().items() if state != "healthy"]
        if self.cluster.flower_workers() < set(self.cluster.workers):
            problems.append("Flower does not show every worker")
        return problems + [f"{name} does not answer Celery's ping" for name in self.silent()]

    def silent(self) -> list[str]:
        """Return the workers that do not answer Celery's ping now. Flower would show them from memory."""
        return self.machines.silent_workers(self.cluster.first("airflow_scheduler"), self.cluster.workers)

    def wait_until_healthy(self) -> list[str]:
        """Wait until every component and every worker is healthy; return those that are not after the timeout."""
        try:
            wait_for(
                lambda: not self.problems_of_cluster(),
                what="cluster healthy",
                seconds=HEALTHY_SECONDS,
                transient=TRANSIENT,
            )
        except WaitTimeout as error:
            try:
                return self.problems_of_cluster() or [str(error)]
            except TRANSIENT as last:
                return [str(last)]
        return []

    def wait_for_run(self, run_id: str, seconds: float) -> DagRun:
        """Wait until a run is over, whatever the API does meanwhile."""

        def over() -> DagRun | None:
            run = self.client.run(DAG, run_id)
            return run if run.finished else None

        return wait_for(over, what=f"run {run_id} over", seconds=seconds, interval=0.5, transient=TRANSIENT)


@dataclass(frozen=True)
class Fault:
    """Something that happens to a cluster.

    :param name: short name, as the command line takes it.
    :param what: one line for a person.
    :param inject: does it.
    :param until: what has to come true before it is healed; at once if None.
    :param heal: takes it back; what heals by itself has none.
    :param load: parameters of the DAG ``failover_load``.
    :param prepare: what has to be there before, such as a library on a machine.
    :param restore: takes back what ``prepare`` did.
    :param complete_logs: whether the logs of the tasks are complete afterwards.
    """

    name: str
    what: str
    inject: Callable[[Scene], None]
    until: Callable[[Scene], bool] | None = None
    heal: Callable[[Scene], None] | None = None
    load: Mapping[str, object] = field(default_factory=lambda: {"tasks": 6, "seconds": 12})
    prepare: Callable[[Scene], None] | None = None
    restore: Callable[[Scene], None] | None = None
    complete_logs: bool = True


@dataclass
class Result:
    """What one run of a fault came to. Times are in seconds.

    :param tasks: tasks of the load.
    :param interrupted: executions that did not come to their end.
    :param lost: tasks that never came to their end.
    :param overlapped: tasks of which two executions ran at the same time.
    :param woken: tasks that left one more line when their machine, which had stood still, woke up.
    :param recovery: for each interrupted execution, the time from the fault until its task ran again.
    :param problems: a message for each violated guarantee; empty if there is none.
    """

    fault: str
    began: str
    tasks: int = 0
    interrupted: int = 0
    lost: list[str] = field(default_factory=list)
    overlapped: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> str:
        """Return the result on one line."""
        return json.dumps(asdict(self))


def tasks_of(scene: Scene, run_id: str) -> list[TaskInstance]:
    """Return the task instances of a run, without those that stand for "none of this kind was asked for"."""
    found = scene.client.tasks(DAG, run_id)
    return [task for task in found if task.map_index >= 0 or task.task_id.startswith("count")]


def log_problems(scene: Scene, executions: Sequence[ledger.Execution]) -> list[str]:
    """Compare the logs with the ledger; return what is missing, out of order or there twice.

    The log of each try reaches to the end of its executions, or to their cut.
    """
    instances = {f"{task.task_id}[{task.map_index}]": task for task in tasks_of(scene, scene.run_id)}
    problems = []
    for task, attempt in sorted({(one.task, one.attempt) for one in executions}):
        logged = ledger.signs_in_log(scene.client.log(DAG, replace(instances[task], try_number=attempt)))
        if logged != sorted(set(logged)):
            problems.append(f"the log of {task}, try {attempt}, has lines out of order or twice")
        for one in executions:
            if (one.task, one.attempt) == (task, attempt) and (missing := ledger.missing_signs(one, logged)):
                problems.append(
                    f"the log of {task}, try {attempt}, lacks {len(missing)} of {len(one.signs)} lines of {one.host}, "
                    f"the last one {one.last - missing[-1]:.1f} s before the end"
                )
    return problems


def wait_for_logs(scene: Scene, executions: Sequence[ledger.Execution]) -> list[str]:
    """Wait until the logs have all that they must have; return what is wrong with them after the timeout."""
    try:
        wait_for(
            lambda: not log_problems(scene, executions), what="complete logs", seconds=LOG_SECONDS, transient=TRANSIENT
        )
    except WaitTimeout:
        return log_problems(scene, executions)
    return []


def judge(scene: Scene, run: DagRun, result: Result) -> None:
    """Check the invariants, and note what is broken."""
    found = scene.executions()
    result.interrupted = len(ledger.interrupted(found))
    result.recovery = [round(seconds, 2) for seconds in ledger.recovery_times(found, scene.injected)]
    result.lost = ledger.lost(found, scene.tasks)
    result.woken = [one.task for one in ledger.woken(found)]
    for first, second in ledger.overlapping(found):
        result.overlapped.append(first.task)
        result.problems.append(
            f"{first.task} ran twice at once: on {first.host} from {first.begin - scene.injected:.1f} to "
            f"{first.last - scene.injected:.1f} s and on {second.host} from {second.begin - scene.injected:.1f} s on"
        )
    result.problems += [f"{task} never came to its end" for task in result.lost]
    if run.state != "success":
        result.problems.append(f"the DAG run ended {run.state}")
    states = Counter(task.state for task in tasks_of(scene, scene.run_id))
    if set(states) != {"success"}:
        result.problems.append(f"tasks by state: {dict(states)}")


def check_next_run(scene: Scene, result: Result) -> None:
    """The next DAG run is a normal one: every task in its first try."""
    run_id = scene.client.trigger(DAG, {"tasks": 2, "seconds": 0})
    run = scene.wait_for_run(run_id, 120)
    tries = [task.try_number for task in tasks_of(scene, run_id)]
    if run.state != "success" or set(tries) != {1}:
        result.problems.append(f"the next DAG run ended {run.state} with tries {sorted(tries)}")


def strike(scene: Scene, fault: Fault) -> None:
    """Inject a fault, and heal it when its time has come, whatever happens in between."""
    scene.injected = time.monotonic()
    try:
        fault.inject(scene)
        if fault.until:
            until = fault.until
            wait_for(lambda: until(scene), what=f"{fault.name}: time to heal", seconds=240, interval=0.5)
    finally:
        if fault.heal:
            fault.heal(scene)


def run_fault(cluster: Cluster, fault: Fault) -> Result:
    """Run one fault under load and return what came of it. Whatever happens, it is healed."""
    client = cluster.client()
    scene = Scene(cluster, Machines(cluster), client)
    result = Result(fault.name, datetime.now(UTC).isoformat(timespec="seconds"))
    begun = time.monotonic()
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    try:
        if fault.prepare:
            fault.prepare(scene)
        before = scene.wait_until_healthy()
        if before:
            result.problems += [f"before the fault: {problem}" for problem in before]
            return result
        scene.begin_load(fault.load)
        if fault.load.get("deferred"):
            wait_for(scene.all_deferred, what="all deferred tasks in the triggerer", seconds=60, transient=TRANSIENT)
        result.tasks = len(scene.tasks)
        strike(scene, fault)
        run = scene.wait_for_run(scene.run_id, 300)
        result.problems += [f"after the fault: {problem}" for problem in scene.wait_until_healthy()]
        judge(scene, run, result)
        if fault.complete_logs:
            result.problems += wait_for_logs(scene, scene.executions())
        check_next_run(scene, result)
    except (WaitTimeout, RuntimeError) as error:
        result.problems.append(str(error))
    finally:
        if fault.restore:
            fault.restore(scene)
    result.seconds = round(time.monotonic() - begun, 1)
    return result
