"""Every setting that decides how fast a lost worker's tasks run elsewhere, from the one number that a person sets.

A task may start again only when its first execution has surely ended, even if nobody can reach
that worker any more. So each task holds a lease, which a successful heartbeat renews. The
worker itself ends a task whose lease ran out (``airflow_celery_cluster.fence``), and the scheduler
waits longer than that before it gives the task to another worker:

    terminate_after + kill_grace + margin <= heartbeat_timeout

and the promise is kept if

    heartbeat_timeout + detection_interval + retry_delay + START_SECONDS <= seconds

A heartbeat also renews the task's token, which ends after ``[execution_api] jwt_expiration_time`` in any case:

    LEAST_HEARTBEATS * heartbeat_interval <= token_window(jwt_expiration_time)

The lease is measured in time. Airflow's own fence counts failed heartbeats, and the worst time of
one (every inner retry at its full timeout) has to be assumed for each: for the same safety it would end
tasks after two seconds of a refused connection, where the lease rides out the whole of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# From "may run" to the first line of code: scheduler loop, queue, fork, start request, import of the DAG.
START_SECONDS = 3
# Attempts to renew the lease that must fit into it, the last one included. As many must fit into the time in which a
# token is renewed.
LEAST_HEARTBEATS = 3
# From SIGTERM to SIGKILL, when there is time: what Airflow's supervisor gives a task as well.
KILL_GRACE = 5.0
LEAST_KILL_GRACE = 2.0
# Between the SIGKILL on the worker and the scheduler's decision. It covers a worker too busy to act at once.
LEAST_MARGIN = 1.5
LEAST_SECONDS = 12
MOST_SECONDS = 3600
# Heartbeats a second that are accepted for one Execution API process, a third of what
# tools/heartbeat_benchmark.py --direct measured on two cores that everything shared.
HEARTBEATS_PER_API_PROCESS = 500
# Airflow's default of [execution_api] jwt_expiration_time.
TOKEN_SECONDS = 600
# Airflow's default of [workers] min_heartbeat_interval.
STOCK_INTERVAL = 5
# A queued task that no worker starts is queued anew: its message was lost with the broker, or with the worker that had
# just taken it.
LEAST_REQUEUE_SECONDS = 60


def token_window(life: float) -> int:
    """Return the time before the end of a task's token in which a heartbeat renews the token.

    As in ``airflow/api_fastapi/execution_api/app.py``; a token that lives for less is renewed by each heartbeat.

    :param life: ``[execution_api] jwt_expiration_time`` in seconds.
    """
    return int(min(life, max(int(life * 0.2), 30)))


@dataclass(frozen=True)
class Failover:
    """The numbers that belong together. All times are in seconds.

    :param seconds: the promise: tasks of a lost worker run elsewhere within it.
    :param retry_delay: delay before the first retry, ``[core] default_task_retry_delay``.
    """

    seconds: int
    retry_delay: int = 1

    @property
    def detection_interval(self) -> int:
        """How often the scheduler looks for tasks without heartbeat."""
        return max(1, self.seconds // 20)

    @property
    def heartbeat_timeout(self) -> int:
        """Age of the last heartbeat at which the scheduler calls a task lost."""
        return self.seconds - self.detection_interval - self.retry_delay - START_SECONDS

    @property
    def heartbeat_interval(self) -> int:
        """Time between two heartbeats of a task."""
        return max(1, min(self.heartbeat_timeout // 15, token_window(TOKEN_SECONDS) // LEAST_HEARTBEATS))

    @property
    def margin(self) -> float:
        """Least time between the end of a task on a worker that is cut off and the scheduler's decision."""
        return round(max(LEAST_MARGIN, self.heartbeat_timeout / 10), 1)

    @property
    def kill_grace(self) -> float:
        """Time that a task has to end after SIGTERM."""
        return round(min(KILL_GRACE, max(LEAST_KILL_GRACE, self.heartbeat_timeout / 3)), 1)

    @property
    def terminate_after(self) -> float:
        """Age of the last successful heartbeat at which the worker tells a task to end."""
        return round(self.heartbeat_timeout - self.margin - self.kill_grace, 1)

    @property
    def kill_after(self) -> float:
        """Age of the last successful heartbeat at which the worker kills a task."""
        return round(self.terminate_after + self.kill_grace, 1)

    @property
    def api_timeout(self) -> float:
        """Time that one try of a request to the Execution API may take."""
        return min(5.0, math.floor((self.terminate_after - self.heartbeat_interval) * 5) / 10)

    @property
    def failed_heartbeats(self) -> int:
        """Failed heartbeats after which Airflow's own fence acts: not before the lease ends."""
        return math.ceil(self.terminate_after / self.heartbeat_interval) + 1

    @property
    def outage_tolerated(self) -> float:
        """Longest outage of the whole Execution API that no running task notices."""
        # A token that was not renewed in time ends the task as well.
        return round(min(self.terminate_after, token_window(TOKEN_SECONDS)) - self.heartbeat_interval, 1)

    @property
    def requeue_after(self) -> int:
        """Time after which a queued task that no worker has started is queued anew."""
        return max(LEAST_REQUEUE_SECONDS, 3 * self.seconds)

    def requests_per_second(self, tasks: int) -> float:
        """Return the heartbeats that this many running tasks send each second."""
        return tasks / self.heartbeat_interval

    @property
    def possible(self) -> bool:
        """Whether the number leaves room for the heartbeats that a lease needs."""
        return self.terminate_after >= LEAST_HEARTBEATS * self.heartbeat_interval

    def config(self) -> dict[str, dict[str, Any]]:
        """Return the settings as ``{section: {option: value}}``.

        Section ``failover`` is the cluster's own; ``airflow_celery_cluster.fence`` reads it.
        """
        return {
            "core": {"default_task_retry_delay": self.retry_delay},
            "failover": {"terminate_after": self.terminate_after, "kill_after": self.kill_after},
            "scheduler": {
                "task_instance_heartbeat_timeout": self.heartbeat_timeout,
                "task_instance_heartbeat_timeout_detection_interval": self.detection_interval,
                # The tasks of a scheduler that was killed have no one who watches them until the next one adopts them.
                "orphaned_tasks_check_interval": max(5, self.detection_interval),
                "task_queued_timeout": self.requeue_after,
                "task_queued_timeout_check_interval": max(5, self.detection_interval),
                # Waiting is no failure: queued anew as often as it takes.
                "num_stuck_in_queued_retries": 1_000_000,
            },
            "workers": {
                "min_heartbeat_interval": self.heartbeat_interval,
                "max_failed_heartbeats": self.failed_heartbeats,
                "execution_api_timeout": self.api_timeout,
                "execution_api_retries": 5,
                "execution_api_retry_wait_min": 0.25,
                "execution_api_retry_wait_max": 2.0,
            },
        }


