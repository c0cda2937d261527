"""Sends the log files of this host again that a log store has not, or has with another size.

A restored or added log store is empty, and a log shipper that was killed while a log store was unavailable has lost
lines. The files are on the hosts that wrote them, for ``airflow_housekeeping_local_log_days``. ::

    airflow-run worker airflow_celery_cluster.resend_logs ADDRESS_OF_A_LOG_STORE... < stored

The standard input has a line for each stored file of all hosts: address of the log store, size in bytes and path, with
tabs between them. The result is a line of JSON: ``files`` and ``bytes`` that were sent to the shipper. The UI shows no
line of a log twice.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from airflow_celery_cluster.log_sender import LONGEST, Tail

# Bytes per second. A log store takes more, so the spool of the shipper, which drops lines when it is full, stays small.
RATE = 5_000_000
# Seconds that the shipper may take for a batch.
TIMEOUT = 60.0


def own_address(store: str) -> str:
    """Return the address of this host as a log store sees it. Nothing is sent."""
    family, kind, protocol, _name, target = socket.getaddrinfo(store, 1, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def size_in_lines(file: Path) -> int:
    """Return the bytes of a file up to the end of its last whole line: what a log store can have of it."""
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - LONGEST))
        data = opened.read()
    return size - len(data) + data.rfind(b"\n") + 1


def different(directory: Path, stored: Mapping[str, Mapping[str, int]]) -> Iterator[Path]:
    """Yield the log files below a directory that a log store has not, or has with another size.

    A log store that has missed lines may have others twice, and then it has more bytes.

    :param stored: address of each log store to paths and sizes of its files.
    """
    own = {store: own_address(store) for store in stored}
    for file in sorted(directory.rglob("*")):
        if file.is_symlink() or not file.is_file():
            continue
        name = str(file.relative_to(directory))
        size = size_in_lines(file)
        if "\t" not in name and any(files.get(f"{name}.{own[store]}", 0) != size for store, files in stored.items()):
            yield file


def resend(address: str, directory: Path, stored: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Send files to the shipper; return how many files and bytes.

    :param address: Unix socket of the shipper.
    """
    sent = {"files": 0, "bytes": 0}
    begun = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(address)
        for file in different(directory, stored):
            tail = Tail(str(file), os.fsencode(str(file.relative_to(directory))), 0)
            data, tail.offset = tail.read()
            while data:
                connection.sendall(tail.message(data))
                sent["bytes"] += len(data)
                time.sleep(max(0.0, begun + sent["bytes"] / RATE - time.monotonic()))
                data, tail.offset = tail.read()
            sent["files"] += 1
    return sent


def read_stored(stores: Iterable[str], lines: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the files of each log store with their sizes.

    :param stores: addresses of all log stores, because one without a file has no line.
    """
    stored: dict[str, dict[str, int]] = {store: {} for store in stores}
    for line in lines:
        store, size, path = line.rstrip("\n").split("\t", 2)
        stored[store][path] = int(size)
    return stored


def main(stores: Sequence[str]) -> None:
    """Send what differs from the stored files of these log stores."""
    from airflow.configuration import conf

    stored = read_stored(stores, (line for line in sys.stdin if line.strip()))
    sent = resend(conf.get("task_logs", "socket"), Path(conf.get("logging", "base_log_folder")), stored)
    print(json.dumps(sent))


if __name__ == "__main__":
    main(sys.argv[1:])
