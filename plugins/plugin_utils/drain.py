"""What a person reads while a worker is drained, and how often the worker is asked."""

from __future__ import annotations

# Seconds between two lines where nothing has changed.
SILENCE = 30
LONGEST_PACE = 5.0
# Systemd's states of a unit whose processes have all ended.
STOPPED = frozenset({"inactive", "failed"})


def pace(elapsed: float, limit: int) -> float:
    """Return the seconds until the next question: few at first, as most drains are short, never beyond the limit."""
    return max(0.2, min(LONGEST_PACE, 1 + elapsed / 10, limit - elapsed))


def is_over(elapsed: float, limit: int) -> bool:
    """Return whether the time to wait is over."""
    return elapsed >= limit


def count(number: int, noun: str) -> str:
    """Return ``1 task``, ``2 tasks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Progress:
    """The lines about one worker: one for each change, and one every half minute.

    :param host: the inventory's name of the worker.
    :param limit: seconds that its tasks have.
    """

    def __init__(self, host: str, limit: int) -> None:
        self._host = host
        self._limit = limit
        self._said: object = None
        self._said_at = 0.0

    @staticmethod
    def is_done(tasks: int, active: str) -> bool:
        """Return whether nothing runs any more."""
        return tasks == 0 or active in STOPPED

    def line(self, tasks: int, oldest: float, active: str, elapsed: float) -> str:
        """Return the line for what was seen; "" when there is nothing new.

        :param oldest: seconds since the first of the tasks began.
        :param elapsed: seconds since the wait began.
        """
        if not self._is_new((tasks, active in STOPPED), elapsed):
            return ""
        if self.is_done(tasks, active):
            return f"{self._host}: no task runs"
        left = max(0, round(self._limit - elapsed))
        verb = "runs" if tasks == 1 else "run"
        # A task that is about to begin has no process yet, and so no age.
        age = f", the oldest for {round(oldest)} s" if oldest else ""
        return f"{self._host}: {count(tasks, 'task')} {verb}{age}, {left} s left"

    def lost(self, why: str, elapsed: float) -> str:
        """Return the line for a connection that was lost; "" when that is known."""
        return f"{self._host}: no connection, trying again: {why}" if self._is_new("lost", elapsed) else ""

    def _is_new(self, what: object, elapsed: float) -> bool:
        if what == self._said and elapsed - self._said_at < SILENCE:
            return False
        self._said, self._said_at = what, elapsed
        return True
