"""The report of a failover drill: what the ledgers say of one cut worker, and this as text. The page: `drill_page`.

Pure functions: everything they tell stands in `Drill`. Times are seconds since the epoch on the controller's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import Failover
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.ledger import (
    Execution,
    interrupted,
    lost,
    overlapping,
)

# A task beats twice a second; one that has been silent for longer than this was not alive any more.
SILENCE = 2.0


@dataclass(frozen=True)
class Drill:
    """One drill as it was observed.

    :param worker: inventory name of the worker that was cut off.
    :param workers: all workers, as the inventory orders them.
    :param tasks: names of the load's tasks, as the ledger has them.
    :param executions: what the ledgers of all workers say.
    :param cut: when the worker was cut off.
    :param healed: when the cut ended.
    :param failover: the settings in force; None where the failover tuning is off.
    :param run_id: the DAG run of the load.
    :param run_state: how that run ended, as Airflow says.
    :param back: seconds from the healing until the worker answered Celery's ping; None if it did not.
    :param clock_error: by how much two hosts' times may be wrong against each other, in seconds.
    :param problems: what went wrong beside the tasks, in words.
    """

    worker: str
    workers: Sequence[str]
    tasks: Sequence[str]
    executions: Sequence[Execution]
    cut: float
    healed: float
    failover: Failover | None
    run_id: str
    run_state: str
    back: float | None
    clock_error: float = 0.0
    problems: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Moved:
    """What became of one task that ran on the cut worker. Times are seconds since the cut; None for never."""

    task: str
    stopped: float
    again: float | None
    host: str
    attempt: int | None


def _by_the_cut(drill: Drill, one: Execution) -> bool:
    """Whether it was the cut that ended an execution: it was alive on the cut worker when that was cut off."""
    return one.host == drill.worker and one.begin < drill.cut <= one.last + SILENCE


def moved(drill: Drill) -> list[Moved]:
    """Return what became of each execution that the cut interrupted."""
    found = []
    for broken in interrupted(drill.executions):
        if not _by_the_cut(drill, broken):
            continue
        later = sorted(
            (one for one in drill.executions if one.task == broken.task and one.begin > broken.begin and one != broken),
            key=lambda one: one.begin,
        )
        first = later[0] if later else None
        found.append(
            Moved(
                broken.task,
                broken.last - drill.cut,
                first.begin - drill.cut if first else None,
                first.host if first else "",
                first.attempt if first else None,
            )
        )
    return found


def problems(drill: Drill) -> list[str]:
    """Return a message for each guarantee that the drill found violated; an empty list if there is none."""
    found = list(drill.problems)
    found += [f"LOST: {task} never came to its end" for task in lost(drill.executions, drill.tasks)]
    for first, second in overlapping(drill.executions):
        seconds = min(first.last, second.last) - second.begin
        found.append(
            f"OVERLAPPED: {first.task} ran twice at once for {seconds:.1f} s, on {first.host} (try {first.attempt}) "
            f"and on {second.host} (try {second.attempt})"
        )
    what = moved(drill)
    if not what:
        found.append(f"NOTHING MEASURED: no task was interrupted on {drill.worker}")
    if drill.failover:
        promise = drill.failover.seconds
        found += [
            f"LATE: {one.task} ran elsewhere after {one.again:.1f} s; airflow_failover_seconds is {promise}"
            for one in what
            if one.again is not None and one.again > promise
        ]
    found += [
        f"DISTURBED: {one.task} (try {one.attempt}) stopped on {one.host} {abs(one.last - drill.cut):.1f} s "
        f"{'before' if one.last < drill.cut else 'after'} the cut, and not because of it"
        for one in interrupted(drill.executions)
        if not _by_the_cut(drill, one)
    ]
    if drill.run_state != "success":
        found.append(f"DAG RUN: it ended {drill.run_state or 'not at all'}")
    if drill.back is None:
        found.append(f"NOT BACK: {drill.worker} does not answer Celery's ping after the healing")
    return found


def settings(drill: Drill) -> list[tuple[str, str]]:
    """Return the settings in force that decide the times, as (name, value)."""
    if drill.failover is None:
        return [("airflow_failover_tuning", "false: Airflow's own settings, nothing is promised")]
    ours = drill.failover
    return [
        ("airflow_failover_seconds", f"{ours.seconds} s"),
        ("heartbeat interval", f"{ours.heartbeat_interval} s"),
        ("task told to end after", f"{ours.terminate_after:g} s without heartbeat"),
        ("task killed after", f"{ours.kill_after:g} s without heartbeat"),
        ("heartbeat timeout of the scheduler", f"{ours.heartbeat_timeout} s"),
        ("detection interval", f"{ours.detection_interval} s"),
        ("retry delay", f"{ours.retry_delay} s"),
    ]


def _span(values: Sequence[float]) -> str:
    if not values:
        return "-"
    least, most = min(values), max(values)
    return f"{most:.1f} s" if f"{least:.1f}" == f"{most:.1f}" else f"{least:.1f} to {most:.1f} s"


def numbers(drill: Drill) -> list[tuple[str, str]]:
    """Return what was measured, as (name, value)."""
    what = moved(drill)
    twice = {first.task for first, _second in overlapping(drill.executions)}
    return [
        ("worker cut off", drill.worker),
        ("cut off for", f"{drill.healed - drill.cut:.1f} s"),
        ("tasks", f"{len(drill.tasks)}, of which {len(what)} were interrupted"),
        ("lost", str(len(lost(drill.executions, drill.tasks)))),
        ("ran twice at once", str(len(twice))),
        ("stopped on the cut worker after", _span([one.stopped for one in what])),
        ("running elsewhere after", _span([one.again for one in what if one.again is not None])),
        ("worker back after healing", "no" if drill.back is None else f"{drill.back:.1f} s"),
    ]


def rows_of(drill: Drill) -> list[tuple[str, ...]]:
    """Return the table of the interrupted tasks, below ``HEAD``."""
    return [
        (
            one.task,
            f"{one.stopped:.1f} s",
            "never" if one.again is None else f"{one.again:.1f} s",
            one.host or "-",
            "-" if one.attempt is None else str(one.attempt),
        )
        for one in moved(drill)
    ]


HEAD = ("task", "stopped after", "running elsewhere after", "worker", "try")


def text(drill: Drill) -> str:
    """Return the report as plain text for a terminal."""
    lines = [f"Failover drill of {moment(drill.cut)}", ""]
    pairs = [*numbers(drill), *settings(drill)]
    width = max(len(name) for name, _value in pairs)
    lines += [f"{name.ljust(width)}  {value}" for name, value in pairs]
    rows = [HEAD, *rows_of(drill)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", table[0], "  ".join("-" * width for width in widths), *table[1:], ""]
    lines += [f"PROBLEM  {problem}" for problem in problems(drill)] or [verdict(drill)]
    return "\n".join(lines)


def moment(seconds: float) -> str:
    """Return a time as a person reads it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def verdict(drill: Drill) -> str:
    """Return the sentence that tells that every guarantee was kept."""
    return f"No task was lost, none ran twice at once, and {drill.worker} takes tasks again."
