"""A small client of Airflow's REST API, with nothing but the standard library."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")

FINAL_RUN_STATES = frozenset({"success", "failed"})
FINAL_TASK_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@lru_cache
def _opener(ca_file: Path | None) -> urllib.request.OpenerDirector:
    # The machines of a cluster are reached directly, whatever proxy leads to the internet.
    context = ssl.create_default_context(cafile=ca_file)
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


class ApiError(Exception):
    """The server answered, and refused."""

    def __init__(self, method: str, url: str, status: int, detail: str) -> None:
        super().__init__(f"{method} {url}: HTTP {status}: {detail[:500]}")
        self.status = status


class Unavailable(ApiError):
    """HAProxy answered for an API server that is not there at the moment."""


class WaitTimeout(Exception):
    """Something that was waited for did not come true in time."""


def wait_for(
    condition: Callable[[], Found | None],
    *,
    what: str,
    seconds: float,
    interval: float = 1.0,
    transient: tuple[type[Exception], ...] = (),
) -> Found:
    """Call ``condition`` until it returns something true, and return that.

    ``transient`` are the exceptions that mean "not yet". Raises WaitTimeout, with the
    last of them, after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            found = condition()
        except transient as error:
            last = error
        else:
            if found:
                return found
            last = found
        if time.monotonic() >= deadline:
            raise WaitTimeout(f"{what}: not within {seconds:g} s (last seen: {last!r})")
        time.sleep(interval)  # the pace of asking; the condition decides, not the clock


def http(
    method: str,
    url: str,
    *,
    body: object = None,
    headers: dict[str, str] | None = None,
    login: tuple[str, str] | None = None,
    timeout: float = 30,
    ca_file: Path | None = None,
) -> tuple[int, str]:
    """Send one request; return status and text, whatever the status is.

    ``ca_file`` holds the authorities that may sign the server's certificate (default: those of the system).
    """
    headers = dict(headers or {})
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    if login is not None:
        headers["Authorization"] = "Basic " + b64encode(":".join(login).encode()).decode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with _opener(ca_file).open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


