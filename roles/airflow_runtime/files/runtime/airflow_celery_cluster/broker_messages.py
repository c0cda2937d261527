"""Bound the messages of the broker by the queued tasks of the metadata database. Runs in each scheduler.

A message is useful as long as its task is queued under the message's Celery id: the scheduler commits this id before
the message is sent, and a task that is queued anew gets another one. The scheduler never removes the old message. A
worker would, but there may be no worker for the queue: then each waiting task leaves a message per
``[scheduler] task_queued_timeout``, and a task that is cleared or deleted while it waits leaves one as well.

- ``Broker.clean`` removes such messages from the queues, and from the messages that a lost worker did not acknowledge.
- ``Broker.send`` keeps tasks in the scheduler while the broker takes no messages, as with a full memory. Airflow would
  fail them. ``Broker.revoke`` does not wait for a broker that does not answer.
- ``limit_audit_rows`` stops the row in the audit log that each waiting task adds per ``task_queued_timeout``.

https://github.com/apache/airflow/issues/72469
"""

from __future__ import annotations

import base64
import contextlib
import functools
import inspect
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

log = logging.getLogger(__name__)

# Names of the queues that have been sent to: Redis users of the cluster may not list keys.
QUEUES_KEY = "airflow.queues"
# Seconds between two passes over the queues, and over the unacknowledged messages.
QUEUES_INTERVAL = 10.0
UNACKED_INTERVAL = 60.0
# The scheduler waits for the broker meanwhile.
TRANSPORT_OPTIONS = {
    "socket_timeout": 2,
    "socket_connect_timeout": 2,
    # Without a limit kombu tries for ever to connect.
    "max_retries": 1,
    "interval_start": 0,
}
# Messages that are read at once. One has some 4 kB.
PAGE = 500
# A task that waits on a worker, or runs, may still need its message.
USEFUL_STATES = ("queued", "running", "restarting")
# "Stuck in queued" rows of one try of a task in the audit log, where waiting is no failure.
AUDIT_ROWS = 3
# A limit of retries from which on nobody waits for the limit: plugins/plugin_utils/failover.py.
NO_LIMIT = 1_000_000


def task_of(message: Any) -> str | None:
    """Return the Celery id of a message that starts a task instance, or None for any other message.

    :param message: what kombu writes into Redis, as JSON.
    """
    try:
        arguments, *_rest = json.loads(base64.b64decode(message["body"]))
        return str(message["headers"]["id"]) if json.loads(arguments[0])["ti"] else None
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def superfluous(messages: Iterable[bytes], useful: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield messages without a task that waits for them, and second messages for the same task.

    :param messages: messages of one queue, the one that is taken next first.
    :param useful: the Celery ids of the tasks that may need a message.
    """
    seen: dict[str, bytes] = {}
    for raw in messages:
        task = task_of(json.loads(raw))
        # A message that moved while the list was read is found twice.
        if task is not None and (task not in useful or seen.setdefault(task, raw) != raw):
            yield raw


def useful_tasks() -> dict[str, str]:
    """Return the Celery ids of the tasks that may need a message, with their queues."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskInstance.external_executor_id, TaskInstance.queue).where(
        TaskInstance.state.in_(USEFUL_STATES), TaskInstance.external_executor_id.is_not(None)
    )
    with create_session() as session:
        return {str(task): str(queue) for task, queue in session.execute(query)}


def is_broker_error(result: Any) -> bool:
    """Return whether a message was not sent because of the broker, by what Airflow's executor made of the exception."""
    from airflow.providers.common.compat.sdk import AirflowTaskTimeout
    from kombu.exceptions import OperationalError

    return isinstance(getattr(result, "exception", None), OperationalError | AirflowTaskTimeout)


