"""What the tasks of `failover_load` wrote down, as the failover drill reads it: plugins/plugin_utils/ledger.py."""

from __future__ import annotations

import sys

from cluster_inventory import PROJECT

sys.path.insert(0, str(PROJECT / "plugins/plugin_utils"))

from ledger import (
    CUT,
    Execution,
    interrupted,
    lost,
    missing_signs,
    overlapping,
    read,
    recovery_times,
    signs_in_log,
    woken,
)

__all__ = [
    "CUT",
    "Execution",
    "interrupted",
    "lost",
    "missing_signs",
    "overlapping",
    "read",
    "recovery_times",
    "signs_in_log",
    "woken",
]
