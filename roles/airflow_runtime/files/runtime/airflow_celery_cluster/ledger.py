"""The ledger that tasks of ``failover_load`` keep on their worker's disk: lines of JSON, one for each sign of life.

Imports nothing of Airflow, because a task's child process uses it, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any


def note(ledger: str, entry: dict[str, Any], event: str) -> None:
    """Append one line to the ledger, in one write: a process that is killed leaves whole lines only.

    The same line goes to the log of the task. Where both are compared, the ledger is the truth.
    """
    now = {"event": event, "time": time.time(), "monotonic": time.monotonic(), "pid": os.getpid()}
    line = json.dumps(entry | now)
    descriptor = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)
    # Nobody reads it when the process that watches the task has been killed.
    with contextlib.suppress(OSError):
        print(line, flush=True)


def work(ledger: str, entry: dict[str, Any], seconds: float, beat: float) -> None:
    """Write a begin, a beat every so often, and an end after some seconds."""
    note(ledger, entry, "begin")
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(beat, left))
        note(ledger, entry, "beat")
    note(ledger, entry, "end")