class Broker:
    """The broker of one executor. All methods run in the scheduler's loop, one at a time.

    :param app: Celery application of the executor.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._connection: Any = None
        self._sent_to: set[str] = set()
        self._suspects: set[int] = set()
        self._next_queues = self._next_unacked = 0.0
        self._refused = self._complained = False
        self._reachable = True

    def _channel(self) -> Any:
        """Return a channel with a Redis client, or None for a broker of another kind."""
        if self._connection is None:
            self._connection = self._app.connection_for_write(transport_options=TRANSPORT_OPTIONS)
        if self._connection.transport.driver_type != "redis":
            return None
        channel = self._connection.default_channel
        # With a prefix, kombu's client translates the keys of its own commands only.
        return None if channel.global_keyprefix else channel

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.release()
            self._connection = None

    def send(self, send: Callable[[Sequence[Any]], list[Any]], workloads: Sequence[Any]) -> list[Any]:
        """Send messages; return the results of those that were sent, or failed for a reason other than the broker.

        The executor keeps the rest and tries again with its next heartbeat, until the scheduler queues the tasks anew.
        """
        if not self._accepts({queue for _key, _command, queue, _task in workloads if queue}):
            return []
        results = send(workloads)
        refused = [result for result in results if is_broker_error(result[2])]
        if refused:
            self._note_refusal(refused[0][2].exception)
        return [result for result in results if not is_broker_error(result[2])]

    def _accepts(self, queues: set[str]) -> bool:
        """Return whether the broker takes writes; record the names of the queues."""
        from kombu.exceptions import OperationalError
        from redis.exceptions import NoPermissionError, RedisError

        if not self._refused and queues <= self._sent_to:
            return True
        try:
            channel = self._channel()
            if channel is not None and queues:
                channel.client.sadd(QUEUES_KEY, *queues)
        except NoPermissionError as error:
            log.warning("The broker does not let this scheduler record its queues: %s", error)
        except (RedisError, OperationalError, OSError) as error:
            self._close()
            self._note_refusal(error)
            return False
        self._sent_to |= queues
        if self._refused:
            log.info("The broker takes messages again")
            self._refused = False
        return True

    def _note_refusal(self, error: Exception) -> None:
        if not self._refused:
            log.error("The broker takes no messages, so tasks wait in the scheduler: %s", error)
        self._refused = True

    def ping(self) -> None:
        """Find out whether the broker answers."""
        try:
            channel = self._channel()
            if channel is not None:
                channel.client.ping()
            self._reachable = True
        except Exception as error:
            self._close()
            self._note_refusal(error)
            self._reachable = False

    def revoke(self, executor: Any, revoke: Callable[..., None], *, ti: Any) -> None:
        """Take a task back from the executor.

        Airflow also tells the workers. While the broker does not answer, Celery would try that for ever.
        """
        if not self._reachable:
            executor.workloads.pop(executor.get_task_key(ti) if executor.supports_task_instance_uuid else ti.key, None)
        revoke(ti=ti)

    def clean(self) -> None:
        """Remove what no task waits for, if it is time. An error is logged, and the scheduler goes on."""
        now = time.monotonic()
        if now < self._next_queues:
            return
        self._next_queues = now + QUEUES_INTERVAL
        try:
            channel = self._channel()
            if channel is None:
                return
            self._clean_queues(channel)
            if now >= self._next_unacked:
                self._next_unacked = now + UNACKED_INTERVAL
                self._clean_unacked(channel)
            self._complained = False
        except Exception as error:
            self._close()
            # Whatever it is must not end the scheduler. One line for each time that the broker is unavailable.
            if not self._complained:
                log.error("Messages of the broker were not cleaned: %r", error)
            self._complained = True
            self._next_queues = now + UNACKED_INTERVAL

    def _clean_queues(self, channel: Any) -> None:
        from redis.exceptions import OutOfMemoryError

        client = channel.client
        recorded = {name.decode() for name in client.smembers(QUEUES_KEY)}
        known = recorded | self._sent_to
        lists = {queue: [channel._q_for_pri(queue, step) for step in channel.priority_steps] for queue in known}
        found = {queue: [(key, self._read(client, key)) for key in keys] for queue, keys in lists.items()}
        # After the messages were read: what was sent since then is in the database, and not in question.
        useful = useful_tasks()
        suspects, removed = set(), 0
        for queue, entries in found.items():
            for key, messages in entries:
                for raw in superfluous(messages, useful):
                    mark = hash((key, raw))
                    # Only what was superfluous in the pass before as well: a scheduler of another release may commit
                    # the id of a message after the message.
                    if mark in self._suspects:
                        removed += int(client.lrem(key, -1, raw))
                    else:
                        suspects.add(mark)
            if not any(messages for _key, messages in entries) and queue not in useful.values():
                client.srem(QUEUES_KEY, queue)
                self._sent_to.discard(queue)
        self._suspects = suspects
        if removed:
            log.info("Removed %d messages from the broker: no task waits for them any more", removed)
        self._sent_to |= set(useful.values())
        # The data of Redis may have been lost. A full Redis takes no names, and lets messages be removed.
        if lacking := self._sent_to - recorded:
            with contextlib.suppress(OutOfMemoryError):
                client.sadd(QUEUES_KEY, *lacking)

    @staticmethod
    def _read(client: Any, key: str) -> list[bytes]:
        """Return the messages of a list, the one that is taken next first."""
        found: list[bytes] = []
        for begin in range(1, 1 + int(client.llen(key)), PAGE):
            found += reversed(client.lrange(key, -begin - PAGE + 1, -begin))
        return found

    @staticmethod
    def _clean_unacked(channel: Any) -> None:
        """Remove messages that a worker took and lost, or they stay for the whole visibility timeout."""
        client = channel.client
        tags = client.zrange(channel.unacked_index_key, 0, time.time() - UNACKED_INTERVAL, byscore=True)
        taken = {tag: client.hget(channel.unacked_key, tag) for tag in tags}
        useful = useful_tasks()
        lost = []
        for tag, entry in taken.items():
            task = task_of(json.loads(entry)[0]) if entry else ""
            if task is not None and task not in useful:
                lost.append(tag)
        for tag in lost:
            client.zrem(channel.unacked_index_key, tag)
            client.hdel(channel.unacked_key, tag)
        if lost:
            log.info("Removed %d messages that lost workers had taken", len(lost))


def wrapping(function: Any, *parameters: str) -> Callable[[Any], Any]:
    """Return a decorator for what replaces a function of Airflow. TypeError for a function with other parameters."""
    if tuple(inspect.signature(function).parameters) != ("self", *parameters):
        raise TypeError(f"{function.__qualname__}{inspect.signature(function)}: expected {parameters}")
    return functools.wraps(function)


def limit_audit_rows(runner: Any) -> None:
    """Queue a task anew without a further row in the audit log when it has some.

    :param runner: Airflow's ``SchedulerJobRunner``. It counts the rows to find out when to fail the task.
    """
    requeue = runner._maybe_requeue_stuck_ti

    @wrapping(requeue, "ti", "session", "executor")
    def quietly(self: Any, *, ti: Any, session: Any, executor: Any) -> None:
        if (
            self._num_stuck_queued_retries >= NO_LIMIT
            and self._get_num_times_stuck_in_queued(ti, session=session) >= AUDIT_ROWS
        ):
            log.info("No worker has started the task yet; queuing it anew. task_instance=%s", ti)
            self._reschedule_stuck_task(ti, session=session)
        else:
            requeue(self, ti=ti, session=session, executor=executor)

    runner._maybe_requeue_stuck_ti = quietly


def install() -> None:
    """Change Airflow's scheduler. Raises TypeError when this Airflow is not the one that this module knows."""
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    handle = SchedulerJobRunner._handle_tasks_stuck_in_queued
    execute = SchedulerJobRunner._execute
    brokers: list[Broker] = []

    @wrapping(execute)
    def executing(self: Any) -> Any:
        from airflow.providers.celery.executors.celery_executor import CeleryExecutor

        wrapping(CeleryExecutor._send_workloads_to_celery, "workload_tuples_to_send")
        wrapping(CeleryExecutor.revoke_task, "ti")
        for executor in self.executors:
            if isinstance(executor, CeleryExecutor):
                broker = Broker(executor.celery_app)
                executor._send_workloads_to_celery = functools.partial(broker.send, executor._send_workloads_to_celery)
                executor.revoke_task = functools.partial(broker.revoke, executor, executor.revoke_task)
                brokers.append(broker)
        return execute(self)

    @wrapping(handle, "session")
    def handling(self: Any, **arguments: Any) -> None:
        for broker in brokers:
            broker.ping()
        handle(self, **arguments)
        for broker in brokers:
            broker.clean()

    SchedulerJobRunner._execute = executing
    SchedulerJobRunner._handle_tasks_stuck_in_queued = handling
    limit_audit_rows(SchedulerJobRunner)
