"""What the tasks of `failover_load` wrote down on their workers' disks, and what must be true of it."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Clock = Literal["monotonic", "time"]
# Seconds without a sign of life after which an execution stood still, and did not merely wait for a busy machine.
STILL = 2.0
# So many seconds before its last sign of life the log of an execution may end that did not come to its own end.
CUT = 2.0


@dataclass(frozen=True)
class Execution:
    """One execution of a task, from its first line to its last. Times are seconds of one clock.

    :param ended: whether it came to its own end; otherwise ``last`` is the last sign of life.
    :param signs: moments of all of its lines, in order.
    """

    task: str
    attempt: int
    host: str
    begin: float
    last: float
    ended: bool
    signs: tuple[float, ...] = ()

    @property
    def stretches(self) -> list[tuple[float, float]]:
        """The times for which it ran: what lies between is time for which its whole machine stood still."""
        found: list[tuple[float, float]] = []
        for sign in self.signs or (self.begin, self.last):
            if found and (sign - found[-1][1] <= STILL or not self.signs):
                found[-1] = (found[-1][0], sign)
            else:
                found.append((sign, sign))
        return found

    def overlaps(self, other: Execution) -> bool:
        """Return whether both ran at the same time, for as long as two signs of life in a row at least."""
        return self.task == other.task and any(
            min(mine[1], others[1]) > max(mine[0], others[0]) for mine in self.stretches for others in other.stretches
        )

    def superseded_by(self, other: Execution) -> bool:
        """Return whether the other began while this one stood still, or ran: it was given away before its last sign."""
        return self.task == other.task and self.begin < other.begin < self.last

    def woke_after(self, other: Execution) -> bool:
        """Return whether it left a single sign of life after the other had begun.

        A machine that stood still may get as far as that before its fence ends what it ran.
        """
        return self.superseded_by(other) and any(
            first == last and first > other.begin for first, last in self.stretches
        )


def read(lines: Iterable[str], clock: Clock = "monotonic") -> list[Execution]:
    """Return the executions that ledgers tell of, oldest first.

    :param lines: lines of all workers' ledgers of one DAG run, in any order. Half a line, the last one of a process
        that lost its machine, is skipped.
    :param clock: ``monotonic`` where all hosts share a kernel, as local machines do; ``time`` otherwise.
    """
    entries = defaultdict(list)
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        # A task that is deferred, or whose worker was restarted, is another process under the same number of try.
        entries[entry["task"], entry["try"], entry["host"], entry["pid"]].append(entry)
    found = []
    for (task, attempt, host, _pid), notes in entries.items():
        times = sorted(note[clock] for note in notes)
        ended = any(note["event"] == "end" for note in notes)
        found.append(Execution(task, attempt, host, times[0], times[-1], ended, tuple(times)))
    return sorted(found, key=lambda execution: (execution.begin, execution.task))


def overlapping(executions: Sequence[Execution]) -> list[tuple[Execution, Execution]]:
    """Return pairs of executions of the same task that ran at the same time."""
    return [(first, second) for first, second in combinations(executions, 2) if first.overlaps(second)]


def woken(executions: Sequence[Execution]) -> list[Execution]:
    """Return the executions that left a single sign of life after another one of the same task had begun."""
    return [one for one in executions if any(one.woke_after(other) for other in executions)]


def lost(executions: Sequence[Execution], tasks: Iterable[str]) -> list[str]:
    """Return the tasks of which no execution came to its end."""
    ended = {execution.task for execution in executions if execution.ended}
    return [task for task in tasks if task not in ended]


def interrupted(executions: Sequence[Execution]) -> list[Execution]:
    """Return the executions that did not come to their end, or came to it when another one had taken their place."""
    return [one for one in executions if not one.ended or any(one.superseded_by(other) for other in executions)]


def recovery_times(executions: Sequence[Execution], since: float) -> list[float]:
    """Return, for each interrupted execution, the seconds from a moment until its task ran again.

    :param since: moment of the fault, on the clock of the executions.
    """
    times = []
    for broken in interrupted(executions):
        later = [other.begin for other in executions if other.task == broken.task and other.begin > broken.begin]
        if later:
            times.append(min(later) - since)
    return times


def signs_in_log(text: str) -> list[float]:
    """Return the moments of the ledger's lines in a log, as they are there: monotonic clock."""
    found = []
    for line in text.splitlines():
        if line.startswith('{"task"'):
            # The last line of a process that was killed may be half a line.
            with contextlib.suppress(json.JSONDecodeError):
                found.append(float(json.loads(line)["monotonic"]))
    return found


def missing_signs(execution: Execution, logged: Sequence[float]) -> list[float]:
    """Return the moments of an execution that its log must have, and does not."""
    until = execution.last if execution.ended else execution.last - CUT
    return [sign for sign in execution.signs if sign <= until and sign not in logged]
