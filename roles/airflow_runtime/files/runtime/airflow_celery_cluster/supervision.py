"""The supervisor of a task notices the end of the task at once, and keeps its connection to the Execution API.

Airflow's supervisor waits for the sockets of the task process. A process that has closed its sockets and has not ended
yet leaves nothing that wakes the supervisor, which then sleeps for a whole heartbeat interval. So the supervisor waits
for the end of the process, too.

Airflow's supervisor also opens a TLS connection for each task. The supervisors are the processes of Celery's pool,
which run one task after the other, and each of them keeps its connection for the next task. The connection carries the
tokens of later tasks, so the process of a task closes its copy before the code of the task runs.

The process of a task is a fork of the supervisor, and begins with the modules that tasks need.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import selectors
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import httpx

# Seconds that an idle connection is kept. HAProxy closes one after a minute, and whoever closes first loses no request.
KEEP_ALIVE = 45.0

# What the process of a task imports, whatever the task is. Found with PYTHONPROFILEIMPORTTIME.
MODULES = (
    "airflow.dag_processing.bundles.local",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.triggers.temporal",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.decorators.condition",
    "airflow.sdk.definitions.decorators.setup_teardown",
    "airflow.sdk.definitions.decorators.task_group",
    "airflow.version",
)

_connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()


class KeptTransport(httpx.HTTPTransport):
    """Connections to the Execution API that outlive the client of one task."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and take note of its connection."""
        response = super().handle_request(request)
        _connections.add(response.extensions["network_stream"].get_extra_info("socket"))
        return response

    def close(self) -> None:
        """Keep the connections, although the client of a task is closed."""


def close_connections() -> None:
    """Close this process's copies of the connections; those of its parent stay open."""
    for connection in list(_connections):
        connection.close()


def keep_connection() -> None:
    """Have this process of the pool keep its connection from one task to the next."""
    from airflow.sdk.api import client as api
    from airflow.sdk.execution_time import supervisor

    transport = KeptTransport(
        verify=api.Client._get_ssl_context_cached(api.API_SSL_CA_FILE_PATH, api.API_SSL_CERT_PATH),
        cert=(api.API_CLIENT_SSL_CERT, api.API_CLIENT_SSL_KEY) if api.API_CLIENT_SSL_CERT else None,
        limits=httpx.Limits(max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE),
        trust_env=False,
    )
    upstream = supervisor._ensure_client

    @contextlib.contextmanager
    def ensure_client(server: str | None, token: str, client: Any = None, dry_run: bool = False) -> Iterator[Any]:
        if client or dry_run:
            with upstream(server, token, client=client, dry_run=dry_run) as own:
                yield own
        else:
            with contextlib.closing(api.Client(base_url=server, token=token, transport=transport)) as kept:
                yield kept

    supervisor._ensure_client = ensure_client
    os.register_at_fork(after_in_child=close_connections)


def wake_at_end(start: Callable[..., None]) -> Callable[..., None]:
    """Wrap the method of a supervisor that follows the fork: the end of the process is an event of its selector."""

    @functools.wraps(start)
    def started(self: Any, *args: Any, **kwargs: Any) -> None:
        # A file object, because the supervisor closes what has nothing more to read, and so does the garbage collector.
        end = os.fdopen(os.pidfd_open(self.pid), "rb", buffering=0)
        self.selector.register(end, selectors.EVENT_READ, (lambda _: False, self.selector.unregister))
        start(self, *args, **kwargs)

    return started


def install() -> None:
    """Change Airflow's supervisor. Called before the pool is forked."""
    from airflow.sdk.execution_time.supervisor import ActivitySubprocess

    for module in MODULES:
        # Another version of Airflow may not have the module.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    supervisor: Any = ActivitySubprocess
    supervisor._on_child_started = wake_at_end(supervisor._on_child_started)