def least_seconds(retry_delay: int, tasks: int = 0, requests_per_second: float = math.inf) -> int | None:
    """Return the smallest promise that can be kept with this retry delay and this many running tasks; None for none."""
    for seconds in range(LEAST_SECONDS, MOST_SECONDS + 1):
        failover = Failover(seconds, retry_delay)
        if failover.possible and failover.requests_per_second(tasks) <= requests_per_second:
            return seconds
    return None


@dataclass(frozen=True)
class Broken:
    """A setting of ``airflow_config`` with which the promise or the fence does not hold.

    :param option: ``section.option``.
    :param value: what it is set to.
    :param arithmetic: the inequality with its numbers, as a finding prints it.
    :param remedy: what to do instead.
    """

    option: str
    value: Any
    arithmetic: str
    remedy: str


def numbers(config: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Return the options of ``airflow_config`` that are numbers, by section and name."""
    found: dict[tuple[str, str], float] = {}
    for section, options in config.items():
        for option, value in options.items() if isinstance(options, Mapping) else ():
            if isinstance(value, int | float | str) and not isinstance(value, bool):
                try:
                    found[section, option] = float(value)
                except ValueError:
                    continue
    return found


def unrenewed_tokens(config: Mapping[str, Mapping[str, Any]], interval: float = STOCK_INTERVAL) -> Iterator[Broken]:
    """Yield the settings with which the token of a long task ends before a heartbeat renews it.

    :param interval: seconds between two heartbeats where ``config`` does not say; Airflow's own without the tuning.
    """
    set_by_hand = numbers(config)
    interval = set_by_hand.get(("workers", "min_heartbeat_interval"), interval)
    life = set_by_hand.get(("execution_api", "jwt_expiration_time"), TOKEN_SECONDS)
    window, heartbeats = token_window(life), LEAST_HEARTBEATS * interval
    for section, option, remedy in (
        ("execution_api", "jwt_expiration_time", "remove it, or set it to a larger number"),
        ("workers", "min_heartbeat_interval", "remove it, or set it to a smaller number"),
    ):
        if (section, option) in set_by_hand and heartbeats > window:
            yield Broken(
                f"{section}.{option}",
                config[section][option],
                f"a value with which {LEAST_HEARTBEATS} heartbeats x {interval:g} = {heartbeats:g} s fit into the last "
                f"{window} s of a token of {life:g} s, in which a heartbeat renews the token",
                remedy,
            )


def broken(failover: Failover, config: Mapping[str, Mapping[str, Any]]) -> Iterator[Broken]:
    """Yield what a person's ``airflow_config`` breaks. Values that are no numbers are somebody else's finding."""
    set_by_hand = numbers(config)

    def number(section: str, option: str) -> float:
        own = float(failover.config()[section][option])
        return set_by_hand.get((section, option), own)

    timeout = number("scheduler", "task_instance_heartbeat_timeout")
    detection = number("scheduler", "task_instance_heartbeat_timeout_detection_interval")
    interval = number("workers", "min_heartbeat_interval")
    request = number("workers", "execution_api_timeout")

    def found(section: str, option: str, holds: bool, arithmetic: str, remedy: str) -> Iterator[Broken]:
        if (section, option) in set_by_hand and not holds:
            yield Broken(f"{section}.{option}", config[section][option], arithmetic, remedy)

    fence = f"{failover.terminate_after:g} (SIGTERM) + {failover.kill_grace:g} (SIGKILL) + {failover.margin:g} (margin)"
    least = failover.kill_after + failover.margin
    yield from found(
        "scheduler",
        "task_instance_heartbeat_timeout",
        timeout >= least,
        f"at least {fence} = {least:g} s: a worker that is cut off has ended its tasks only then",
        "remove it and set airflow_failover_seconds instead",
    )
    needed = timeout + detection + failover.retry_delay + START_SECONDS
    promise = (
        f"heartbeat timeout {timeout:g} + detection interval {detection:g} + retry delay {failover.retry_delay:g} + "
        f"start {START_SECONDS} = {needed:g} s, which is more than airflow_failover_seconds {failover.seconds}"
    )
    for option in ("task_instance_heartbeat_timeout", "task_instance_heartbeat_timeout_detection_interval"):
        yield from found(
            "scheduler",
            option,
            needed <= failover.seconds or number("scheduler", option) <= failover.config()["scheduler"][option],
            f"a value that keeps the promise: {promise}",
            f"remove it and set airflow_failover_seconds: {math.ceil(needed)} instead",
        )
    lease = f"the {failover.terminate_after:g} s after which a task without heartbeat is told to end"
    larger = "remove it and set airflow_failover_seconds to a larger number instead"
    heartbeats = LEAST_HEARTBEATS * interval
    yield from found(
        "workers",
        "min_heartbeat_interval",
        heartbeats <= failover.terminate_after,
        f"at most {failover.terminate_after / LEAST_HEARTBEATS:.1f} s: {LEAST_HEARTBEATS} heartbeats x {interval:g} = "
        f"{heartbeats:g} s do not fit into {lease}",
        larger,
    )
    yield from unrenewed_tokens(config, interval)
    tries = interval + 2 * request
    yield from found(
        "workers",
        "execution_api_timeout",
        tries <= failover.terminate_after,
        f"at most {(failover.terminate_after - interval) / 2:.1f} s: interval {interval:g} + 2 tries x {request:g} = "
        f"{tries:g} s do not fit into {lease}",
        larger,
    )
