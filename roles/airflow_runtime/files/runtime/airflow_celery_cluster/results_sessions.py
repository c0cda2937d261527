"""A scheduler keeps its connection to the results database. Runs in each scheduler.

Celery keeps connections in the processes of a worker's pool only. Everywhere else each query opens a connection of its
own, and the executor of a scheduler queries the results of the running tasks in each of its loops.
"""

from __future__ import annotations

import functools
from typing import Any

# The connection may have been idle while the database was restarted.
ENGINE_OPTIONS = {"pool_pre_ping": True, "pool_size": 1}


def install() -> None:
    """Change Celery's backend, before the executor makes its Celery application."""
    from celery.backends.database.session import SessionManager

    manager: Any = SessionManager
    upstream = manager.__init__

    @functools.wraps(upstream)
    def prepared(self: Any) -> None:
        upstream(self)
        # The name that Celery has for a process that keeps its connections.
        self.forked = True

    manager.__init__ = prepared
