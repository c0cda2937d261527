"""A load that goes on while something is done to a cluster, for tests of operations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from airflow_client import wait_for
from cluster_inventory import Cluster

from faults.harness import DAG, TRANSIENT

# Two runs of it at any time keep tasks running all the while. Shorter tasks would do little but start, which costs
# seconds of CPU.
LOAD = {"tasks": 4, "seconds": 30}


class Load:
    """DAG runs, one after the other, until it is told to end. Two of them side by side leave no gap."""

    def __init__(self, cluster: Cluster) -> None:
        self._client = cluster.client()
        self._stop = threading.Event()
        # Their states at their ends; none before that.
        self.runs: dict[str, str] = {}
        self._errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._work, name=f"load {number}") for number in (1, 2)]

    def __enter__(self) -> Load:
        self._client.wait_for_dag(DAG, seconds=120)
        self._client.pause(DAG, False)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise ExceptionGroup("The load has not gone on", self._errors)

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                run_id = self._patiently(lambda: self._client.trigger(DAG, LOAD))
                self.runs[run_id] = ""
                self.runs[run_id] = self._patiently(partial(self._end_of, run_id))
        except Exception as error:
            # It is told by the one who waits for the load.
            self._errors.append(error)

    def _end_of(self, run_id: str) -> str | None:
        run = self._client.run(DAG, run_id)
        return run.state if run.finished else None

    @staticmethod
    def _patiently(ask: Callable[[], str | None]) -> str:
        """Ask until there is an answer."""
        return wait_for(ask, what="an answer of the API", seconds=300, interval=0.5, transient=TRANSIENT)