@dataclass(frozen=True)
class DagRun:
    """One run of a DAG."""

    run_id: str
    state: str
    logical_date: datetime | None
    started: datetime | None
    ended: datetime | None

    @property
    def finished(self) -> bool:
        """Whether nothing of this run is left to do."""
        return self.state in FINAL_RUN_STATES

    @property
    def seconds(self) -> float | None:
        """How long the run took, once it is over."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None


@dataclass(frozen=True)
class TaskInstance:
    """One task of one DAG run."""

    run_id: str
    task_id: str
    map_index: int
    label: str
    state: str | None
    try_number: int
    hostname: str
    seconds: float | None

    @property
    def finished(self) -> bool:
        """Whether this task will not run again by itself."""
        return self.state in FINAL_TASK_STATES


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class AirflowClient:
    """Speaks to the API servers of a cluster as one user.

    :param read_password: returns the user's password when the one in use is refused, as after a rotation of secrets.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        ca_file: Path | None = None,
        read_password: Callable[[], str] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._ca_file = ca_file
        self._user = user
        self._password = password
        self._read_password = read_password
        self._token: str | None = None

    def _log_in(self) -> tuple[int, str]:
        body = {"username": self._user, "password": self._password}
        return http("POST", f"{self.url}/auth/token", body=body, ca_file=self._ca_file)

    def token(self) -> str:
        """Log in, and return a token for the REST API."""
        status, text = self._log_in()
        if status == 401 and self._read_password:
            self._password = self._read_password()
            status, text = self._log_in()
        if status not in (200, 201):
            raise ApiError("POST", f"{self.url}/auth/token", status, text)
        return str(json.loads(text)["access_token"])

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Send a request to ``/api/v2<path>`` and return the decoded answer.

        A list in the query becomes a repeated parameter.
        """
        url = f"{self.url}/api/v2{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query, doseq=True)
        for fresh in (self._token is None, True):
            if fresh:
                self._token = self.token()
            headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
            status, text = http(method, url, body=body, headers=headers, ca_file=self._ca_file)
            # An expired token; one that was signed with an earlier secret
            if status not in (401, 403):
                break
        if status in (502, 503, 504):
            raise Unavailable(method, url, status, text)
        if not 200 <= status < 300:
            raise ApiError(method, url, status, text)
        return json.loads(text) if text else None

    def _all(self, path: str, key: str, **query: object) -> list[dict[str, Any]]:
        """Return every item of a collection, page by page."""
        items: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", path, limit=100, offset=len(items), **query)
            items += page[key]
            if not page[key] or len(items) >= page["total_entries"]:
                return items

    def health(self) -> dict[str, str]:
        """Return each component's health: ``/monitor/health`` answers 200 even when one is unhealthy."""
        status, text = http("GET", f"{self.url}/api/v2/monitor/health", ca_file=self._ca_file)
        if status != 200:
            raise ApiError("GET", f"{self.url}/api/v2/monitor/health", status, text)
        return {name: str(part["status"]) for name, part in json.loads(text).items()}

    def version(self) -> str:
        """Return the version of Airflow."""
        return str(self.call("GET", "/version")["version"])

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return what Airflow knows of a DAG; None when it does not know it (yet)."""
        try:
            found: dict[str, Any] = self.call("GET", f"/dags/{dag_id}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def import_errors(self) -> dict[str, str]:
        """Return the DAG files that cannot be imported, and why."""
        return {
            str(error["filename"]): str(error["stack_trace"]) for error in self._all("/importErrors", "import_errors")
        }

    def pause(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG."""
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": paused}, update_mask="is_paused")

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run by hand and return its id."""
        run = self.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})
        return str(run["dag_run_id"])

    def clear(self, dag_id: str) -> None:
        """Have all tasks of all runs of a DAG run again."""
        self.call(
            "POST",
            f"/dags/{dag_id}/clearTaskInstances",
            {"dry_run": False, "only_failed": False, "reset_dag_runs": True},
        )

    def runs(self, dag_id: str) -> list[DagRun]:
        """Return the runs of a DAG, oldest first."""
        found = self._all(f"/dags/{dag_id}/dagRuns", "dag_runs", order_by="run_after")
        return [self._run(run) for run in found]

    def run(self, dag_id: str, run_id: str) -> DagRun:
        """Return one run of a DAG."""
        return self._run(self.call("GET", f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}"))

    @staticmethod
    def _run(run: dict[str, Any]) -> DagRun:
        return DagRun(
            run_id=run["dag_run_id"],
            state=run["state"],
            logical_date=_moment(run["logical_date"]),
            started=_moment(run["start_date"]),
            ended=_moment(run["end_date"]),
        )

    def tasks(self, dag_id: str, run_id: str = "~") -> list[TaskInstance]:
        """Return the task instances of one run, or of all runs of a DAG."""
        path = f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances"
        return [
            TaskInstance(
                run_id=found["dag_run_id"],
                task_id=found["task_id"],
                map_index=found["map_index"],
                label=found["rendered_map_index"] or (str(found["map_index"]) if found["map_index"] >= 0 else ""),
                state=found["state"],
                try_number=found["try_number"],
                hostname=found["hostname"] or "",
                seconds=found["duration"],
            )
            for found in self._all(path, "task_instances")
        ]

    def result(self, dag_id: str, task: TaskInstance) -> Any:
        """Return what a task returned."""
        path = (
            f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(task.run_id)}"
            f"/taskInstances/{task.task_id}/xcomEntries/return_value"
        )
        return self.call("GET", path, map_index=task.map_index, deserialize="true")["value"]

    def log(self, dag_id: str, task: TaskInstance) -> str:
        """Return the log of a task's try, as the UI shows it."""
        path = (
            f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(task.run_id)}"
            f"/taskInstances/{task.task_id}/logs/{task.try_number}"
        )
        content = self.call("GET", path, map_index=task.map_index, full_content="true")["content"]
        if isinstance(content, str):
            return content
        return "\n".join(line if isinstance(line, str) else str(line.get("event", "")) for line in content)

    def wait_for_dag(self, dag_id: str, seconds: float) -> dict[str, Any]:
        """Wait until the DAG processor has read a DAG; say why when it could not."""

        def known() -> dict[str, Any] | None:
            found = self.dag(dag_id)
            if found is None:
                for filename, trace in self.import_errors().items():
                    if dag_id in filename:
                        raise RuntimeError(f"{filename} cannot be imported:\n{trace}")
            return found

        return wait_for(known, what=f"DAG {dag_id} known to Airflow", seconds=seconds)

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float) -> DagRun:
        """Wait until a run is over, well or not, and return it."""

        def over() -> DagRun | None:
            run = self.run(dag_id, run_id)
            return run if run.finished else None

        return wait_for(over, what=f"run {run_id} of {dag_id} over", seconds=seconds)
