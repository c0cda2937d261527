"""What a person reads while a unit is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.drain import count

# Seconds between two lines where nothing has changed.
SILENCE = 30


class UnitProgress:
    """The lines about one unit: one for each change, and one every half minute.

    :param host: the inventory's name of the host.
    :param unit: name of the unit.
    """

    def __init__(self, host: str, unit: str) -> None:
        self._name = f"{host}: {unit}"
        self._stage = ""
        self._stage_at = 0.0
        self._said: object = None
        self._said_at = 0.0

    def line(self, follow: Mapping[str, Any], now: float) -> str:
        """Return the line for what the module ``unit`` saw; "" when there is nothing new.

        :param now: seconds of a clock that is never set.
        """
        stage, tasks = str(follow["stage"]), int(follow["tasks"])
        if stage != self._stage:
            self._stage, self._stage_at = stage, now
        if not self._is_new((stage, tasks), now):
            return ""
        limit = follow["limit"]
        left = ", without a limit" if limit is None else f", {max(0, round(limit - (now - self._stage_at)))} s left"
        if stage != "stop":
            return f"{self._name} {'is not healthy yet' if stage == 'healthy' else 'starts'}{left}"
        if not tasks:
            return f"{self._name} stops{left}"
        verb = "runs" if tasks == 1 else "run"
        return f"{self._name} stops: {count(tasks, 'task')} {verb}, the oldest for {round(follow['oldest'])} s{left}"

    def lost(self, why: str, now: float) -> str:
        """Return the line for a connection that was lost; "" when that is known."""
        return f"{self._name}: no connection, trying again: {why}" if self._is_new("lost", now) else ""

    def _is_new(self, what: object, now: float) -> bool:
        if what == self._said and now - self._said_at < SILENCE:
            return False
        self._said, self._said_at = what, now
        return True
