"""Print what one host of a cluster holds now, as one line of JSON: series name to number.

Runs as root with the Python of the system: soak_benchmark.py sends it to each host.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

# The beginning of their names
UNITS = ("airflow-", "redis-server", "postgresql@", "haproxy")
DIRECTORIES = {
    "files": ("/var/lib/airflow", "/var/cache/airflow", "/opt/airflow", "/etc/airflow", "/tmp"),
    "journal": ("/var/log/journal", "/run/log/journal"),
    "Redis' files": ("/var/lib/redis",),
    "PostgreSQL's log": ("/var/log/postgresql",),
}
ROWS = "select 'rows of ' || current_database(), coalesce(sum(n_live_tup), 0)::bigint from pg_stat_user_tables"
SIZE = "select 'MiB of ' || current_database(), pg_database_size(current_database()) >> 20"
SESSIONS = "select 'sessions of ' || current_database(), count(*) from pg_stat_activity"
LOGIN = (
    r"REDISCLI_AUTH=$(sed -n 's|.*rediss://airflow:\([^@]*\)@.*|\1|p' /etc/airflow/secrets/scheduler.env) "
    "redis-cli --no-auth-warning --user airflow --tls --cacert /etc/airflow/tls/ca.pem -h 127.0.0.1 "
)


def output(*command: str) -> list[str]:
    """Return the lines that a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def memory(process: Path) -> int:
    """Return the memory that a process does not share with a file, in KiB: of a page that several have, its part.

    The journal, which a log shipper maps, may be on a file system in memory, so that its pages count as shared memory.
    """
    (size,) = re.findall(r"^Pss_Anon: +(\d+) kB$", (process / "smaps_rollup").read_text(), re.MULTILINE)
    return int(size)


def units(found: Counter[str]) -> None:
    """Count memory, open files and processes of each unit."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended
            # From /proc: the path below /sys/fs/cgroup depends on the version of the control groups.
            unit = re.findall(r"/([^/\n]+)[.]service", (process / "cgroup").read_text())
            if unit and unit[-1].startswith(UNITS):
                found[f"KiB of {unit[-1]}"] += memory(process)
                found[f"open files of {unit[-1]}"] += sum(1 for _ in (process / "fd").iterdir())
                found[f"processes of {unit[-1]}"] += 1


def directories(found: Counter[str]) -> None:
    """Count files and their size."""
    for name, roots in DIRECTORIES.items():
        for root in map(Path, roots):
            for directory, _, files in os.walk(root):
                for file in files:
                    with contextlib.suppress(OSError):
                        found[f"KiB of {name}"] += (Path(directory) / file).lstat().st_blocks // 2
                        found[f"number of {name}"] += 1


def databases(found: Counter[str]) -> None:
    """Count the rows of the databases, and the sessions."""
    for port, database in ((5432, "airflow"), (5433, "celery_results")):
        psql = ("runuser", "-u", "postgres", "--", "psql", "-p", str(port), "-d", database, "-At", "-F", "\t")
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # PostgreSQL is on another host
            for line in output(*psql, *(part for query in (ROWS, SIZE, SESSIONS) for part in ("-c", query))):
                name, _, count = line.partition("\t")
                found[name] += int(count)


def messages(found: Counter[str]) -> None:
    """Count the messages of the broker."""
    if not Path("/etc/redis/users.acl").exists():
        return
    for queue in output("sh", "-c", f"{LOGIN} smembers airflow.queues"):
        if queue:
            found[f"messages in queue {queue}"] += int(output("sh", "-c", f"{LOGIN} llen '{queue}'")[0])
    found["messages not acknowledged"] += len(
        list(filter(None, output("sh", "-c", f"{LOGIN} zrange unacked_index 0 -1")))
    )


def main() -> None:
    """Count everything, and print."""
    found: Counter[str] = Counter()
    for count in (units, directories, databases, messages):
        count(found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
