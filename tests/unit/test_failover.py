"""The numbers of a failover: for every allowed promise the inequalities hold, and what breaks them is found."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import (
    LEAST_HEARTBEATS,
    LEAST_MARGIN,
    LEAST_SECONDS,
    MOST_SECONDS,
    START_SECONDS,
    TOKEN_SECONDS,
    Failover,
    broken,
    least_seconds,
    token_window,
)

PROJECT = Path(__file__).resolve().parents[2]
PROMISES = [*range(LEAST_SECONDS, 121), 300, 600, MOST_SECONDS]


@pytest.mark.parametrize("seconds", PROMISES)
def test_the_promise_adds_up(seconds: int) -> None:
    config = Failover(seconds).config()
    scheduler = config["scheduler"]
    spent = (
        scheduler["task_instance_heartbeat_timeout"]
        + scheduler["task_instance_heartbeat_timeout_detection_interval"]
        + config["core"]["default_task_retry_delay"]
        + START_SECONDS
    )
    assert spent <= seconds


@pytest.mark.parametrize("seconds", PROMISES)
def test_a_lost_task_has_ended_before_it_starts_elsewhere(seconds: int) -> None:
    config = Failover(seconds).config()
    terminate, kill = config["failover"]["terminate_after"], config["failover"]["kill_after"]
    assert 0 < terminate < kill
    assert kill + LEAST_MARGIN <= config["scheduler"]["task_instance_heartbeat_timeout"]


@pytest.mark.parametrize("seconds", PROMISES)
def test_a_lease_has_room_for_the_heartbeats_that_renew_it(seconds: int) -> None:
    config = Failover(seconds).config()
    workers, lease = config["workers"], config["failover"]["terminate_after"]
    assert workers["min_heartbeat_interval"] * LEAST_HEARTBEATS <= lease
    assert workers["min_heartbeat_interval"] + 2 * workers["execution_api_timeout"] <= lease
    # Counted failures must not end a task that still holds its lease.
    assert workers["max_failed_heartbeats"] * workers["min_heartbeat_interval"] > lease
    # Airflow reads these as whole numbers.
    assert isinstance(workers["min_heartbeat_interval"], int)
    assert isinstance(config["scheduler"]["task_instance_heartbeat_timeout"], int)


@pytest.mark.parametrize("delay", [1, 10, 60, 600])
def test_every_accepted_promise_satisfies_every_inequality(delay: int) -> None:
    accepted = [failover for n in range(LEAST_SECONDS, MOST_SECONDS + 1) if (failover := Failover(n, delay)).possible]
    assert accepted
    haproxy = (PROJECT / "roles/haproxy/templates/haproxy.cfg.j2").read_text()
    (queue,) = (int(n) for n in re.findall(r"timeout queue (\d+)s", haproxy))
    (keep_alive,) = (int(n) for n in re.findall(r"timeout http-keep-alive (\d+)s", haproxy))
    broken_by = {
        failover.seconds: names
        for failover in accepted
        if (names := [name for name, holds in inequalities(failover, queue, keep_alive).items() if not holds])
    }
    assert broken_by == {}


def inequalities(failover: Failover, queue: int, keep_alive: int) -> dict[str, bool]:
    """Return what must hold between heartbeat, token, lease, queue and proxy, by what would happen otherwise.

    :param queue: time that HAProxy keeps a request without a server.
    :param keep_alive: time that HAProxy keeps a connection without a request.
    """
    config = failover.config()
    scheduler, workers, fence = config["scheduler"], config["workers"], config["failover"]
    interval, request = workers["min_heartbeat_interval"], workers["execution_api_timeout"]
    timeout, detection = (scheduler[f"task_instance_heartbeat_timeout{name}"] for name in ("", "_detection_interval"))
    lease = fence["terminate_after"]
    return {
        "late": timeout + detection + failover.retry_delay + START_SECONDS <= failover.seconds,
        "runs twice": fence["kill_after"] + LEAST_MARGIN <= timeout,
        "no time to end": 0 < lease < fence["kill_after"],
        "lease not renewed": interval * LEAST_HEARTBEATS <= lease,
        "token not renewed": interval * LEAST_HEARTBEATS <= token_window(TOKEN_SECONDS),
        "no second try": interval + 2 * request <= lease,
        "counted failures come first": workers["max_failed_heartbeats"] * interval > lease,
        "tolerance is not one": 0 < failover.outage_tolerated < min(lease, token_window(TOKEN_SECONDS)),
        "HAProxy answers after the client has left": request <= queue,
        "each heartbeat opens a connection": interval < keep_alive,
        "queued anew while it waits for its retry": scheduler["task_queued_timeout"] >= failover.seconds,
        "whole numbers": all(isinstance(number, int) for number in (interval, timeout, detection)),
    }


@pytest.mark.parametrize(("life", "window"), [(600, 120), (100, 30), (20, 20), (3600, 720)])
def test_the_window_in_which_a_token_is_renewed(life: int, window: int) -> None:
    assert token_window(life) == window


def test_the_default_promise() -> None:
    failover = Failover(20)
    assert (failover.heartbeat_interval, failover.heartbeat_timeout, failover.detection_interval) == (1, 15, 1)
    assert (failover.terminate_after, failover.kill_after, failover.outage_tolerated) == (8.5, 13.5, 7.5)


@pytest.mark.parametrize("delay", [1, 10, 300])
def test_the_least_promise_is_possible_and_the_one_below_is_not(delay: int) -> None:
    least = least_seconds(delay)
    assert least is not None
    assert Failover(least, delay).possible
    assert least == LEAST_SECONDS or not Failover(least - 1, delay).possible


def test_more_tasks_need_a_longer_promise() -> None:
    least = least_seconds(1, tasks=2000, requests_per_second=240)
    assert least is not None
    assert Failover(least).requests_per_second(2000) <= 240 < Failover(least - 1).requests_per_second(2000)
    assert least_seconds(1, tasks=10, requests_per_second=math.inf) == LEAST_SECONDS


@pytest.mark.parametrize(
    ("section", "option", "value", "arithmetic"),
    [
        (
            "scheduler",
            "task_instance_heartbeat_timeout",
            12,
            "at least 8.5 (SIGTERM) + 5 (SIGKILL) + 1.5 (margin) = 15 s",
        ),
        ("scheduler", "task_instance_heartbeat_timeout", "300", "heartbeat timeout 300 + detection interval 1 + retry"),
        ("scheduler", "task_instance_heartbeat_timeout_detection_interval", 10, "= 29 s, which is more than"),
        ("workers", "min_heartbeat_interval", 5, "3 heartbeats x 5 = 15 s do not fit into the 8.5 s"),
        ("execution_api", "jwt_expiration_time", 2, "3 heartbeats x 1 = 3 s fit into the last 2 s of a token of 2 s"),
        ("workers", "execution_api_timeout", 10, "interval 1 + 2 tries x 10 = 21 s do not fit into the 8.5 s"),
    ],
)
def test_a_setting_that_breaks_the_promise_is_found(section: str, option: str, value: Any, arithmetic: str) -> None:
    found = list(broken(Failover(20), {section: {option: value}}))
    assert [problem.option for problem in found] == [f"{section}.{option}"]
    assert arithmetic in found[0].arithmetic
    assert found[0].value == value


def test_a_heartbeat_that_comes_too_late_for_the_token_is_found() -> None:
    found = list(broken(Failover(1200), {"workers": {"min_heartbeat_interval": 50}}))
    assert [problem.option for problem in found] == ["workers.min_heartbeat_interval"]
    assert "3 heartbeats x 50 = 150 s fit into the last 120 s of a token of 600 s" in found[0].arithmetic


def test_settings_that_keep_the_promise_are_left_alone() -> None:
    config: dict[str, dict[str, Any]] = {
        "scheduler": {"task_instance_heartbeat_timeout": 15, "task_instance_heartbeat_timeout_detection_interval": 0.5},
        "workers": {"min_heartbeat_interval": 2, "execution_api_timeout": 3, "max_failed_heartbeats": 2},
        "celery": {"worker_prefetch_multiplier": 1},
    }
    assert list(broken(Failover(20), config)) == []


def test_what_is_no_number_is_somebody_elses_finding() -> None:
    assert list(broken(Failover(20), {"workers": {"min_heartbeat_interval": "soon"}, "core": None})) == []
