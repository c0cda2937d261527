"""Sends what is appended to log files to the shipper of this host, line by line, as soon as it is written.

The queue of lines that are to be sent is the log file itself: a thread reads on from where it was before. So nothing
has to be dropped while the shipper is stuck or absent, the memory is bounded, and what arrives is byte for byte what is
in the file. The writer only sets a flag, and never waits.

A line that the shipper has not sent or saved yet is lost when the shipper is killed. So after a lost connection the end
of what was sent is sent again. What the shipper has kept on its disk may arrive after newer lines. Whoever reads a
stored log puts both right: ``in_order``.
"""

from __future__ import annotations

import collections
import heapq
import logging
import math
import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# Seconds after a line in which further lines are gathered. The line itself is written a moment after the flag is set.
GATHER = 0.01
# Seconds between two looks at files without new lines, and between two attempts to connect.
IDLE = 1.0
# Seconds that the shipper may take to accept some bytes.
SEND_TIMEOUT = 0.5
# Bytes that are read and sent at a time, and the longest line that the shipper accepts as one: maxMessageSize in
# roles/log_shipper/templates/shipper.conf.j2. A longer one arrives in parts.
CHUNK = 256 * 1024
LONGEST = 1024 * 1024
# Bytes that are sent again after a lost connection: more than the socket and the memory of the shipper hold.
REPEAT = 1024 * 1024
# Lines that are put in order: more than REPEAT and the memory of the shipper hold.
WINDOW = 20_000
# How Airflow's lines begin.
TIME = '{"timestamp":"'
# Files whose end could not be sent yet. The oldest are given up first; their lines stay in the local files.
MOST_TAILS = 20_000


@dataclass
class Tail:
    """The part of a log file that has not been sent."""

    name: str
    path: bytes
    offset: int
    # Where the latest batches began.
    starts: collections.deque[int] = field(default_factory=collections.deque)

    def read(self) -> tuple[bytes, int]:
        """Return a batch of whole lines, and where the next one begins."""
        with Path(self.name).open("rb") as file:
            file.seek(self.offset)
            data = file.read(CHUNK)
            if b"\n" not in data and len(data) == CHUNK:
                data += file.read(LONGEST - CHUNK)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == LONGEST:
            return data, self.offset + LONGEST
        return data[:end], self.offset + end

    def message(self, data: bytes) -> bytes:
        """Return lines as the shipper takes them."""
        return b"".join(b"task\t%b\t%b\n" % (self.path, line) for line in data.removesuffix(b"\n").split(b"\n"))

    def accept(self, end: int) -> None:
        """A batch was sent."""
        self.starts.append(self.offset)
        self.offset = end
        while self.starts[0] < end - REPEAT and len(self.starts) > 1:
            self.starts.popleft()

    def repeat(self) -> None:
        """Send the latest batches again."""
        if self.starts:
            self.offset = self.starts[0]
            self.starts.clear()


