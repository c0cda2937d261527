"""A PostgreSQL server that nobody else reaches, for a database that was just restored."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backup_tools import Problem, run


@dataclass(frozen=True)
class RestoredServer:
    """How the server is started and queried.

    :param programs: directory of PostgreSQL's programs.
    :param port: names the socket.
    """

    programs: Path
    port: int

    def connection(self, directory: Path) -> list[str]:
        """Return the options with which a client reaches a server that listens in a directory."""
        return [f"--host={directory}", f"--port={self.port}", "--username=postgres", "--no-password"]

    def query(self, statement: str, directory: Path, database: str) -> str:
        """Return the one value that a statement yields."""
        options = ["--no-psqlrc", "--tuples-only", "--no-align", f"--command={statement}", *self.connection(directory)]
        return run([self.programs / "psql", *options, database], quiet=True).strip()

    @contextlib.contextmanager
    def running(self, data: Path, config: Path, directory: Path) -> Iterator[None]:
        """Run a PostgreSQL server until it has recovered and can be asked, and stop it in order.

        Raises Problem when it ends before that.

        :param directory: where it listens, on a socket, and keeps its log: nobody else reaches it.
        """
        log = directory / "server.log"
        settings = {
            "config_file": config / "postgresql.conf",
            "hba_file": config / "pg_hba.conf",
            "ident_file": config / "pg_ident.conf",
            "external_pid_file": "",
            "listen_addresses": "",
            "unix_socket_directories": directory,
            "port": self.port,
            "ssl": "off",
            "logging_collector": "off",
            # A host with other limits than the one of the backup could not replay its WAL otherwise.
            "hot_standby": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(data), *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        try:
            self._wait_until_recovered(process, directory, log)
            yield
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            code = process.wait()
        if code != 0:
            raise Problem(f"PostgreSQL ended with {code}: {_end_of(log)}")

    def _wait_until_recovered(self, process: subprocess.Popen[bytes], directory: Path, log: Path) -> None:
        """Wait as long as it recovers: that may take hours, and it ends by itself when it cannot."""
        ready = [
            self.programs / "pg_isready",
            "--quiet",
            f"--host={directory}",
            f"--port={self.port}",
        ]
        while process.poll() is None:
            if subprocess.run([str(part) for part in ready], check=False).returncode == 0:
                return
            time.sleep(0.2)  # paces the asking; what is waited for is the answer
        raise Problem(f"PostgreSQL could not recover: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-12:])
