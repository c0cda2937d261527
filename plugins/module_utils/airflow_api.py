"""Airflow's REST API, as far as modules need it on a host with an API server."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

TRANSIENT = (OSError, http.client.HTTPException, json.JSONDecodeError)


class Refused(Exception):
    """The API server answered, and refused."""


class Late(Exception):
    """Something did not come true in time."""


class Api:
    """The few requests that a module makes, as one user.

    :param url: where an API server listens.
    :param ca_file: PEM file with the authorities that may sign the certificate of an ``https`` URL.
    """

    def __init__(self, url: str, user: str, password: str, ca_file: str | None) -> None:
        self._url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._token = ""
        tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls).open

    def _send(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)
        with self._open(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to ``/api/v2<path>``; a token that has run out is renewed once."""
        for last in (False, True):
            try:
                if not self._token:
                    self._token = self._send("POST", "/auth/token", self._login)["access_token"]
                return self._send(method, f"/api/v2{path}", body)
            except urllib.error.HTTPError as error:
                if error.code == 401 and not last:
                    self._token = ""
                elif error.code < 500:
                    detail = error.read().decode(errors="replace")[:300]
                    raise Refused(f"{method} {path}: HTTP {error.code}: {detail}") from error
                else:
                    raise
        raise AssertionError("the second try returns or raises")

    def health(self) -> dict[str, str]:
        """Return the state of each component: the request answers 200 even when one is unhealthy."""
        return {name: str(part["status"]) for name, part in self._send("GET", "/api/v2/monitor/health").items()}

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a DAG run."""
        path = f"{path_of(dag, run_id)}/taskInstances"
        found: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", f"{path}?limit=100&offset={len(found)}")
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def known(self, dag: str) -> Any:
        """Return what Airflow knows of a DAG; None when it does not know it (yet)."""
        try:
            return self.call("GET", f"/dags/{dag}")
        except Refused:
            return None

    def pause(self, dag: str, paused: bool) -> None:
        """Pause or unpause a DAG."""
        self.call("PATCH", f"/dags/{dag}?update_mask=is_paused", {"is_paused": paused})

    def trigger(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a run of a DAG and return its id."""
        return str(self.call("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def run(self, dag: str, run_id: str) -> str:
        """Return the state of a DAG run."""
        return str(self.call("GET", path_of(dag, run_id))["state"])

    def abandon(self, dag: str, run_id: str) -> None:
        """End a DAG run and its tasks."""
        self.call("PATCH", f"{path_of(dag, run_id)}?update_mask=state", {"state": "failed"})


def path_of(dag: str, run_id: str) -> str:
    """Return the path of a DAG run below ``/api/v2``."""
    return f"/dags/{dag}/dagRuns/{urllib.parse.quote(run_id)}"


def wait(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """Return what the condition returns once it is true; raise Late, with what it said last, when time is over."""
    deadline = time.monotonic() + seconds
    while True:
        seen: object = None
        try:
            seen = condition()
        except TRANSIENT as error:
            seen_error = str(error)
        else:
            if seen:
                return seen
            seen_error = ""
        if time.monotonic() > deadline:
            raise Late(f"{what}: not within {seconds:g} s{': ' + seen_error if seen_error else ''}")
        time.sleep(0.5)  # paces the asking; what is waited for is the condition