class Sender:
    """Sends the lines of the log files below a directory.

    :param address: Unix socket of the shipper.
    :param directory: only files below it are sent, by their path from there.
    """

    def __init__(self, address: str, directory: str) -> None:
        self._address = address
        self._directory = directory.rstrip("/") + "/"
        self._socket: socket.socket | None = None
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Begin anew: a child sends nothing of what its parent writes."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._tails: dict[Any, Tail] = {}
        # Of the tail, the bytes that were not accepted yet, and the end of the batch.
        self._pending: tuple[Tail, memoryview, int] | None = None
        self._failing = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, file: Any) -> None:
        """Take note that a line is about to be appended to this open file."""
        if file not in self._tails and not self._begin(file):
            return
        self._wake.set()

    def _begin(self, file: Any) -> bool:
        name = getattr(file, "name", None)
        if not isinstance(name, str) or not name.startswith(self._directory) or "\t" in name or "\n" in name:
            return False
        with self._lock:
            begin = file.tell()
            # The same log, opened again: one tail goes on.
            before = next((one for one, tail in self._tails.items() if tail.name == name), None)
            tail = self._tails.pop(before, None)
            if tail is None or tail.offset > begin:
                tail = Tail(name, os.fsencode(name.removeprefix(self._directory)), begin)
            if len(self._tails) >= MOST_TAILS:
                lost = self._tails.pop(next(iter(self._tails)))
                log.warning("The end of %s was not sent to %s", lost.name, self._address)
            self._tails[file] = tail
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(target=self._run, name="log sender", daemon=True)
                self._thread.start()
        return True

    def finish(self, path: str, seconds: float) -> bool:
        """Send the rest of a file whose writer is about to close it, and return whether the shipper has all of it.

        There is no thread afterwards, so that the process can fork. What is left is tried again with the next file.

        :param path: from the directory.
        :param seconds: how long the shipper may take.
        """
        name = self._directory + path
        file, tail = next(((file, tail) for file, tail in self._tails.items() if tail.name == name), (None, None))
        if tail is None:
            return True
        self._stop.set()
        self._wake.set()
        if (thread := self._thread) is not None:
            thread.join()
        # A shipper that is known to be absent is not waited for.
        deadline = time.monotonic() + (SEND_TIMEOUT if self._failing else seconds)
        while not self._send_all(deadline) and time.monotonic() < deadline:
            time.sleep(GATHER)
        if self._pending is None and tail.offset >= Path(name).stat().st_size:
            self._tails.pop(file, None)
            return True
        return False

    def _run(self) -> None:
        while True:
            self._wake.wait(IDLE)
            self._wake.clear()
            self._stop.wait(IDLE if self._failing else GATHER)
            if not self._stop.is_set():
                self._send_all()
            with self._lock:
                if self._stop.is_set() or not self._tails:
                    self._thread = None
                    return

    def _send_all(self, deadline: float = math.inf) -> bool:
        """Send what the files have, and return whether the shipper accepted all of it.

        :param deadline: when to give up (monotonic clock).
        """
        try:
            self._connect()
            self._send_pending()
            for file, tail in list(self._tails.items()):
                # Asked before the last look: a line may be written in between.
                closed = file.closed
                try:
                    data, end = tail.read()
                    while data:
                        if time.monotonic() > deadline:
                            return False
                        self._pending = tail, memoryview(tail.message(data)), end
                        self._send_pending()
                        data, end = tail.read()
                except FileNotFoundError:
                    closed = True
                if closed:
                    self._tails.pop(file, None)
        except OSError as error:
            if not self._failing:
                log.warning("Lines of logs wait for the shipper at %s: %s", self._address, error)
            self._failing = True
            if not isinstance(error, TimeoutError):
                self._disconnect()
            return False
        return True

    def _connect(self) -> None:
        # How the end of a connection is found without a line to send: the shipper itself sends nothing.
        if self._socket is not None:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            if poll.poll(0):
                self._disconnect()
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(SEND_TIMEOUT)
            try:
                connection.connect(self._address)
            except OSError:
                connection.close()
                raise
            self._socket = connection

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._pending = None
            for tail in list(self._tails.values()):
                tail.repeat()

    def _send_pending(self) -> None:
        """Send the rest of a batch. A connection carries whole batches, so that no line is cut."""
        if self._pending is None or self._socket is None:
            return
        tail, data, end = self._pending
        while data:
            data = data[self._socket.send(data) :]
            self._pending = tail, data, end
        self._pending = None
        tail.accept(end)
        if self._failing:
            log.warning("The shipper at %s takes lines of logs again", self._address)
            self._failing = False


def in_order(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a stored log in the order of their times, and none of them twice.

    A line of Airflow is JSON that begins with a time in microseconds, in UTC. Another line stays behind the one before.
    """
    window: list[tuple[str, int, str]] = []
    same: set[str] = set()
    latest = moment = ""

    def first() -> Iterator[str]:
        nonlocal latest, same
        key, _number, line = heapq.heappop(window)
        if key != latest:
            latest, same = key, set()
        if line not in same:
            if line.startswith(TIME):
                same.add(line)
            yield line

    for number, line in enumerate(lines):
        if line.startswith(TIME):
            # A whole second has no fraction.
            moment = line[len(TIME) :].partition('"')[0].rstrip("Z")
        heapq.heappush(window, (moment, number, line))
        if len(window) > WINDOW:
            yield from first()
    while window:
        yield from first()
