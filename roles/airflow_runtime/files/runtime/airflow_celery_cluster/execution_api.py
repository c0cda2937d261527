"""Wait for the Execution API when nobody answers the request that begins a task.

The first request of a task tells the API server that the task runs. When nobody answers, Airflow 3.3 gives up within
seconds and the try is spent. Three more tries go the same way while the API servers of a rebooted control node start.
A task that has not begun can wait instead: for the scheduler the task is still queued, and nothing is lost.
"""

from __future__ import annotations

import functools
import http.client
import logging
import ssl
import time
import urllib.request
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

# Seconds for one question, and from one to the next.
TIMEOUT = 2.0
PAUSE = 0.5


def answers(url: str, ca_file: str | None = None) -> bool:
    """Return whether the Execution API at this URL serves requests now. Its health check touches no database."""
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)
    try:
        with opener.open(f"{url.rstrip('/')}/health", timeout=TIMEOUT) as response:
            return bool(response.status == 200)
    # A server that dies while it answers raises the last one.
    except (OSError, http.client.HTTPException):
        return False


def wait(url: str, seconds: float, ca_file: str | None = None) -> bool:
    """Wait until the Execution API serves requests; return whether it does.

    :param url: ``[core] execution_api_server_url``.
    :param seconds: longest time to wait.
    :param ca_file: PEM file with the authorities that may sign its certificate (default: those of the system).
    """
    if answers(url, ca_file):
        return True
    log.warning("%s does not answer: the task waits, %.0f s at most", url, seconds)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(PAUSE)  # the pace of asking; the answer decides, not the clock
        if answers(url, ca_file):
            return True
    log.error("%s did not answer within %.0f s", url, seconds)
    return False


def is_unanswered(error: Exception) -> bool:
    """Return whether an error of the client of the Execution API means that no Execution API served the request."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx.RequestError)


def repeating(start: Callable[..., Any], url: str, seconds: float, ca_file: str | None = None) -> Callable[..., Any]:
    """Wrap the request that begins a task: the request is repeated while no Execution API serves it.

    The Execution API takes a repeated request of the same process for the same one.

    :param start: the request.
    :param url: as for ``wait``.
    :param seconds: time after which the error of the request is raised, and the try is spent.
    :param ca_file: as for ``wait``.
    """

    @functools.wraps(start)
    def begin(*args: Any, **kwargs: Any) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return start(*args, **kwargs)
            except Exception as error:
                left = deadline - time.monotonic()
                if left <= 0 or not is_unanswered(error) or not wait(url, left, ca_file):
                    raise

    return begin
