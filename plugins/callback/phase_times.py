"""Wall time of each play at the end of a run."""

from __future__ import annotations

DOCUMENTATION = r"""
name: phase_times
type: aggregate
short_description: Print how long each play took
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Prints one line for each play and the total when a run ends. A play is a phase.
requirements:
  - Enable it with C(callbacks_enabled = airflow_celery.cluster.phase_times).
"""

import time
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Records when each play began."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "airflow_celery.cluster.phase_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._plays: list[tuple[str, float]] = []

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._plays.append((play.get_name().strip(), time.monotonic()))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not self._plays:
            return
        end = time.monotonic()
        self._display.banner("PHASES")
        ends = [begun for _name, begun in self._plays[1:]] + [end]
        for (name, begun), ended in zip(self._plays, ends, strict=True):
            self._display.display(f"{ended - begun:7.1f} s  {name}")
        self._display.display(f"{end - self._plays[0][1]:7.1f} s  total")
