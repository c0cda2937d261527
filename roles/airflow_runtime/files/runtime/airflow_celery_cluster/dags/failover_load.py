"""Tasks that leave a trace of every moment they ran, for the failover drill and the fault tests.

Each execution of a task appends lines of JSON to a ledger on its worker's own disk, outside Airflow: what
is written there stays true when the network is cut or Airflow is wrong. No retries are set here: those that the
cluster gives to every task must do.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Param, dag, get_current_context, task
from airflow_celery_cluster.ledger import note, work

# The unit of the worker makes the directory.
LEDGERS = Path("/var/lib/airflow/ledger")


def open_ledger(task_name: str) -> tuple[str, dict[str, Any]]:
    """Return the ledger of this DAG run on this machine, and what every line of this execution says."""
    context = get_current_context()
    instance = context["ti"]
    ledger = LEDGERS / f"{instance.run_id.replace('/', '_')}.jsonl"
    name = f"{task_name}[{instance.map_index}]"
    return str(ledger), {"task": name, "try": instance.try_number, "host": socket.gethostname()}


class Deferred(BaseOperator):
    """Waits in the triggerer, then works as the others do."""

    def __init__(self, *, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context: Any) -> None:
        """Hand over to the triggerer."""
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=context["params"]["seconds"])), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> None:
        """Work after the time is over."""
        ledger, entry = open_ledger("deferred")
        work(ledger, entry, 1, context["params"]["beat"])


@dag(
    schedule=None,
    catchup=False,
    max_active_tasks=1000,
    params={
        "tasks": Param(8, type="integer", minimum=0, maximum=10_000, description="how many tasks work"),
        "deferred": Param(
            0, type="integer", minimum=0, maximum=1000, description="how many tasks wait in the triggerer"
        ),
        "seconds": Param(10, type="number", minimum=0, description="how long each task works"),
        "beat": Param(0.5, type="number", minimum=0.05, description="seconds between two lines of its ledger"),
        "kind": Param(
            "python",
            enum=["python", "stubborn", "child", "memory"],
            description="`stubborn` ignores SIGTERM, `child` works in a process with a session of its own, "
            "`memory` takes all there is in its first try",
        ),
    },
    doc_md=__doc__,
    tags=["cluster"],
)
def failover_load() -> None:
    """Run tasks that say when and where they ran."""

    @task
    def count(what: str) -> list[int]:
        """Return one number for each task to run."""
        return list(range(get_current_context()["params"][what]))

    @task
    def load(number: int) -> None:
        """Work for a while, and keep the ledger."""
        context = get_current_context()
        params = context["params"]
        ledger, entry = open_ledger("load")
        if params["kind"] == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if params["kind"] == "child":
            code = "import json, sys; from airflow_celery_cluster.ledger import work; work(*json.loads(sys.argv[1]))"
            arguments = json.dumps([ledger, entry, params["seconds"], params["beat"]])
            subprocess.run([sys.executable, "-c", code, arguments], check=True, start_new_session=True)
            return
        if params["kind"] == "memory" and number == 0 and entry["try"] == 1:
            note(ledger, entry, "begin")
            hoard = []
            while True:
                hoard.append(bytearray(os.urandom(1 << 20)) * 16)
        work(ledger, entry, params["seconds"], params["beat"])

    load.expand(number=count.override(task_id="count_load")("tasks"))
    Deferred.partial(task_id="deferred").expand(number=count.override(task_id="count_deferred")("deferred"))


failover_load()
