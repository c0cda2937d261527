"""Back up and restore the metadata database of a cluster, with pgBackRest.

    airflow-backup full | diff             back up, verify, and say so in last.json (the timers' units, as postgres)
    airflow-backup snapshot                make a copy of the repository that nothing changes (root)
    airflow-backup list                    print what is in the repository, as JSON (postgres)
    airflow-backup restore [--to TIME]     replace the database cluster, which must be stopped (postgres)

Only one of them works at a time. What it needs to know is in /etc/airflow/backup.json, which role ``backup`` writes;
the repository's passphrase is in pgBackRest's own configuration, and in no command line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backup_tools import Problem, Settings, alone, run, write
from restored_server import RestoredServer

SETTINGS = Path("/etc/airflow/backup.json")
# Beyond the size of the restored database: its own WAL, and what pg_dump and PostgreSQL write beside it.
SPARE_BYTES = 256 * 1024 * 1024
# File systems of which another machine has the disk.
ELSEWHERE = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "lustre", "9p"})
# No run of playbooks/backup.yml copies for longer.
COPY_SECONDS = 24 * 3600


def moment(text: str) -> datetime:
    """Return a time of ISO 8601 form, UTC unless it says otherwise. Raises Problem if it is none."""
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        if ":" not in text:
            raise ValueError("a day alone")
    except ValueError:
        raise Problem(
            f"{text!r} is no time. Expected: such as 2026-11-23 02:00:00 (UTC) or 2026-11-23T02:00:00+01:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def stopped(backup: Mapping[str, Any]) -> datetime:
    """Return when a backup ended: the earliest moment that can be restored from it."""
    return datetime.fromtimestamp(backup["timestamp"]["stop"], UTC)


def position(text: str) -> float:
    """Return a position in the WAL, such as 0/5000028, as a number."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def file_system(path: str, mounts: str) -> str:
    """Return the type of the file system that a directory is on.

    :param mounts: the text of /proc/self/mountinfo.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        left, _dash, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # Of two mounts at one place the later one is seen.
        if inside and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind


class Backup:
    """The backups of one database cluster."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.server = RestoredServer(settings.programs, settings.port)

    def pgbackrest(self, *arguments: str, quiet: bool = False) -> str:
        """Run pgBackRest; return what it printed. Raises Problem when it fails."""
        return run([*self.settings.pgbackrest, f"--stanza={self.settings.stanza}", *arguments], quiet)

    def info(self) -> dict[str, Any]:
        """Return what pgBackRest says of the stanza."""
        found: list[dict[str, Any]] = json.loads(self.pgbackrest("info", "--output=json", quiet=True))
        return found[0] if found else {}

    def backups(self) -> list[dict[str, Any]]:
        """Return the backups in the repository, oldest first."""
        found = self.info()
        code = int(found.get("status", {}).get("code", 1))
        # 0: ok, 1: no stanza, 2: no backup. Anything else is a repository that cannot be read.
        if code > 2:
            raise Problem(f"the repository cannot be read: {found['status'].get('message', code)}")
        return list(found.get("backup", []))

    @property
    def elsewhere(self) -> bool:
        """Whether the repository outlives this machine."""
        if not self.settings.repository:
            return True
        kind = file_system(self.settings.repository, Path("/proc/self/mountinfo").read_text())
        return kind in ELSEWHERE or kind.startswith("fuse.")

    # --- Back up ------------------------------------------------------------------------------------------------------
    def back_up(self, kind: str) -> dict[str, Any]:
        """Make a backup, verify it and write last.json. Raises Problem when one of them fails.

        :param kind: ``full`` or ``diff``. Without a full one before it, pgBackRest makes that instead.
        """
        started = time.time()
        self.remove_stale_copy()
        self.pgbackrest(f"--type={kind}", "backup")
        made, oldest = self.backups()[-1], self.backups()[0]
        # One for each time that the repository was told of another version of PostgreSQL
        *former, database = [str(one["system-id"]) for one in self.info()["db"]]
        record: dict[str, Any] = {
            "when": stopped(made).isoformat(),
            "kind": made["type"],
            "label": made["label"],
            "size_bytes": made["info"]["repository"]["delta"],
            "database_bytes": made["info"]["size"],
            "oldest": stopped(oldest).isoformat(),
            "elsewhere": self.elsewhere,
            "system_id": database,
            "former_system_ids": former,
            "verified": False,
        }
        try:
            self.verify(made)
        except Problem as problem:
            write(self.settings.state / "last.json", record | {"problem": str(problem)})
            raise
        record |= {"verified": True, "verified_by": self.settings.verify, "seconds": round(time.time() - started)}
        write(self.settings.state / "last.json", record)
        return record

    def verify(self, backup: Mapping[str, Any]) -> None:
        """Prove that WAL arrives, that every file has the checksum that it had, and that the backup can be restored."""
        self.pgbackrest("check")
        # It ends with 0 whatever it finds.
        said = self.pgbackrest("verify", "--output=text")
        if "status: error" in said:
            damaged = sorted(set(re.findall(r"backup: (\S+), status: (?!valid)", said))) or ["the archive"]
            raise Problem(
                f"the repository has damaged files, in {', '.join(damaged)}; the journal of this unit names them"
            )
        if self.settings.verify == "restore":
            self.try_out(backup)

    def try_out(self, backup: Mapping[str, Any]) -> None:
        """Restore a backup beside the database, start it, and read every row of it once."""
        scratch = self.settings.state / "verify"
        shutil.rmtree(scratch, ignore_errors=True)
        needed = int(backup["info"]["size"]) * 11 // 10 + SPARE_BYTES
        free = shutil.disk_usage(self.settings.state).free
        if free < needed:
            raise Problem(
                f"to verify the backup, {needed // 2**20} MiB are needed below {self.settings.state}, and "
                f"{free // 2**20} are free. Make room, or set backup_verify: checksums"
            )
        data, config = scratch / "data", scratch / "config"
        for directory in (scratch, data, config):
            directory.mkdir(mode=0o700)
        try:
            self.pgbackrest(
                *(f"--pg1-path={data}", f"--set={backup['label']}", "--archive-mode=off"),
                *("--type=immediate", "--target-action=promote", "restore"),
            )
            (config / "postgresql.conf").write_text(
                "shared_buffers = '16MB'\ndynamic_shared_memory_type = mmap\nhuge_pages = off\n"
                # A cluster that is removed in a minute
                "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nautovacuum = off\n"
                "archive_mode = off\njit = off\nmax_wal_size = '64MB'\n"
            )
            (config / "pg_hba.conf").write_text("local all postgres peer\n")
            (config / "pg_ident.conf").write_text("")
            with self.server.running(data, config, scratch):
                self.server.query("SELECT count(*) FROM dag_run", scratch, self.settings.database)
                dump = self.settings.programs / "pg_dump"
                run([dump, "--file=/dev/null", *self.server.connection(scratch), self.settings.database])
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    # --- Take away, bring back ----------------------------------------------------------------------------------------
    @property
    def copy(self) -> Path:
        """Where playbooks/backup.yml has the repository copied from."""
        return Path(self.settings.repository) / ".copy"

    def remove_stale_copy(self) -> None:
        """Remove the hard links that a killed playbooks/backup.yml has left: they keep expired backups on the disk."""
        with contextlib.suppress(FileNotFoundError):
            if self.settings.repository and time.time() - self.copy.stat().st_ctime > COPY_SECONDS:
                # A copy of an older version of this program belongs to root. The next playbooks/backup.yml replaces it.
                shutil.rmtree(self.copy, ignore_errors=True)

    def snapshot(self) -> str:
        """Make hard links to all that is in the repository; return their directory.

        pgBackRest replaces its files and changes none, so the links are the repository as it is now, whatever
        comes after.
        """
        if not self.settings.repository:
            raise Problem("the repository is no directory of this host")
        repository, copy = Path(self.settings.repository), self.copy
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(mode=0o700)
        # The owner of the repository removes what a killed run leaves.
        owner = repository.stat()
        os.chown(copy, owner.st_uid, owner.st_gid)
        for part in ("archive", "backup"):
            if (repository / part).exists():
                run(["cp", "--archive", "--link", repository / part, copy])
        return str(copy)

    def latest(self, backups: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the last backup from which the present of the database can be reached.

        Each restore begins a timeline of its own, and what came after the moment that was restored is no part of it:
        a backup of that cannot lead to it.
        """
        archive = f"archive/{self.settings.stanza}/{self.info()['archive'][-1]['id']}"
        listed = self.pgbackrest("repo-ls", archive, "--filter=^[0-9A-F]{8}\\.history$", quiet=True).split()
        if not listed:
            return backups[-1]
        history = self.pgbackrest("repo-get", f"{archive}/{max(listed)}", quiet=True)
        ends = {int(line.split()[0]): position(line.split()[1]) for line in history.splitlines() if line[:1].isdigit()}
        ends[int(max(listed).split(".")[0], 16)] = math.inf
        leading = [
            backup
            for backup in backups
            if position(backup["lsn"]["stop"]) <= ends.get(int(backup["archive"]["stop"][:8], 16), -1)
        ]
        if not leading:
            raise Problem("no backup leads to the present of the database. Restore to a moment in the past")
        return leading[-1]

    def restore(self, target: datetime | None) -> dict[str, Any]:
        """Replace the database cluster by what it was, and have it recover.

        :param target: the moment to return to; None for the latest that the repository knows.
        Raises Problem before anything is touched if there is no backup for that.
        """
        status = [str(self.settings.programs / "pg_ctl"), "status", f"--pgdata={self.settings.data}"]
        if subprocess.run(status, stdout=subprocess.DEVNULL, check=False).returncode == 0:
            raise Problem("the database cluster is running. Stop it first")
        found = self.backups()
        if not found:
            raise Problem("the repository has no backup")
        version = next(db["version"] for db in self.info()["db"] if db["id"] == found[-1]["database"]["id"])
        if version != self.settings.version:
            raise Problem(
                f"the backup is of PostgreSQL {version}, and this host has {self.settings.version}. Expected: the "
                "same. Restore to a host with the Debian release of the old one"
            )
        arguments, when = ["--delta"], ""
        if target:
            if not stopped(found[0]) < target < datetime.now(UTC):
                oldest = stopped(found[0]).isoformat()
                raise Problem(
                    f"{target.isoformat()} is not after the end of the oldest backup, {oldest}, and before now"
                )
            # pgBackRest and PostgreSQL both read this form.
            when = target.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
            # Along what the database did then, also where a restore since has led it elsewhere.
            arguments += ["--type=time", f"--target={when}", "--target-timeline=current", "--target-action=promote"]
        else:
            arguments.append(f"--set={self.latest(found)['label']}")
        self.pgbackrest(*arguments, "restore")
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            try:
                with self.server.running(self.settings.data, self.settings.config, directory):
                    last = self.server.query(
                        "SELECT pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC'", directory, "postgres"
                    )
            except Problem as problem:
                if "before configured recovery target" in str(problem):
                    raise Problem(
                        f"the repository's WAL ends before {when}. Restore to an earlier time, or to the latest that "
                        "it has. Until then the cluster has no database"
                    ) from None
                raise
        return {"recovered_to": f"{last} UTC" if last else "the end of the backup"}


def main() -> None:
    """Do what the command line says; print its result as JSON."""
    parser = argparse.ArgumentParser(
        prog="airflow-backup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("full", "diff", "snapshot", "list", "restore"))
    parser.add_argument("--to", help="time to return to, UTC unless it says otherwise; the latest without it")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # PostgreSQL 15 does not start in a directory that it may not enter, such as the home of who became postgres.
    os.chdir("/")
    try:
        target = moment(arguments.to) if arguments.to else None
        backup = Backup(Settings.load(arguments.settings))
        with alone(backup.settings.lock):
            result: Any
            if arguments.command == "snapshot":
                result = backup.snapshot()
            elif arguments.command == "list":
                result = backup.backups()
            elif arguments.command == "restore":
                result = backup.restore(target)
            else:
                result = backup.back_up(arguments.command)
    except Problem as problem:
        sys.exit(f"airflow-backup: {problem}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
