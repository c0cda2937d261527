"""The report of a cluster's health, for people and for machines."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.module_utils.parts import FIRST_SCHEDULER
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.health import (
    GROUP_JOBS,
    Cluster,
    Host,
    drain_of,
    drift_of,
    host_reasons,
    is_idle,
    moment,
    reasons,
    size,
    span,
    used_percent,
)

WIDTH = 140


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """Return a table as lines of at most ``width`` columns. What is too long for the last column continues below."""
    columns = [max(len(row[number]) for row in [head, *rows]) for number in range(len(head))]
    room = max(width - sum(columns[:-1]) - 2 * (len(columns) - 1), 20)
    columns[-1] = min(columns[-1], room)
    lines = []
    for row in [head, ["-" * column for column in columns], *rows]:
        rest = row[-1]
        first = [*row[:-1], rest[:room]]
        lines.append("  ".join(cell.ljust(column) for cell, column in zip(first, columns, strict=True)).rstrip())
        while rest := rest[room:]:
            lines.append(" " * (sum(columns[:-1]) + 2 * (len(columns) - 1)) + rest[:room])
    return lines


def _host_row(host: Host, cluster: Cluster) -> list[str]:
    bad = host_reasons(host, cluster.now, cluster.limits)
    if host.status is None:
        return [host.name, "NO ANSWER", *["-"] * 8]
    status = host.status
    expiries = [expires for expires in status["certificates"].values() if expires is not None]
    clock = "-" if host.clock is None else f"{host.clock['offset'] * 1000:+.0f} ms"
    drift = drift_of(host)
    backup = status["backup"]
    return [
        host.name,
        "BAD" if bad else "ok",
        status["debian"] or "-",
        status["release"] or "-",
        *(
            f"{used_percent(status['disks'][path]):.0f} %" if path in status["disks"] else "-"
            for path in ("/", "/var/lib/airflow")
        ),
        span(min(expiries) - cluster.now) if expiries else "-",
        clock,
        # Without --check only what is newer than its process is known.
        str(len(drift)) if drift or host.drift is not None else "0 (no --check)",
        "none"
        if backup is None
        else f"{backup['kind']} {span(cluster.now - backup['time'])} ago"
        if backup["ok"]
        else "FAILED",
    ]


def _unit_state(unit: Mapping[str, Any]) -> str:
    if is_idle(unit):
        return "idle"
    return unit["state"] if unit["sub"] in ("running", unit["state"]) else f"{unit['state']} ({unit['sub']})"


def _unit_rows(cluster: Cluster) -> list[list[str]]:
    return [
        [
            host.name,
            unit["name"].removesuffix(".service"),
            _unit_state(unit),
            "never" if is_idle(unit) and unit["since"] is None else moment(unit["since"]),
            str(unit["restarts"]),
            size(unit["memory"]),
        ]
        for host in cluster.hosts
        for unit in (host.status or {}).get("units", ())
    ]


def _worker_rows(cluster: Cluster) -> list[list[str]]:
    answered = cluster.part("workers")
    database = cluster.part("database")
    names = {f"celery@{host.name}": host for host in cluster.hosts if "airflow_worker" in host.groups}
    rows = []
    # One pool below the other
    ours = sorted(names, key=lambda name: list(names[name].pools))
    for name in [*ours, *sorted({*(answered or {})} - {*names})]:
        worker = (answered or {}).get(name)
        running = (
            "?" if database is None else str(database["running"].get(names[name].address, 0)) if name in names else "-"
        )
        drain = drain_of(names[name]) if name in names else None
        told = f"none: drained since {drain['since']} by {drain['by']}" if drain else ""
        told += f" ({drain['why']})" if drain and drain["why"] else ""
        pools = ", ".join(names[name].pools) or "-" if name in names else "-"
        if worker is None:
            health = "drained" if drain else "?" if answered is None else "NO ANSWER"
            rows.append([name, pools, health, "-", running, told or "-"])
            continue
        taken, slots = (("?" if value is None else str(value)) for value in (worker["active"], worker["concurrency"]))
        queues = "?" if worker["queues"] is None else ", ".join(worker["queues"]) or told or "none: it takes no tasks"
        rows.append([name, pools, "draining" if drain else "ok", f"{taken} of {slots}", running, queues])
    return rows


def _queue_rows(cluster: Cluster) -> list[list[str]]:
    waiting, database = cluster.part("queues"), cluster.part("database")
    queued = {} if database is None else database["queued"]
    return [
        [
            queue,
            "?" if waiting is None else str(waiting.get(queue, 0)),
            "?" if database is None else str(queued.get(queue, {}).get("tasks", 0)),
            "?" if database is None else span(queued.get(queue, {}).get("oldest")),
        ]
        for queue in sorted({*(waiting or {}), *queued})
    ]


def text(cluster: Cluster) -> str:
    """Return the report for a terminal."""
    head = ("machine", "health", "Debian", "release", "/", "airflow", "certificate", "clock", "drift", "last backup")
    lines = table(head, [_host_row(host, cluster) for host in cluster.hosts])
    units, workers, queues = _unit_rows(cluster), _worker_rows(cluster), _queue_rows(cluster)
    lines += ["", *table(("machine", "unit", "state", "since", "restarts", "memory"), units)] if units else []
    lines += (
        ["", *table(("worker", "pool", "health", "slots used", "running tasks", "queues"), workers)] if workers else []
    )
    lines += ["", *table(("queue", "messages", "queued tasks", "oldest"), queues)] if queues else []
    database = cluster.part("database")
    if database is not None:
        jobs = [[job["type"], job["host"], f"{span(job['age'])} ago"] for job in _current_jobs(cluster, database)]
        lines += ["", *table(("job", "host", "heartbeat"), jobs)] if jobs else []
    bad = reasons(cluster)
    lines += ["", f"UNHEALTHY, {len(bad)} reason{'s' if len(bad) > 1 else ''}:" if bad else "Healthy."]
    for reason in bad:
        lines += textwrap.wrap(reason, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    return "\n".join(lines)


def _current_jobs(cluster: Cluster, database: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the jobs that the inventory wants; others are of hosts and processes of the past."""
    wanted = {
        (kind, host.address) for host in cluster.hosts for group, kind in GROUP_JOBS.items() if group in host.groups
    }
    return [job for job in database["jobs"] if (job["type"], job["host"]) in wanted]


def document(cluster: Cluster) -> dict[str, Any]:
    """Return the report for machines: nothing is rounded or cut. Times are seconds since the epoch, sizes bytes."""
    return {
        "healthy": not reasons(cluster),
        "reasons": reasons(cluster),
        "time": cluster.now,
        "hosts": {
            host.name: {
                "healthy": not host_reasons(host, cluster.now, cluster.limits),
                "address": host.address,
                "groups": [group for group in host.groups if group != FIRST_SCHEDULER],
                "pools": list(host.pools),
                "error": host.error,
                "status": host.status,
                "clock": host.clock,
                "drift": drift_of(host),
                "drift_checked": host.drift is not None,
            }
            for host in cluster.hosts
        },
        "cluster": cluster.probe,
    }
