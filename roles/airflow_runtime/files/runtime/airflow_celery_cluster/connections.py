"""Connections inside the cluster ignore the proxies that a user configures for the code of DAGs.

``HTTPS_PROXY`` and its relatives are in the environment of workers and API servers, because a supervisor may upload
logs, and an API server may ask an identity provider. httpx and requests would use them for requests inside the cluster.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

# Seconds for one step (connect, read) of a check. The worker answers nothing else meanwhile.
CHECK_TIMEOUT = 2.0

_lock = threading.Lock()


def reach_execution_api_directly() -> None:
    """Have Airflow's client of the Execution API ignore the environment. Called before the pool is forked."""
    from airflow.sdk.api.client import Client

    client: Any = Client
    client.__init__ = functools.partialmethod(client.__init__, trust_env=False)


def check_execution_api(url: str) -> str:
    """Ask the Execution API for its health, with the client and the environment of a task's supervisor.

    :param url: ``[core] execution_api_server_url``.
    :return: what is wrong; "" when the Execution API serves requests.
    """
    from airflow.sdk.api.client import Client

    try:
        with Client(base_url=url, token="") as client:
            # Not its method `request`, which tries again for more than a minute.
            client.send(client.build_request("GET", "health", timeout=CHECK_TIMEOUT))
    except Exception as error:
        return f"{url}: {error!r}"
    return ""


def fetch_logs_directly() -> None:
    """Have an API server fetch the logs of workers and triggerers without a proxy."""
    from airflow.utils.log import file_task_handler

    file_task_handler._fetch_logs_from_service = _without_proxy(file_task_handler._fetch_logs_from_service)


def _without_proxy(fetch: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    @functools.wraps(fetch)
    def fetch_directly(url: str, log_relative_path: str) -> Any:
        exclude_from_proxies(urlsplit(url).hostname or "")
        return fetch(url, log_relative_path)

    return fetch_directly


def exclude_from_proxies(host: str) -> None:
    """Add a host to ``no_proxy``, which requests reads again for each request."""
    with _lock:
        # The order in which requests and urllib look at the two names.
        present = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        hosts = [part.strip() for part in present.split(",") if part.strip()]
        # Every host, which means that only where it stands alone.
        if hosts != ["*"] and host not in hosts:
            os.environ["no_proxy"] = ",".join([*hosts, host])
