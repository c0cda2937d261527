"""Every moment of a database cluster with a past of its own can be restored: forwards, backwards, twice, half.

A small cluster beside the real one, on the same machine and with the same programs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_inventory import Cluster
from faults.machines import Machines

pytestmark = pytest.mark.long

ROOT = "/var/tmp/moments"


class Database:
    """A scratch database cluster on the machine of the real one, and its own repository."""

    def __init__(self, cluster: Cluster) -> None:
        self._machines = Machines(cluster)
        self._host = cluster.first("postgres")
        settings = json.loads(self._machines.run(self._host, "cat", "/etc/airflow/backup.json"))
        self._programs = settings["programs"]
        settings |= {name: f"{ROOT}/{name}" for name in ("data", "repository", "state")}
        settings |= {"config": f"{ROOT}/data", "socket": ROOT, "port": 5999, "verify": "checksums"}
        settings["pgbackrest"] = ["/usr/bin/pgbackrest", f"--config={ROOT}/pgbackrest.conf"]
        self._shell(f"rm -rf {ROOT}; install -d -o postgres {ROOT} {ROOT}/state")
        self._write("backup.json", json.dumps(settings))
        self._write(
            "pgbackrest.conf",
            f"[global]\nrepo1-path={ROOT}/repository\nlock-path={ROOT}/lock\nlog-level-file=off\nlog-level-console=info\n"
            f"start-fast=y\nrepo1-retention-full=9\n[main]\npg1-path={ROOT}/data\npg1-port=5999\npg1-socket-path={ROOT}\n",
        )
        self._postgres(f"{self._programs}/initdb -D {ROOT}/data -A peer")
        self._write(
            "data/postgresql.auto.conf",
            f"listen_addresses = ''\nport = 5999\nunix_socket_directories = '{ROOT}'\narchive_mode = on\n"
            f"archive_command = '/usr/bin/pgbackrest --config={ROOT}/pgbackrest.conf --stanza=main archive-push %p'\n",
        )
        self.start()
        self._postgres(f"pgbackrest --config={ROOT}/pgbackrest.conf --stanza=main stanza-create")
        self._postgres(f"{self._programs}/createdb -h {ROOT} -p 5999 airflow")
        self.sql("CREATE TABLE dag_run (id int)")

    def _shell(self, script: str) -> str:
        return self._machines.shell(self._host, script)

    def _write(self, name: str, text: str) -> None:
        self._machines.told(self._host, text, "runuser", "-u", "postgres", "--", "tee", f"{ROOT}/{name}")

    def _postgres(self, command: str) -> str:
        return self._shell(f"cd /; runuser -u postgres -- {command}")

    def start(self) -> None:
        self._postgres(f"{self._programs}/pg_ctl --pgdata={ROOT}/data --log={ROOT}/log --wait start >/dev/null")

    def stop(self, mode: str = "fast") -> None:
        self._postgres(f"{self._programs}/pg_ctl --pgdata={ROOT}/data --mode={mode} stop")

    def remove(self) -> None:
        stop = f"{self._programs}/pg_ctl --pgdata={ROOT}/data --mode=immediate stop"
        self._shell(f"cd /; runuser -u postgres -- {stop} || true; rm -rf {ROOT}")

    def sql(self, statement: str) -> str:
        return self._postgres(f'{self._programs}/psql -h {ROOT} -p 5999 -XAtq airflow -c "{statement}"').strip()

    def program(self, *arguments: str) -> Any:
        said = self._postgres(f"/usr/local/sbin/airflow-backup --settings={ROOT}/backup.json {' '.join(arguments)}")
        return json.loads(said.splitlines()[-1])

    def add(self, row: int) -> str:
        """Add a row, and return a moment after that."""
        self.sql(f"INSERT INTO dag_run VALUES ({row})")
        return self.sql(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')".replace('"', '\\"')
        )

    def restore(self, moment: str | None = None) -> str:
        """Restore and start; return the rows that are there."""
        self.program("restore", *([f"--to={moment}"] if moment else []))
        self.start()
        return self.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM dag_run")


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[Database]:
    made = Database(cluster)
    yield made
    made.remove()


def test_moments(database: Database) -> None:
    database.add(1)
    database.program("full")
    second = database.add(2)
    database.add(3)
    database.program("diff")
    fourth = database.add(4)
    database.add(5)
    database.stop()
    # Back, and once more, as after an interrupted restore
    database.program("restore", f"--to={second}")
    assert database.restore(second) == "1,2"
    database.stop("immediate")
    # The newest backup is of what was left behind; the present of the database is reached from the one before.
    assert database.restore() == "1,2"
    database.add(6)
    database.stop()
    assert database.restore() == "1,2,6"
    database.stop()
    # Who went back too far: what was left behind is still there.
    assert database.restore(fourth) == "1,2,3,4"
    database.program("full")
    database.add(7)
    database.stop()
    assert database.restore() == "1,2,3,4,7"


def test_a_running_database_is_not_replaced(database: Database) -> None:
    with pytest.raises(RuntimeError, match="is running"):
        database.program("restore")


def test_a_moment_after_the_end_of_the_archive_is_told(database: Database) -> None:
    database.add(8)
    moment = database.add(9)
    # As the loss of the machine: what was not archived yet is lost.
    database.stop("immediate")
    with pytest.raises(RuntimeError, match="WAL ends before"):
        database.program("restore", f"--to={moment}")
    assert database.restore().startswith("1,2,3,4,7")
