"""What the parts of airflow-backup share: settings, programs that are run, the lock, and files that are replaced."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Problem(Exception):
    """Something that a person has to know: what happened, and what to do."""


@dataclass(frozen=True)
class Settings:
    """What role ``backup`` has written.

    :param stanza: pgBackRest's name of the database cluster.
    :param version: PostgreSQL's major version on this host.
    :param data: the cluster's data directory.
    :param config: directory of its postgresql.conf, pg_hba.conf and pg_ident.conf.
    :param port: its port.
    :param socket: directory of its socket.
    :param repository: directory of the repository; "" if it is no directory of this host.
    :param database: the database that a restored backup is asked about.
    :param verify: ``restore`` or ``checksums``.
    :param state: directory of last.json, and of the clusters that verification restores.
    :param programs: directory of PostgreSQL's programs.
    :param pgbackrest: how to start pgBackRest.
    """

    stanza: str
    version: str
    data: Path
    config: Path
    port: int
    socket: Path
    repository: str
    database: str
    verify: str
    state: Path
    programs: Path
    pgbackrest: tuple[str, ...] = ("/usr/bin/pgbackrest",)

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read the file. Raises Problem if there is none."""
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            raise Problem(f"{path} is missing: deploy the cluster, which configures backups") from None
        for name in ("data", "config", "socket", "state", "programs"):
            found[name] = Path(found[name])
        if "pgbackrest" in found:
            found["pgbackrest"] = tuple(found["pgbackrest"])
        return cls(**found)

    @property
    def lock(self) -> Path:
        """What whoever works holds. Beside the socket, where both root and postgres may write."""
        return self.socket / f"airflow-backup-{self.stanza}.lock"


def say(text: str) -> None:
    """Print a progress message."""
    print(text, file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], quiet: bool = False) -> str:
    """Run a program and return what it printed; what it says on stderr goes to the journal.

    Raises Problem when it fails.
    """
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False)
    if not quiet and done.stdout:
        say(done.stdout.rstrip())
    if done.returncode != 0:
        said = " ".join(line for line in done.stdout.splitlines() if "ERROR" in line or "HINT" in line)
        raise Problem(
            f"{Path(command[0]).name} {_verb(command)} failed ({done.returncode}): {said or done.stdout[-500:]}"
        )
    return done.stdout


def _verb(command: Sequence[str | Path]) -> str:
    return next((str(part) for part in command[1:] if not str(part).startswith("-")), "")


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock; wait for whoever holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        # Whoever comes first makes it for both; whatever the umask, which only the owner can correct.
        with contextlib.suppress(PermissionError):
            os.fchmod(handle, 0o660)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another backup or restore is at work: waiting for its end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w") as file:
        json.dump(content, file)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(0o644)
    Path(name).replace(path)
