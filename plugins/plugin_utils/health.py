"""Whether a cluster is healthy, and why not."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.module_utils.parts import PARTS, part_of
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command, playbook

GROUP_JOBS = {
    "airflow_scheduler": "SchedulerJob",
    "airflow_triggerer": "TriggererJob",
    "airflow_dag_processor": "DagProcessorJob",
}


@dataclass(frozen=True)
class Limits:
    """From where on something is unhealthy.

    :param disk_percent: used share of a file system, 0 to 100.
    :param certificate_days: days that a certificate must still be valid.
    :param clock_offset: seconds between a host's clock and the controller's.
    :param backup_days: days since the end of the last backup.
    """

    disk_percent: float = 90
    certificate_days: float = 14
    clock_offset: float = 5
    backup_days: float = 2


@dataclass(frozen=True)
class Host:
    """What was found of one host.

    :param name: inventory name.
    :param address: how the other hosts reach it; Airflow's ``hostname`` of its tasks and jobs.
    :param groups: inventory groups that it is in; ``airflow_scheduler[0]`` for the first scheduler.
    :param pools: those of them that have nothing but workers in them.
    :param status: what the module ``cluster_status`` returned; None where it did not.
    :param error: why there is no status.
    :param clock: ``offset`` and ``uncertainty`` in seconds; None where it was not measured.
    :param drift: tasks of ``site.yml`` that would change it; None where nobody looked.
    """

    name: str
    address: str
    groups: Sequence[str]
    status: Mapping[str, Any] | None = None
    error: str = ""
    clock: Mapping[str, float] | None = None
    drift: Sequence[str] | None = None
    pools: Sequence[str] = ()


@dataclass(frozen=True)
class Cluster:
    """All that was found.

    :param now: seconds since the epoch, by the controller's clock.
    :param probe: what ``airflow_celery_cluster.status`` printed; None if the query failed.
    :param probe_error: why not.
    """

    now: float
    hosts: Sequence[Host]
    probe: Mapping[str, Any] | None = None
    probe_error: str = ""
    limits: Limits = field(default_factory=Limits)

    def part(self, name: str) -> Any:
        """Return a part of the probe; None where that part did not answer."""
        return None if self.probe is None else self.probe.get(name)


def moment(seconds: float | None) -> str:
    """Return a time for people, in UTC."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float | None) -> str:
    """Return a duration for people, in its largest unit that gives at least 2."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def size(number: int | None) -> str:
    """Return bytes for people."""
    if number is None:
        return "-"
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def used_percent(disk: Mapping[str, int]) -> float:
    """Return the used share of a file system, 0 to 100."""
    return 100 * (1 - disk["free"] / disk["total"]) if disk["total"] else 0.0


def airflow_version(release: str) -> str:
    """Return the Airflow version of a release's id."""
    return release.rpartition("-")[0]


def drift_of(host: Host) -> list[str]:
    """Return the differences, as far as they are known."""
    status = host.status or {}
    units = [(unit["name"].removesuffix(".service"), unit) for unit in status.get("units", ())]
    stale = [f"{name} runs with an older {path}" for name, unit in units for path in unit["stale"]]
    reload = [f"{name} needs a daemon-reload" for name, unit in units if unit["reload"]]
    return [*stale, *reload, *(f"{playbook('site')} would change it: {task}" for task in host.drift or ())]


def drain_of(host: Host) -> Mapping[str, str] | None:
    """Return since when, by what and why its worker is drained; None when it is not."""
    return (host.status or {}).get("drained")


def is_idle(unit: Mapping[str, Any]) -> bool:
    """Return whether a unit has nothing to do: a step that has run, or what a timer starts."""
    return unit["state"] == "inactive" and not unit["enabled"]


def _is_healthy(unit: Mapping[str, Any]) -> bool:
    """Return whether a unit runs; a oneshot is activating for as long as it works."""
    works = unit["type"] == "oneshot" and unit["state"] == "activating" and unit["sub"].startswith("start")
    return works or unit["state"] in ("active", "reloading")


def _missing_groups(host: Host, unit: Mapping[str, Any]) -> Sequence[str]:
    """Return the groups of which the host had to be in one to have this unit; nothing where it may have the unit."""
    part = part_of(unit["name"])
    if part is None or set(part.groups) & set(host.groups):
        return ()
    # A unit of a package may be somebody else's, and one that is disabled is nobody's.
    return () if part.packaged and (not unit["ours"] or is_idle(unit)) else part.groups


def _unit_reasons(host: Host, now: float) -> list[str]:
    units = (host.status or {}).get("units", ())
    found = []
    for unit in units:
        name = unit["name"].removesuffix(".service")
        if groups := _missing_groups(host, unit):
            found.append(
                f"unit {name} is there, and the host is not in group {' or '.join(groups)}: run {command('site')}"
            )
            continue
        if is_idle(unit):
            continue
        if drain_of(host) and name in ("airflow-worker", "airflow-worker-watchdog"):
            continue
        if not _is_healthy(unit):
            why = f" ({unit['result']})" if unit["result"] not in ("", "success") else ""
            found.append(f"unit {name} is {unit['state']}{why} since {moment(unit['since'])}")
    for part in PARTS:
        groups = [group for group in part.groups if group in host.groups]
        for pattern in part.runs if groups else ():
            matching = [unit for unit in units if fnmatch.fnmatchcase(unit["name"], pattern)]
            # What is enabled has been told above.
            if not any(unit["enabled"] or unit["state"] not in ("inactive",) for unit in matching):
                found.append(
                    f"no unit {pattern.removesuffix('.service')} runs, and the host is in group {' and '.join(groups)}"
                )
    return found


