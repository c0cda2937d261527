"""What is appended to a log file arrives at the shipper, whatever becomes of the shipper meanwhile."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from airflow_celery_cluster import log_sender, resend_logs

TASK = "dag_id=d/run_id=r/task_id=t/attempt=1.log"


class Shipper:
    """Takes lines at a Unix socket, or only connections."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[bytes] = []
        self.reads = threading.Event()
        self.reads.set()
        self._connections: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def start(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def stop(self) -> None:
        """End as a process does that was killed: what it has not read is lost."""
        if self._listener is not None:
            self.path.unlink()
            for one in (self._listener, *self._connections):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._listener = None
            self._connections = []

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._read, args=[connection], daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            rest = b""
            while self.reads.wait() and (data := connection.recv(65536)):
                *lines, rest = (rest + data).split(b"\n")
                self.lines += lines


@pytest.fixture
def shipper(tmp_path: Path) -> Iterator[Shipper]:
    one = Shipper(tmp_path / "lines.sock")
    yield one
    one.reads.set()
    one.stop()


@pytest.fixture
def sender(tmp_path: Path, shipper: Shipper) -> Any:
    return log_sender.Sender(str(shipper.path), str(tmp_path / "logs"))


def opened(sender: Any, path: str = TASK, mode: str = "ab") -> BinaryIO:
    file = Path(sender._directory, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.open(mode)  # type: ignore[return-value]


def write(sender: Any, file: BinaryIO, *lines: str) -> None:
    """Write lines as structlog does: its processors come first."""
    for line in lines:
        sender.note(file)
        file.write(f"{line}\n".encode())
        file.flush()


def sent(*lines: str, path: str = TASK) -> list[bytes]:
    return [f"task\t{path}\t{line}".encode() for line in lines]


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def numbered(count: int, size: int = 0) -> list[str]:
    return [
        f'{{"timestamp":"2026-01-01T00:00:{n // 1000:02}.{n % 1000:03}Z","event":"{n}{"x" * size}"}}'
        for n in range(count)
    ]


def test_a_line_arrives_while_the_file_is_open(shipper: Shipper, sender: Any) -> None:
    shipper.start()
    with opened(sender) as file:
        write(sender, file, "one", "zwei ü\t3")
        wait_for(lambda: shipper.lines == sent("one", "zwei ü\t3"))
        assert sender.finish(TASK, 5)
        assert sender._thread is None
    assert shipper.lines == sent("one", "zwei ü\t3")


def test_only_what_is_appended_is_sent(shipper: Shipper, sender: Any) -> None:
    shipper.start()
    for line in ("before the deferral", "after it"):
        with opened(sender) as file:
            write(sender, file, line)
            assert sender.finish(TASK, 5)
    wait_for(lambda: shipper.lines == sent("before the deferral", "after it"))


def test_a_file_that_is_only_closed_is_sent_to_its_end(shipper: Shipper, sender: Any) -> None:
    """As the DAG processor leaves its files, and opens them again at once."""
    shipper.start()
    for number in range(5):
        with opened(sender) as file:
            write(sender, file, f"parsed {number}")
    wait_for(lambda: sender._thread is None)
    wait_for(lambda: shipper.lines == sent(*(f"parsed {number}" for number in range(5))))


def test_a_file_that_is_written_anew_is_sent_from_its_beginning(shipper: Shipper, sender: Any) -> None:
    """As a triggerer does when a task is deferred again."""
    shipper.start()
    path = f"{TASK}.trigger.1.log"
    with opened(sender, path, "wb") as file:
        write(sender, file, "the first trigger")
        wait_for(lambda: len(shipper.lines) == 1)
    with opened(sender, path, "wb") as file:
        write(sender, file, "next")
    wait_for(lambda: shipper.lines == sent("the first trigger", "next", path=path))


def test_an_absent_shipper_gets_everything_when_it_is_there(shipper: Shipper, sender: Any) -> None:
    lines = numbered(2000)
    with opened(sender) as file:
        write(sender, file, *lines[:1000])
        wait_for(lambda: sender._failing)
        shipper.start()
        write(sender, file, *lines[1000:])
        wait_for(lambda: len(shipper.lines) == 2000)
    assert shipper.lines == sent(*lines)


def test_the_end_of_a_log_does_not_wait_for_an_absent_shipper_and_is_sent_later(shipper: Shipper, sender: Any) -> None:
    with opened(sender) as file:
        write(sender, file, "unsent")
        wait_for(lambda: sender._failing)
        began = time.monotonic()
        assert not sender.finish(TASK, 60)
        assert time.monotonic() - began < 10
        assert sender._thread is None
    shipper.start()
    later = TASK.replace("task_id=t", "task_id=later")
    with opened(sender, later) as file:
        write(sender, file, "of the next task")
        assert sender.finish(later, 5)
    wait_for(lambda: shipper.lines == sent("unsent") + sent("of the next task", path=later))


def test_a_stuck_shipper_does_not_stop_the_writer(shipper: Shipper, sender: Any) -> None:
    shipper.reads.clear()
    shipper.start()
    lines = numbered(3000, size=1000)
    with opened(sender) as file:
        slowest = 0.0
        for line in lines:
            began = time.monotonic()
            sender.note(file)
            slowest = max(slowest, time.monotonic() - began)
            write(sender, file, line)
        wait_for(lambda: sender._failing)
        assert slowest < log_sender.SEND_TIMEOUT
        assert not sender.finish(TASK, 1)
        shipper.reads.set()
        assert sender.finish(TASK, 10)
    wait_for(lambda: len(shipper.lines) >= 3000)
    assert shipper.lines == sent(*lines)


def test_what_a_killed_shipper_had_not_read_is_sent_again(shipper: Shipper, sender: Any) -> None:
    shipper.start()
    lines = numbered(2000)
    with opened(sender) as file:
        write(sender, file, *lines[:500])
        wait_for(lambda: len(shipper.lines) == 500)
        shipper.reads.clear()
        write(sender, file, *lines[500:1000])
        wait_for(lambda: sender._tails[file].offset == file.tell())
        shipper.stop()
        shipper.reads.set()
        shipper.start()
        # Without a further line: the connection is lost.
        wait_for(lambda: {*sent(*lines[:1000])} == {*shipper.lines})
        write(sender, file, *lines[1000:])
        assert sender.finish(TASK, 5)
    wait_for(lambda: {*sent(*lines)} == {*shipper.lines})
    stored = [line.split(b"\t", 2)[2].decode() for line in shipper.lines]
    assert len(stored) > len(lines)
    assert list(log_sender.in_order(stored)) == lines


def test_a_line_longer_than_the_shipper_takes_arrives_in_parts(shipper: Shipper, sender: Any) -> None:
    shipper.start()
    long = "x" * (log_sender.LONGEST + 10)
    with opened(sender) as file:
        write(sender, file, "y" * (log_sender.CHUNK + 1), long)
        assert sender.finish(TASK, 10)
    expected = sent("y" * (log_sender.CHUNK + 1), long[: log_sender.LONGEST], long[log_sender.LONGEST :])
    wait_for(lambda: shipper.lines == expected)


@pytest.mark.parametrize("name", ["<stdout>", 1, "/etc/hosts", "{logs}/a\tb.log", "{logs}/a\nb.log"])
def test_other_files_are_none_of_its_business(sender: Any, name: object) -> None:
    class File:
        pass

    file = File()
    file.name = str(name).format(logs=sender._directory) if isinstance(name, str) else name  # type: ignore[attr-defined]
    sender.note(file)
    assert (sender._tails, sender._thread) == ({}, None)


def test_a_child_sends_nothing_of_its_parent(shipper: Shipper, sender: Any) -> None:
    shipper.start()
    with opened(sender) as file:
        write(sender, file, "one")
        wait_for(lambda: shipper.lines == sent("one"))
        pid = os.fork()
        if pid == 0:
            os._exit(0 if (sender._tails, sender._thread, sender._socket) == ({}, None, None) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        write(sender, file, "two")
        assert sender.finish(TASK, 5)
    wait_for(lambda: shipper.lines == sent("one", "two"))


def test_lines_are_read_in_the_order_of_their_times() -> None:
    lines = numbered(100)
    assert list(log_sender.in_order(lines[50:] + lines[:60])) == lines


def test_a_whole_second_has_its_place() -> None:
    lines = [f'{{"timestamp":"2026-01-01T00:00:0{time}Z","event":"e"}}' for time in ("0.999999", "1", "1.000001")]
    assert list(log_sender.in_order(reversed(lines))) == lines


def test_lines_without_a_time_stay_behind_the_one_before_and_may_repeat() -> None:
    first, second = numbered(2)
    plain = ["Traceback:", "  same", "  same"]
    assert list(log_sender.in_order([*plain, second, *plain, first])) == [*plain, first, second, *plain]


@pytest.mark.parametrize(
    ("stored", "again"),
    [
        ({}, ["a.log", "b.log"]),
        # The store has whole lines only.
        ({"a.log.127.0.0.1": 8, "b.log.127.0.0.1": 4}, []),
        ({"a.log.127.0.0.1": 4, "b.log.127.0.0.1": 8}, ["a.log", "b.log"]),
        ({"a.log.127.0.0.1": 8, "b.log.192.0.2.1": 4}, ["b.log"]),
    ],
)
def test_files_that_differ_from_the_stored_ones_are_sent_again(
    tmp_path: Path, shipper: Shipper, stored: dict[str, int], again: list[str]
) -> None:
    shipper.start()
    (tmp_path / "logs/task").mkdir(parents=True)
    (tmp_path / "logs/task/a.log").write_text("one\ntwo\nhalf a line")
    (tmp_path / "logs/task/b.log").write_text("two\n")
    (tmp_path / "logs/latest").symlink_to("task")
    lines = [f"127.0.0.1\t{size}\ttask/{name}\n" for name, size in stored.items()]
    found = resend_logs.read_stored(["127.0.0.1"], lines)
    done = resend_logs.resend(str(shipper.path), tmp_path / "logs", found)
    texts = {"a.log": ["one", "two"], "b.log": ["two"]}
    expected = [line for name in again for line in sent(*texts[name], path=f"task/{name}")]
    wait_for(lambda: len(shipper.lines) == len(expected))
    assert shipper.lines == expected
    assert done == {"files": len(again), "bytes": sum(4 * len(texts[name]) for name in again)}


def test_a_store_without_any_file_gets_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("one\n")
    full = {"a.log.127.0.0.1": 4}
    assert list(resend_logs.different(tmp_path, {"127.0.0.1": full})) == []
    empty = resend_logs.read_stored(["127.0.0.1", "127.0.0.2"], ["127.0.0.1\t4\ta.log.127.0.0.1\n"])
    assert empty["127.0.0.2"] == {}
    assert list(resend_logs.different(tmp_path, empty)) == [tmp_path / "a.log"]
