"""Nothing that people or strangers do at the front door delays the heartbeat of a task, or makes the UI unavailable."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

from cluster_inventory import Cluster
from faults.harness import Fault, Scene, run_fault
from faults.machines import Machines
from front_door import MIB, forget_logins, send

# Longer than the time in which a task without heartbeats is ended.
SECONDS = 20
LOGINS, QUERIES = 60, 20
# More answers of each kind than these are a flood. A slow machine may take longer than SECONDS for them, up to LIMIT.
ANSWERS = 10
LIMIT = 180
# Heavy: all task instances and all runs with their DAGs, and the pages of the UI that ask for most.
QUERY_PATHS = (
    "/api/v2/dags/~/dagRuns/~/taskInstances?limit=100",
    "/api/v2/dags/~/dagRuns?limit=100",
    "/ui/dags?limit=100",
    "/api/v2/eventLogs?limit=100",
)


class Flood:
    """Sixty logins and twenty queries at any time, and one upload of 50 MB after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._bearer = {"Authorization": f"Bearer {cluster.client().token()}"}
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.answers: Counter[tuple[str, int]] = Counter()

    def log_in(self) -> int:
        """Try a password that is wrong."""
        body = json.dumps({"username": self._cluster.admin[0], "password": f"a guess {time.monotonic_ns()}"})
        return send(self._cluster, "POST", "/auth/token", body, {"Content-Type": "application/json"}).status

    def query(self) -> int:
        """Ask for much."""
        path = QUERY_PATHS[time.monotonic_ns() % len(QUERY_PATHS)]
        return send(self._cluster, "GET", path, headers=self._bearer).status

    def upload(self) -> int:
        """Send 50 MB."""
        return send(self._cluster, "POST", "/api/v2/variables", b"x" * 50 * MIB, self._bearer).status

    def _again(self, name: str, ask: Callable[[], int]) -> None:
        while not self._over.is_set():
            try:
                status = ask()
            except (OSError, HTTPException):
                # HAProxy has answered 413, and closed the connection under the upload.
                status = 0
            with self._lock:
                self.answers[name, status] += 1

    def strong(self) -> bool:
        """Return whether enough logins were checked and enough queries answered to call it a flood."""
        with self._lock:
            return min(self.answers["login", 401], self.answers["query", 200]) > ANSWERS

    def run(self, scene: Scene) -> None:
        """Flood the front door while tasks run. HAProxy forgets each second who has tried, as with new addresses."""
        begun = time.monotonic()
        with ThreadPoolExecutor(LOGINS + QUERIES + 2) as pool:
            for name, ask, count in (
                ("login", self.log_in, LOGINS),
                ("query", self.query, QUERIES),
                ("upload", self.upload, 1),
            ):
                for _ in range(count):
                    pool.submit(self._again, name, ask)
            try:
                while (passed := time.monotonic() - begun) < SECONDS or (passed < LIMIT and not self.strong()):
                    forget_logins(scene.cluster)
                    time.sleep(1)  # the pace at which addresses that nobody has seen before come along
            finally:
                self._over.set()


def missed_heartbeats(machines: Machines, cluster: Cluster, since: float) -> list[str]:
    """Return the lines of the workers' journals that tell of a heartbeat that failed, or of a lease that ran out."""
    found = []
    for worker in cluster.workers:
        lines = machines.run(worker, "journalctl", "--unit=airflow-worker", f"--since=@{since:.0f}", "--output=cat")
        found += [line for line in lines.splitlines() if "heartbeat" in line.lower() and "succe" not in line.lower()]
    return found


def test_a_flood_at_the_front_door_costs_no_heartbeat(cluster: Cluster) -> None:
    flood, machines, since = Flood(cluster), Machines(cluster), time.time()
    fault = Fault(
        "flood", "logins, queries and uploads at once", inject=flood.run, load={"tasks": 8, "seconds": SECONDS + 10}
    )
    result = run_fault(cluster, fault)
    print(result.as_json(), dict(flood.answers))
    assert result.problems == []
    assert (result.tasks, result.interrupted) == (8, 0)
    assert missed_heartbeats(machines, cluster, since) == []
    assert flood.strong(), dict(flood.answers)
    assert not any(status not in (0, 413) for name, status in flood.answers if name == "upload")


def test_a_busy_api_server_keeps_its_requests(cluster: Cluster) -> None:
    """A change of a large DAG run keeps an API server busy for seconds; here all of its processes are stopped."""
    machines, [host] = Machines(cluster), cluster.groups["airflow_api_server"]
    signal = ("systemctl", "kill", "airflow-api-server@*.service", "--signal")
    with ThreadPoolExecutor() as pool:
        machines.run(host, *signal, "STOP")
        try:
            answers = []
            # Longer than two checks of a second each, and shorter than two of five.
            for _ in range(8):
                answers.append(pool.submit(send, cluster, "GET", "/api/v2/version"))
                time.sleep(1)
        finally:
            machines.run(host, *signal, "CONT")
    assert [answer.result().status for answer in answers] == [200] * 8
