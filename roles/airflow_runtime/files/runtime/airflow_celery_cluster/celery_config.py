"""What the cluster adds to Airflow's Celery worker and executor.

``[celery] celery_config_options`` names ``CONFIG``, so every worker imports this module.

Always: a worker publishes nothing of a task's message (see ``message_privacy``), and sends events without being asked,
so that nobody who only watches needs the right to command workers. The supervisors reach the Execution API without a
proxy (see ``connections``), and a task may have children (see ``task_process``). A scheduler, which imports this module
for its executor, bounds the messages of the broker (see ``broker_messages``).

With the failover tuning, by Celery's signals:

- the worker's processes, which hold the broker's password, show their memory to no other process, a task for one;
- when memory runs out, the kernel ends a task and not the worker (see ``oom_score``);
- each running task holds a lease (see ``fence``);
- the end of a task is noticed at once, and a process of the pool keeps its connection (see ``supervision``);
- a task begins when the Execution API answers, and spends no try on one that does not (see ``execution_api``);
- a task dies with its supervisor;
- a worker that is stopped hands over what does not end in time, shortly before systemd kills it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Any

from airflow.configuration import conf
from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from celery.signals import task_postrun, task_prerun, worker_init, worker_process_init, worker_shutting_down

from airflow_celery_cluster import (
    broker_messages,
    connections,
    execution_api,
    fence,
    forks,
    memory,
    oom_score,
    results_sessions,
    scheduler_wake,
    supervision,
    task_process,
)

log = logging.getLogger(__name__)

CONFIG = DEFAULT_CELERY_CONFIG | {"worker_send_task_events": True}

# When a task has been queued for ``task_queued_timeout``, the scheduler queues it anew and its token is worth nothing.
# A task that waits for the Execution API must have begun, or failed, before that.
QUEUE_MARGIN = 15.0

_fence: fence.Fence | None = None


def prepare_worker(**_: Any) -> None:
    """Before the pool is forked. Celery logs and forgets an exception here, hence SystemExit."""
    from celery.worker.control import inspect_command

    try:
        connections.reach_execution_api_directly()
        inspect_command(name="execution_api")(answer_execution_api)
    except Exception as error:
        raise SystemExit(
            f"a worker that may reach the Execution API by a proxy must not take tasks: {error}"
        ) from error


def answer_execution_api(state: Any) -> dict[str, str]:
    """Whether this worker reaches the Execution API as the supervisors of its tasks do."""
    problem = connections.check_execution_api(conf.get("core", "execution_api_server_url"))
    return {"error": problem} if problem else {"ok": "reached"}


def prepare_tasks(**_: Any) -> None:
    """In each process of the pool."""
    task_process.prepare_tasks()


def install_fence(**_: Any) -> None:
    """Put up the fence before the pool is forked. Celery logs and forgets an exception here, hence SystemExit."""
    global _fence
    try:
        _fence = fence.Fence(conf.getfloat("failover", "terminate_after"), conf.getfloat("failover", "kill_after"))
        _fence.install()
        repeat_start()
        supervision.install()
    except Exception as error:
        raise SystemExit(f"a worker without its fence must not take tasks: {error}") from error


def repeat_start() -> None:
    """Outside of the fence, because a lease counts from the request that succeeded."""
    from airflow.sdk.api.client import TaskInstanceOperations

    operations: Any = TaskInstanceOperations
    operations.start = execution_api.repeating(
        operations.start,
        conf.get("core", "execution_api_server_url"),
        max(conf.getfloat("scheduler", "task_queued_timeout") - QUEUE_MARGIN, 0.0),
        conf.get("api", "ssl_ca_file", fallback=None),
    )


def bind_tasks(**_: Any) -> None:
    """In each process of the pool."""
    # First, so that no garbage collection comes before it.
    forks.share_memory()
    fence.bind_tasks_to_supervisor()
    supervision.keep_connection()


def tell_fence(args: tuple[Any, ...], **_: Any) -> None:
    """In the process of the pool that is about to run a task."""
    if _fence is not None and args:
        _fence.expect(args[0])


def release_lease(**_: Any) -> None:
    """In the process of the pool that ran the task."""
    if _fence is not None:
        _fence.release()


def hand_over_in_time(how: str, **_: Any) -> None:
    """On ``systemctl stop``: running tasks may end; those that do not are handed over."""
    if how == "Warm":
        after = conf.getfloat("failover", "hand_over_after")
        timer = threading.Timer(after, fence.hand_over, args=[os.getpid()])
        timer.daemon = True
        timer.start()


if sys.argv[1:2] == ["scheduler"]:
    broker_messages.install()
    scheduler_wake.install()
    results_sessions.install()
    CONFIG["database_engine_options"] = results_sessions.ENGINE_OPTIONS
else:
    # A scheduler needs nothing of Celery's worker, which takes memory.
    from airflow_celery_cluster import message_privacy

    message_privacy.install()

    worker_init.connect(prepare_worker)
    worker_process_init.connect(prepare_tasks)
# The deployment computes this setting only if the failover tuning is on.
if conf.has_option("failover", "terminate_after"):
    # Not only when the worker begins: Airflow forks other processes between this import and that.
    if sys.argv[1:3] == ["celery", "worker"]:
        try:
            oom_score.raise_score_of_children()
        except OSError as error:
            log.warning("when memory runs out, the kernel may end this worker instead of a task: %s", error)
        memory.hide()
    worker_init.connect(install_fence)
    worker_process_init.connect(bind_tasks)
    task_prerun.connect(tell_fence)
    task_postrun.connect(release_lease)
    worker_shutting_down.connect(hand_over_in_time)