def host_reasons(host: Host, now: float, limits: Limits) -> list[str]:
    """Return why a host is not healthy; nothing when it is."""
    status = host.status
    if status is None:
        return [host.error or "it gave no answer"]
    found = _unit_reasons(host, now)
    for path, disk in status["disks"].items():
        if used_percent(disk) >= limits.disk_percent:
            found.append(f"{path} is {used_percent(disk):.0f} % full, {size(disk['free'])} free")
    for path, expires in status["certificates"].items():
        if expires is None:
            found.append(f"certificate {path} can't be read")
        elif expires <= now:
            found.append(f"certificate {path} has expired on {moment(expires)}")
        elif expires - now < limits.certificate_days * 86400:
            found.append(f"certificate {path} expires in {span(expires - now)}, on {moment(expires)}")
    if host.clock is None:
        found.append("its clock could not be compared")
    # As far as it is proven: a slow connection must not look like a wrong clock.
    elif abs(host.clock["offset"]) - host.clock["uncertainty"] > limits.clock_offset:
        found.append(f"its clock is {host.clock['offset']:+.1f} s off the controller's")
    if "airflow" in host.groups and not status["release"]:
        found.append("no release of the runtime is current")
    backup = status["backup"]
    if backup is not None and not backup["ok"]:
        found.append("the last backup failed, or its verification did")
    elif backup is not None and now - backup["time"] > limits.backup_days * 86400:
        found.append(f"the last backup is {span(now - backup['time'])} old")
    if (quarantine := status["quarantined"]) is not None:
        cause = "The run that failed has printed the cause"
        if quarantine["since"]:
            cause = f"Release {quarantine['release']} failed at {quarantine['since']}: {quarantine['why']}"
        found.append(
            "the worker is quarantined: its canary has not passed after an upgrade or a rollback. "
            f"{cause}. Fix the cause and run the same operation again"
        )
    return found + [f"drift: {difference}" for difference in drift_of(host)]


def _version_reasons(cluster: Cluster) -> list[str]:
    versions: dict[str, list[str]] = {}
    for host in cluster.hosts:
        if host.status and host.status["release"]:
            versions.setdefault(airflow_version(host.status["release"]), []).append(host.name)
    if len(versions) < 2:
        return []
    told = "; ".join(f"{version} on {', '.join(hosts)}" for version, hosts in sorted(versions.items()))
    return [f"cluster: different Airflow versions: {told}"]


def _job_reasons(cluster: Cluster) -> list[str]:
    database = cluster.part("database")
    if database is None:
        return []
    found = []
    for host in cluster.hosts:
        for group, kind in GROUP_JOBS.items():
            if group not in host.groups:
                continue
            jobs = [job for job in database["jobs"] if job["type"] == kind and job["host"] == host.address]
            if not jobs:
                found.append(f"{host.name}: {kind} has no heartbeat in the metadata database")
            found += [
                f"{host.name}: the last heartbeat of {kind} is {span(job['age'])} old, {span(job['limit'])} allowed"
                for job in jobs
                if job["age"] > job["limit"]
            ]
    return found


def _worker_reasons(cluster: Cluster) -> list[str]:
    answered = cluster.part("workers")
    if answered is None:
        return []
    wanted = {f"celery@{host.name}": host.name for host in cluster.hosts if "airflow_worker" in host.groups}
    silent = {host.name for host in cluster.hosts if drain_of(host)}
    found = [
        f"{host}: the Celery worker does not answer"
        for name, host in wanted.items()
        if name not in answered and host not in silent
    ]
    # A worker that was removed only half takes tasks that nobody expects there.
    found += [
        f"cluster: {name} answers, and no host in group airflow_worker is it"
        for name in sorted({*answered} - {*wanted})
    ]
    return found


def _queue_reasons(cluster: Cluster) -> list[str]:
    waiting, answered = cluster.part("queues"), cluster.part("workers")
    if waiting is None or answered is None:
        return []
    served = {queue for worker in answered.values() for queue in worker["queues"] or ()}
    # A worker that did not tell its queues may serve any.
    if any(worker["queues"] is None for worker in answered.values()):
        return []
    return [
        f"cluster: queue {queue} has {depth} messages, and no worker takes them"
        for queue, depth in waiting.items()
        if depth and queue not in served
    ]


def reasons(cluster: Cluster) -> list[str]:
    """Return a message for everything that is not healthy; an empty list if the cluster is healthy."""
    found = [
        f"{host.name}: {reason}" for host in cluster.hosts for reason in host_reasons(host, cluster.now, cluster.limits)
    ]
    found += _version_reasons(cluster)
    if cluster.probe is None:
        found.append(f"cluster: tasks, queues and workers could not be queried: {cluster.probe_error or 'no answer'}")
    else:
        found += [f"cluster: {part} could not be queried: {why}" for part, why in cluster.probe["errors"].items()]
    return [*found, *_job_reasons(cluster), *_worker_reasons(cluster), *_queue_reasons(cluster)]
