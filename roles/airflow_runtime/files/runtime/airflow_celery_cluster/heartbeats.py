"""Answer the heartbeats of running tasks with a fraction of the work. Runs in each process of the Execution API.

Each running task sends a heartbeat every second or so, which in Airflow is a request through a stack of frameworks and
a database transaction of its own. Here the heartbeats that arrive while a transaction is under way share the next one.

A heartbeat is answered here only if it is an ordinary one: of this release's client, with a valid token of the task
that is not due for renewal, of a task that runs on this host with this process id. Airflow answers all others, and
tells the worker what is wrong.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

PATH = re.compile(r"/execution/task-instances/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/heartbeat")
# Bytes. A heartbeat has a host name and a number.
LONGEST_BODY = 2000
# Airflow renews a token when a fifth of its time is left, or this many seconds: airflow.api_fastapi.execution_api.app.
RENEWED_PART = 0.2
RENEWED_SECONDS = 30

# A row that somebody has locked is left to Airflow, which waits for this row alone.
STATEMENT = """
WITH beat AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(hostnames)s::text[], %(pids)s::int[]) AS beat(id, hostname, pid)
), mine AS (
    SELECT task_instance.id FROM task_instance JOIN beat USING (id)
    WHERE state = 'running' AND task_instance.hostname = beat.hostname AND task_instance.pid = beat.pid
    FOR NO KEY UPDATE OF task_instance SKIP LOCKED
)
UPDATE task_instance SET last_heartbeat_at = %(now)s, updated_at = %(now)s FROM mine WHERE task_instance.id = mine.id
RETURNING task_instance.id
"""


@dataclass(frozen=True)
class Heartbeat:
    """A task instance, and the process that runs it."""

    task: str
    hostname: str
    pid: int


class Batches:
    """Renews heartbeats together: those that arrive during a transaction share the next one.

    :param renew: renews heartbeats, and returns the ids of the task instances that run there. Called in a thread.
    """

    def __init__(self, renew: Callable[[Sequence[Heartbeat]], set[str]]) -> None:
        self._renew = renew
        self._waiting: dict[Heartbeat, asyncio.Future[bool]] = {}
        self._work: asyncio.Task[None] | None = None

    async def renew(self, heartbeat: Heartbeat) -> bool:
        """Return whether the heartbeat was renewed. Raises what the database raises."""
        loop = asyncio.get_running_loop()
        done = self._waiting.setdefault(heartbeat, loop.create_future())
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._run())
        # One client that gives up takes nobody else's answer away.
        return await asyncio.shield(done)

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, {}
            try:
                renewed = await asyncio.to_thread(self._renew, list(batch))
            except Exception as error:
                for done in batch.values():
                    done.set_exception(error)
            else:
                for heartbeat, done in batch.items():
                    done.set_result(heartbeat.task in renewed)


class Heartbeats:
    """An ASGI application before Airflow's.

    :param application: Airflow's application.
    :param claims: returns the claims of a valid token, and raises an exception for any other.
    :param renew: as for ``Batches``.
    :param version: version of the Execution API whose heartbeats are answered here.
    """

    def __init__(
        self,
        application: Application,
        claims: Callable[[str], Awaitable[dict[str, Any]]],
        renew: Callable[[Sequence[Heartbeat]], set[str]],
        version: str,
    ) -> None:
        self._application = application
        self._claims = claims
        self._batches = Batches(renew)
        self._version = version

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        match = PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        if match is None:
            await self._application(scope, receive, send)
            return
        received: list[Message] = []
        if await self._is_renewed(match[1], dict(scope["headers"]), receive, received):
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return

        async def again() -> Message:
            return received.pop(0) if received else await receive()

        await self._application(scope, again, send)

    async def _is_renewed(
        self, task: str, headers: dict[bytes, bytes], receive: Receive, received: list[Message]
    ) -> bool:
        scheme, _space, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        length = headers.get(b"content-length", b"")
        if (
            headers.get(b"airflow-api-version", b"").decode("latin-1") != self._version
            or scheme.lower() != "bearer"
            or not length.isdigit()
            or int(length) > LONGEST_BODY
        ):
            return False
        try:
            claims = await self._claims(token)
            left = claims["exp"] - time.time()
            if (
                claims["sub"] != task
                or claims.get("scope", "execution") != "execution"
                or left <= max(RENEWED_PART * (claims["exp"] - claims["iat"]), RENEWED_SECONDS)
            ):
                return False
            body = b""
            more = True
            while more:
                message = await receive()
                received.append(message)
                if message["type"] != "http.request":
                    return False
                body += message.get("body", b"")
                more = message.get("more_body", False)
            content = json.loads(body)
            if content.keys() != {"hostname", "pid"} or not isinstance(content["pid"], int):
                return False
            return await self._batches.renew(Heartbeat(task, str(content["hostname"]), content["pid"]))
        except Exception:
            # Airflow says what is wrong.
            return False


def renew_in_database(heartbeats: Sequence[Heartbeat]) -> set[str]:
    """Renew heartbeats in the metadata database; return the ids of the task instances that run there."""
    from airflow import settings
    from airflow.utils import timezone

    arguments = {
        "ids": [heartbeat.task for heartbeat in heartbeats],
        "hostnames": [heartbeat.hostname for heartbeat in heartbeats],
        "pids": [heartbeat.pid for heartbeat in heartbeats],
        "now": timezone.utcnow(),
    }
    with settings.get_engine().begin() as connection:
        return {str(task) for task in connection.exec_driver_sql(STATEMENT, arguments).scalars()}


def wrap(application: Application) -> Heartbeats:
    """Return an application that answers heartbeats, and hands all other requests to Airflow's application."""
    from airflow.api_fastapi.execution_api.app import _jwt_validator
    from airflow.api_fastapi.execution_api.versions import bundle

    return Heartbeats(application, _jwt_validator().avalidated_claims, renew_in_database, bundle.versions[0].value)
