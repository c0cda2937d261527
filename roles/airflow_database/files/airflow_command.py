#!/usr/bin/python3
"""``airflow`` on this host with the settings of the cluster, as in: sudo airflow dags list

The command runs as a user who reads none of the caller's files, in a service with a /tmp of its own. So a file that a
subcommand reads is copied to where that user alone reads it, and a file that a subcommand writes is copied back.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, NoReturn

AIRFLOW_RUN = "/usr/local/sbin/airflow-run"
RUNTIME = Path("/opt/airflow/current")
CLI = "lib/python3*/site-packages/airflow_celery_cluster/cli.py"
HOME = "/var/lib/airflow"
# Not below /tmp, of which the service has one of its own, and not in memory.
COPIES = Path("/var/cache/airflow")
STDIN = ("-", "/dev/stdin", "/proc/self/fd/0", "/dev/fd/0")
STDOUT = ("-", "/dev/stdout", "/proc/self/fd/1", "/dev/fd/1")
READ, WRITE, FOLDER = "read", "write", "folder"

# The subcommands whose positional argument is a file.
POSITIONAL = {
    **dict.fromkeys([(name, "import") for name in ("connections", "pools", "roles", "users", "variables")], READ),
    **dict.fromkeys([(name, "export") for name in ("connections", "pools", "roles", "users", "variables")], WRITE),
}
# Those of their options that take a value, which is no file.
VALUES = (
    ("-a", "--action-on-existing-key"),
    ("-o", "--output"),
    ("--file-format",),
    ("--format",),
    ("--serialization-format",),
)
OPTIONS: dict[tuple[str, str], dict[tuple[str, ...], str]] = {
    ("dags", "show"): {("-s", "--save"): WRITE},
    ("dags", "show-dependencies"): {("-s", "--save"): WRITE},
    ("dags", "test"): {("-f", "--dagfile-path"): READ, ("--save-dagrun",): WRITE},
    ("db", "export-archived"): {("--output-path",): FOLDER},
}
MARK = "\0file"


class CannotParse(Exception):
    """The arguments are not complete; Airflow says what is missing."""


class Parser(argparse.ArgumentParser):
    """A parser that leaves the error message to Airflow."""

    def error(self, message: str) -> NoReturn:
        raise CannotParse(message)


@dataclass(frozen=True)
class FileArgument:
    """An argument that names a file of the caller.

    :param index: of the argument.
    :param before: what stands before the name in the same argument, such as ``--save=``.
    :param name: as the caller has written it.
    :param kind: ``read``, ``write`` or ``folder``.
    """

    index: int
    before: str
    name: str
    kind: str


def spellings(argument: str) -> Iterator[tuple[str, str]]:
    """Yield an argument as (what may stand before a value, value), in every way that argparse knows."""
    if not argument.startswith("-") or argument in STDIN:
        yield "", argument
    elif argument.startswith("--"):
        name, sign, value = argument.partition("=")
        if sign:
            yield name + sign, value
    elif len(argument) > 2:
        yield argument[:2], argument[2:]


def file_arguments(arguments: Sequence[str]) -> list[FileArgument]:
    """Return the arguments of an ``airflow`` command that name a file of the caller."""
    command = (arguments[0], arguments[1]) if len(arguments) > 1 else ("", "")
    rest = list(arguments[2:])
    parser = Parser(add_help=False)
    kinds: dict[str, str] = {}
    for flags, kind in OPTIONS.get(command, {}).items():
        kinds[parser.add_argument(*flags).dest] = kind
    if command in POSITIONAL:
        for flags in VALUES:
            parser.add_argument(*flags)
        kinds[parser.add_argument("file").dest] = POSITIONAL[command]
    found = []
    # Which argument is the file: the one after whose replacement the parser returns the replacement.
    for place, argument in enumerate(rest) if kinds else ():
        for before, value in spellings(argument):
            try:
                parsed = vars(parser.parse_known_args([*rest[:place], before + MARK, *rest[place + 1 :]])[0])
            except CannotParse:
                continue
            kind = next((kind for name, kind in kinds.items() if parsed[name] == MARK), "")
            if kind and value:
                found.append(FileArgument(place + 2, before, value, kind))
                break
    return found


def ending(data: bytes) -> str:
    """Return the ending of a file name from which Airflow takes the format of what it reads."""
    try:
        json.loads(data)
    except ValueError:
        lines = [line for line in data.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]
        return ".env" if all(re.match(rb"[A-Za-z_][A-Za-z0-9_.-]*=", line) for line in lines) else ".yaml"
    return ".json"


def give(path: Path, owner: os.stat_result) -> None:
    """Let one user alone have a file or directory."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    os.chown(path, owner.st_uid, owner.st_gid)


