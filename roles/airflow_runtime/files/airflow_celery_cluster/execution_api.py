"""Wait for the Execution API before a task begins.

A task's first request tells the API server that it runs. When nobody answers, Airflow 3.3 gives up within seconds and
the try is spent; three more go the same way while the API servers of a rebooted control node are still starting. A
task that has not begun can wait instead: for the scheduler it is still queued, and nothing is lost.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import time
import urllib.request

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
    :param seconds: longest time to wait. After it the task begins all the same, and its try may be spent.
    :param ca_file: PEM file with the authorities that may sign its certificate (default: those of the system).
    """
    if answers(url, ca_file):
        return True
    log.warning("%s does not answer: the task waits for it, %.0f s at most", url, seconds)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(PAUSE)  # the pace of asking; the answer decides, not the clock
        if answers(url, ca_file):
            return True
    log.error("%s did not answer within %.0f s", url, seconds)
    return False
