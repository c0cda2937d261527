"""The load shapes, and one run of one shape: how long it took, and what it cost."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from airflow_client import AirflowClient, ApiError, DagRun, wait_for

# What a client sees of a cluster that is just starting.
TRANSIENT = (ApiError, OSError, http.client.HTTPException, ValueError)
PATIENCE = 900
Cpu = Mapping[str, float]


@dataclass(frozen=True)
class Shape:
    """A load shape.

    :param prefix: what the ids of its DAGs begin with.
    :param dags: number of its DAGs.
    :param title: what the table calls it.
    """

    name: str
    prefix: str
    dags: int
    title: str


SHAPES = (
    Shape("quick", "bench_quick", 1, "200 mapped no-op tasks"),
    Shape("chain", "bench_chain", 1, "20 dependent no-op tasks"),
    Shape("many", "bench_many", 50, "50 DAGs with 4 tasks each"),
    Shape("deferred", "bench_deferred", 1, "100 deferred tasks"),
    Shape("xcom", "bench_xcom", 1, "50 tasks that pass 1 MB"),
)
BY_NAME = {shape.name: shape for shape in SHAPES}


@dataclass(frozen=True)
class Measured:
    """One run of a shape.

    :param tasks: task instances of all its DAG runs.
    :param seconds: from the start of the first DAG run to the end of the last one.
    :param cpu: CPU seconds of each part of the cluster and each of its units, without their idle use.
    """

    tasks: int
    seconds: float
    cpu: dict[str, float]


def duration(runs: list[DagRun]) -> float:
    """Return the seconds from the first start to the last end of DAG runs, which must all have succeeded."""
    failed = [run.run_id for run in runs if run.state != "success"]
    starts, ends = [run.started for run in runs if run.started], [run.ended for run in runs if run.ended]
    if failed or not runs or len(starts) != len(runs) or len(ends) != len(runs):
        raise RuntimeError(f"DAG runs that did not succeed: {', '.join(failed) or 'no complete run'}")
    return (max(ends) - min(starts)).total_seconds()


def net_cpu(before: Cpu, after: Cpu, idle: Cpu, seconds: float) -> dict[str, float]:
    """Return what was used between two readings, without what an idle cluster uses in that time.

    :param idle: CPU seconds per second of each part and unit. A unit that is missing in it or before counts as 0.
    """
    used = {key: after[key] - before.get(key, 0.0) - idle.get(key, 0.0) * seconds for key in after}
    return {key: max(0.0, one) for key, one in used.items()}


def wait_until_healthy(client: AirflowClient, cluster: str) -> None:
    """Wait until all components of a cluster that is starting are healthy.

    :param cluster: the name for an error.
    """
    wait_for(
        lambda: set(client.health().values()) == {"healthy"},
        what=f"{cluster} healthy",
        seconds=180,
        transient=TRANSIENT,
    )


def dag_ids(client: AirflowClient, shape: Shape, seconds: float = 300) -> list[str]:
    """Wait until Airflow knows all DAGs of a shape; return their ids."""

    def known() -> list[str] | None:
        page = client.call("GET", "/dags", dag_id_prefix_pattern=shape.prefix, limit=100)
        found = [str(dag["dag_id"]) for dag in page["dags"]]
        if not found and (errors := client.import_errors()):
            raise RuntimeError("\n".join(errors.values()))
        return found if len(found) == shape.dags else None

    return wait_for(known, what=f"{shape.dags} DAGs {shape.prefix}*", seconds=seconds, transient=TRANSIENT)


def pause(client: AirflowClient, shape: Shape, paused: bool) -> None:
    """Pause or unpause all DAGs of a shape at once."""
    # Not dag_id_prefix_pattern: without dag_id_pattern, Airflow 3.3.2 looks for DAGs named None as well.
    page = client.call(
        "PATCH", "/dags", {"is_paused": paused}, dag_id_pattern=shape.prefix, update_mask="is_paused", limit=100
    )
    if page["total_entries"] != shape.dags:
        raise RuntimeError(f"{page['total_entries']} DAGs {shape.prefix}* were changed instead of {shape.dags}")


def unfinished(client: AirflowClient, shape: Shape) -> int:
    """Return how many DAG runs of a shape are not over."""
    page = client.call(
        "GET", "/dags/~/dagRuns", dag_id_prefix_pattern=shape.prefix, state=["queued", "running"], limit=1
    )
    return int(page["total_entries"])


def task_count(client: AirflowClient, dag: str, run: str) -> int:
    """Return the number of task instances of a DAG run."""
    page = client.call("GET", f"/dags/{dag}/dagRuns/{quote(run)}/taskInstances", limit=1)
    return int(page["total_entries"])


def finish(client: AirflowClient, shape: Shape) -> None:
    """Unpause a shape, and wait until none of its DAG runs is left."""
    pause(client, shape, False)
    # The API server of a cluster under load may not answer in time.
    wait_for(
        lambda: unfinished(client, shape) == 0,
        what=f"all runs of {shape.name} over",
        seconds=PATIENCE,
        interval=1,
        transient=TRANSIENT,
    )


def run_shape(
    client: AirflowClient, shape: Shape, cpu: Callable[[], tuple[float, Cpu]], idle: Cpu, **conf: object
) -> tuple[Measured, dict[str, str]]:
    """Run a shape once. Its DAG runs are made while it is paused, so that all begin at the same moment.

    :param cpu: returns the time, and the CPU seconds of each part of the cluster and each unit until now.
    :return: the measurement, and the id of the run of each DAG.
    """
    dags = dag_ids(client, shape)
    if unfinished(client, shape):  # left over from a run that was interrupted
        finish(client, shape)
    pause(client, shape, True)
    runs = {dag: client.trigger(dag, conf) for dag in dags}
    begun, before = cpu()
    finish(client, shape)
    ended, after = cpu()
    seconds = duration([client.run(dag, run) for dag, run in runs.items()])
    tasks = sum(task_count(client, dag, run) for dag, run in runs.items())
    return Measured(tasks, seconds, net_cpu(before, after, idle, ended - begun)), runs
