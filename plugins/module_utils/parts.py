"""Which units and files belong to which inventory group, so that a host that leaves a group keeps none of them."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

UNITS = "/etc/systemd/system"
# Of the schedulers, one has the access to the databases for the deployment's own steps.
FIRST_SCHEDULER = "airflow_scheduler[0]"
EVERY_GROUP = (
    "postgres",
    "redis",
    "haproxy",
    "airflow_scheduler",
    "airflow_api_server",
    "airflow_dag_processor",
    "airflow_triggerer",
    "flower",
    "airflow_worker",
)


@dataclass(frozen=True)
class Part:
    """What runs on the hosts of a group.

    :param groups: a host of any of them has the part.
    :param units: names of its units, as patterns.
    :param files: its files besides units, with its secrets, as patterns. Data and logs are none of them.
    :param packaged: whether the units are of a Debian package. Then they are the cluster's where it has a drop-in.
    :param runs: the units that must run on each host of the group, as patterns.
    :param component: of host_state, to which a file belongs that another application may have under the same name.
    """

    groups: tuple[str, ...]
    units: tuple[str, ...]
    files: tuple[str, ...] = ()
    packaged: bool = False
    runs: tuple[str, ...] = ()
    component: str = ""


def _process(group: str, name: str, *files: str, certificate: bool = False, instances: bool = False) -> Part:
    """Return the part of one Airflow process. Of the drop-ins, only that of the deployment is a part of it."""
    unit = f"airflow-{name}{'@*' if instances else ''}.service"
    return Part(
        (group,),
        (unit,),
        (
            *(f"/etc/airflow/{name}{end}" for end in (("", "@*") if instances else ("",))),
            *(
                f"/etc/airflow/secrets/{name}{end}{kind}.env"
                for end in (("", "@*") if instances else ("",))
                for kind in ("", "-environment")
            ),
            *((f"/etc/airflow/tls/{name}.pem", f"/etc/airflow/tls/{name}.pem.key") if certificate else ()),
            f"{UNITS}/airflow-{name}{'@' if instances else ''}.service.d/airflow-memory.conf",
            *files,
        ),
        runs=(unit,),
    )


PARTS = (
    Part(
        ("postgres",),
        ("postgresql@*.service",),
        ("/etc/airflow/tls/postgres.pem", "/etc/airflow/tls/postgres.pem.key"),
        packaged=True,
        runs=("postgresql@*.service",),
    ),
    Part(
        ("postgres",),
        ("airflow-backup@*.service", "airflow-backup-*.timer"),
        (
            "/etc/pgbackrest.conf",
            "/etc/airflow/backup.json",
            "/usr/local/lib/airflow-backup",
            "/usr/local/sbin/airflow-backup",
        ),
        component="backup",
    ),
    Part(
        ("redis",),
        ("redis-server.service",),
        ("/etc/redis/users.acl", "/etc/airflow/tls/redis.pem", "/etc/airflow/tls/redis.pem.key"),
        packaged=True,
        runs=("redis-server.service",),
        component="redis",
    ),
    Part(
        ("haproxy",),
        ("haproxy.service",),
        tuple(f"/etc/airflow/tls/{name}.pem{end}" for name in ("haproxy", "public") for end in ("", ".key")),
        packaged=True,
        runs=("haproxy.service",),
    ),
    Part(
        ("airflow_api_server",),
        ("airflow-log-store.service",),
        ("/etc/airflow/log-store.conf", "/etc/airflow/tls/log-store.pem", "/etc/airflow/tls/log-store.pem.key"),
        runs=("airflow-log-store.service",),
    ),
    Part(
        EVERY_GROUP,
        ("airflow-log-shipper.service",),
        ("/etc/airflow/log-shipper.conf", "/etc/airflow/tls/log-shipper.pem", "/etc/airflow/tls/log-shipper.pem.key"),
        runs=("airflow-log-shipper.service",),
    ),
    _process("airflow_scheduler", "scheduler", "/etc/airflow/scheduler.env"),
    _process("airflow_api_server", "api-server", certificate=True, instances=True),
    _process("airflow_api_server", "execution-api", certificate=True, instances=True),
    _process("airflow_dag_processor", "dag-processor"),
    _process("airflow_triggerer", "triggerer"),
    _process("flower", "flower", certificate=True),
    _process("airflow_worker", "worker"),
    # Of Airflow's processes but the worker. An empty slice is no unit that runs.
    Part(
        ("airflow_scheduler", "airflow_api_server", "airflow_dag_processor", "airflow_triggerer", "flower"),
        (),
        (f"{UNITS}/airflow.slice",),
    ),
    Part(
        ("airflow_worker",),
        ("airflow-worker-watchdog.service",),
        ("/etc/airflow/secrets/worker-watchdog.env",),
    ),
    Part(
        (FIRST_SCHEDULER,),
        ("airflow-db-clean.timer", "airflow-db-clean.service"),
        ("/etc/airflow/database", "/etc/airflow/secrets/database.env", "/usr/local/bin/airflow"),
    ),
    Part(
        ("airflow_scheduler", "airflow_api_server", "airflow_dag_processor", "airflow_triggerer", "airflow_worker"),
        ("airflow-log-clean.timer", "airflow-log-clean.service"),
        ("/usr/local/sbin/airflow-log-clean",),
    ),
)


def part_of(unit: str) -> Part | None:
    """Return the part that a unit belongs to; None for a unit of the host itself or of somebody else."""
    return next((part for part in PARTS if any(fnmatch.fnmatchcase(unit, one) for one in part.units)), None)


def absent_parts(groups: Collection[str]) -> list[Part]:
    """Return the parts that a host of these groups does not have."""
    return [part for part in PARTS if not set(part.groups) & set(groups)]


def leftover_patterns(groups: Collection[str], components: Collection[str]) -> list[str]:
    """Return the files besides units that a host of these groups does not have, as patterns.

    :param components: those that the cluster has installed on the host, as host_state.own_components returns them.
    """
    absent = absent_parts(groups)
    return [file for part in absent if part.component in ("", *components) for file in part.files]


def leftover_units(paths: Iterable[str], groups: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the units to stop and the files to remove, of the files below ``/etc/systemd/system``.

    :param paths: unit files, links of enabled units and drop-ins, whose names begin with ``airflow-``.
    :param groups: the groups that the host is in.
    """
    absent = absent_parts(groups)
    units, files = set(), set()
    for path in paths:
        folder, _slash, name = path.rpartition("/")
        parent = folder.rpartition("/")[2]
        unit = parent.removesuffix(".d") if parent.endswith(".d") else name
        part = part_of(unit)
        if part not in absent or part is None or (unit is not name) != part.packaged:
            continue
        if "@." not in unit:
            units.add(unit)
        if part.packaged or folder == UNITS:
            files.add(path)
    # A timer would start what has been stopped.
    return sorted(units, key=lambda unit: (not unit.endswith(".timer"), unit)), sorted(files)


def emptied_directories(files: Collection[str]) -> list[str]:
    """Return the directories of drop-ins that hold nothing but these files."""
    directories = {os.path.dirname(path) for path in files if os.path.dirname(path).endswith(".d")}
    return sorted(one for one in directories if {os.path.join(one, name) for name in os.listdir(one)} <= set(files))
