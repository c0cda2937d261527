"""Points in time as systemd prints them.

Runs on hosts, for the modules unit and cluster_status.
"""

from __future__ import annotations

from datetime import datetime


def seconds_of(timestamp: str) -> float | None:
    """Return seconds since the epoch of what systemd prints with ``--timestamp=us+utc``; None for none."""
    if not timestamp or timestamp == "n/a":
        return None
    # The weekday is English in every locale; Python would expect the weekday of the locale that AnsibleModule sets.
    moment = timestamp.removesuffix(" UTC").split(" ", 1)[1]
    return datetime.fromisoformat(f"{moment}+00:00").timestamp()