def copy_in(argument: FileArgument, folder: Path) -> Path:
    """Copy what the caller has into a folder, and return the copy."""
    path = Path(argument.name)
    if argument.name in STDIN or not path.is_file():
        # A pipe has no ending, and can be read once.
        with sys.stdin.buffer if argument.name in STDIN else path.open("rb") as source:
            data = source.read()
        copy = folder / ("stdin" + ending(data))
        copy.write_bytes(data)
        return copy
    copy = folder / path.name
    shutil.copyfile(path, copy)
    return copy


def copy_out(source: BinaryIO, path: Path) -> None:
    """Write a file of the caller. One that is new belongs to the caller alone; another one keeps owner and mode."""
    try:
        # Without O_CREAT: the kernel refuses to create over another user's file in a directory like /tmp.
        target = os.open(path, os.O_WRONLY | os.O_TRUNC)
    except FileNotFoundError:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchown(target, int(os.environ.get("SUDO_UID", 0)), int(os.environ.get("SUDO_GID", 0)))
    with os.fdopen(target, "wb") as copy:
        shutil.copyfileobj(source, copy)


def written(folder: int, owner: os.stat_result) -> Iterator[tuple[str, BinaryIO]]:
    """Yield name and content of each file in a folder that the command has written itself.

    A DAG that the command has run may have left a link to somebody else's file.
    """
    for name in sorted(os.listdir(folder)):
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except OSError:
            continue
        with os.fdopen(handle, "rb") as file:
            state = os.fstat(file.fileno())
            if stat.S_ISREG(state.st_mode) and state.st_uid == owner.st_uid and state.st_nlink == 1:
                yield name, file


def forward(source: IO[bytes], target: BinaryIO, names: dict[bytes, bytes]) -> None:
    """Copy lines, with the caller's names of files in place of those of the copies."""
    for line in source:
        for copy, name in names.items():
            line = line.replace(copy, name)
        target.write(line)
        target.flush()


def prepare(argument: FileArgument, folder: Path, owner: os.stat_result) -> Path:
    """Fill a folder for one argument, and return the path that the command gets."""
    path = Path(argument.name)
    copy = folder
    if argument.kind == READ:
        copy = copy_in(argument, folder)
        give(copy, owner)
    elif argument.kind == FOLDER:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), argument.name)
    elif argument.name in STDOUT:
        copy = folder / "stdout.json"
    else:
        wrong = errno.EISDIR if path.is_dir() else 0 if path.parent.is_dir() else errno.ENOENT
        if wrong:
            raise OSError(wrong, os.strerror(wrong), argument.name)
        copy = folder / path.name
    give(folder, owner)
    return copy


def run_with_files(command: list[str], arguments: list[str], files: list[FileArgument], folder: Path) -> int:
    """Run a command with copies of the caller's files; return its exit code."""
    owner = Path(HOME).stat()
    names: dict[bytes, bytes] = {}
    folders: dict[FileArgument, int] = {}
    for number, argument in enumerate(files):
        place = folder / str(number)
        place.mkdir()
        copy = prepare(argument, place, owner)
        folders[argument] = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        names[bytes(copy)] = argument.name.encode()
        arguments[argument.index] = f"{argument.before}{copy}"
    # The file itself has standard output for itself.
    to_stdout = any(argument.kind == WRITE and argument.name in STDOUT for argument in files)
    stdin = subprocess.DEVNULL if any(argument.name in STDIN and argument.kind == READ for argument in files) else None
    with subprocess.Popen(
        [*command, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        threads = [
            threading.Thread(
                target=forward,
                args=(process.stdout, sys.stderr.buffer if to_stdout else sys.stdout.buffer, names),
            ),
            threading.Thread(target=forward, args=(process.stderr, sys.stderr.buffer, names)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        code = process.wait()
    for argument, handle in folders.items():
        for name, content in written(handle, owner) if code == 0 and argument.kind != READ else ():
            if argument.name in STDOUT and argument.kind == WRITE:
                shutil.copyfileobj(content, sys.stdout.buffer)
            elif argument.kind == FOLDER:
                copy_out(content, Path(argument.name, name))
            elif name == Path(argument.name).name:
                copy_out(content, Path(argument.name))
    return code


def main() -> int:
    """Run one command."""
    if os.geteuid() != 0:
        print("airflow: run it as root (sudo airflow ...); the settings hold secrets", file=sys.stderr)
        return 1
    arguments = sys.argv[1:]
    # A release from before a rollback may lack the module.
    command = [AIRFLOW_RUN, "database", "airflow_celery_cluster.cli" if list(RUNTIME.glob(CLI)) else "airflow"]
    files = file_arguments(arguments)
    if not files:
        os.execv(command[0], [*command, *arguments])
    # Whatever the caller's umask is: nobody reads a copy before it has its owner, and the user of the command passes.
    os.umask(0o077)
    if not COPIES.is_dir():
        COPIES.mkdir()
        COPIES.chmod(0o755)
    folder = Path(tempfile.mkdtemp(prefix="command.", dir=COPIES))
    folder.chmod(0o711)
    try:
        return run_with_files(command, arguments, files, folder)
    except OSError as error:
        print(f"airflow: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
