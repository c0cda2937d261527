"""Show that the whole cluster works: tasks that say which machine ran them.

Trigger it by hand, in the UI or with
``airflow dags trigger cluster_check --conf '{"tasks": 16, "seconds": 10}'``.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task


@dag(
    schedule=None,
    catchup=False,
    max_active_tasks=1000,  # the workers' slots are the limit, not the DAG's default
    params={
        "tasks": Param(8, type="integer", minimum=1, maximum=1000, description="how many tasks to run"),
        "seconds": Param(
            5,
            type="number",
            minimum=0,
            description="how long each task keeps its slot, so that the others go to the other workers",
        ),
    },
    doc_md=__doc__,
    tags=["cluster"],
)
def cluster_check() -> None:
    """Run tasks on as many workers as there are."""

    @task
    def count() -> list[int]:
        """Return one number for each task to run."""
        return list(range(get_current_context()["params"]["tasks"]))

    @task
    def record_host(number: int) -> dict[str, Any]:
        """Hold a worker slot for a while and return the name of the machine."""
        time.sleep(get_current_context()["params"]["seconds"])
        return {"number": number, "host": socket.gethostname()}

    record_host.expand(number=count())


cluster_check()
