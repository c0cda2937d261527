"""One task, for the one worker that consumes from the queue ``cluster_canary`` at that moment.

An upgrade runs it on each worker before that worker gets a task of anybody else: see docs/operations/upgrade.md.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, is_paused_upon_creation=False, doc_md=__doc__, tags=["cluster"])
def cluster_canary() -> None:
    """Run on one worker, and say with which release."""

    # A pool of its own, as the default one may be full; no retry, as that is what is to be found out.
    @task(
        queue="cluster_canary",
        pool="cluster_canary",
        priority_weight=1000,
        retries=0,
        execution_timeout=timedelta(seconds=60),
    )
    def canary() -> str:
        """Return the id of the release of the runtime."""
        return Path(sys.prefix).name

    canary()


cluster_canary()
