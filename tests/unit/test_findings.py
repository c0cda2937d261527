"""How findings are told."""

from __future__ import annotations

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import (
    UNSET,
    Finding,
    looks_secret,
    nearest,
    report,
    show,
)

HEADING = "{count} {noun}."


def test_nothing_found_is_nothing_said() -> None:
    assert report([], HEADING) == ""


def test_a_finding_names_host_variable_value_expectation_and_remedy() -> None:
    assert report([Finding("host w1", "redis_port", "0", "a port", "set it")], HEADING) == (
        "1 finding.\n1. host w1: redis_port = 0\n   expected: a port\n   fix: set it"
    )


def test_the_same_mistake_on_many_hosts_is_told_once() -> None:
    many = [Finding(f"host w{number}", "redis_port", "0", "a port", "set it") for number in range(8)]
    text = report([*many, Finding("group redis", "hosts", "none", "one", "add one")], HEADING)
    assert text.splitlines()[:2] == ["2 findings.", "1. hosts w0, w1, w2, w3, w4 and 3 more: redis_port = 0"]
    assert "2. group redis: hosts = none" in text


def test_another_value_is_another_finding() -> None:
    text = report([Finding(f"host w{value}", "p", value, "a port", "set it") for value in "01"], HEADING)
    assert text.startswith("2 findings.")


def test_a_value_is_shown_unless_it_is_secret() -> None:
    assert show("x") == "'x'"
    assert show(["x"]) == "['x']"
    assert show(UNSET) == show(UNSET, secret=True) == "not set"
    assert show("hunter22", secret=True) == "(hidden)"
    assert show("https://me:hunter22@example.org/x.git") == "'https://(hidden)@example.org/x.git'"
    assert len(show("x" * 1000)) < 200


def test_a_name_can_look_secret() -> None:
    assert looks_secret("redis_passwd")
    assert looks_secret("sql_alchemy_conn")
    assert not looks_secret("airflow_worker_queues")


def test_nearest_finds_a_near_name_or_none() -> None:
    assert nearest("airflow_worker_concurency", ["airflow_worker_queues", "airflow_worker_concurrency"]) == (
        "airflow_worker_concurrency"
    )
    assert nearest("zzz", ["airflow_worker_queues"]) is None
