"""What an upgrade goes from and to, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.filter import upgrade as filters
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.upgrade import begin, path_problem, way_back

HOSTS = ("control1", "worker1", "worker2")
HEADS = ["d2f4e1b3c5a7", "02ca36b0235b"]


def current(release: str, *hosts: str) -> dict[str, dict[str, str]]:
    """Return what the hosts run."""
    return {host: {"id": release, "airflow_version": release.split("-")[0]} for host in hosts or HOSTS}


def wanted(release: str, *hosts: str) -> dict[str, str]:
    return dict.fromkeys(hosts or HOSTS, release)


def upgraded(finished: bool = True) -> dict[str, Any]:
    """Return the state of an upgrade from 3.3.1-a to 3.3.2-b."""
    state = begin(None, current("3.3.1-a"), wanted("3.3.2-b"), "3.3.2", HEADS)["state"]
    return state | {"backup": "/x.dump", "finished": finished}


# --- The way there ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("target", ["3.3.1", "3.3.2", "3.3.10", "3.3.3rc1"])
def test_a_newer_version_and_the_same_one_are_a_way(target: str) -> None:
    assert path_problem(current("3.3.1-a"), target) == ""


@pytest.mark.parametrize(
    ("running", "target", "said"),
    [
        ("3.3.10-a", "3.3.9", "Expected: 3.3.10 or newer"),
        ("3.3.2-a", "3.3", "rollback.yml"),
        ("3.2.2-a", "3.3.2", "Go there first"),
        ("3.4.0-a", "3.4.1", "runs Airflow 3.4.0"),
    ],
)
def test_other_ways_are_closed(running: str, target: str, said: str) -> None:
    assert said in path_problem(current("3.3.2-b", "control1") | current(running, "worker1"), target)


def test_one_host_with_something_newer_is_enough() -> None:
    assert path_problem(current("3.3.1-a") | current("3.3.2-b", "worker2"), "3.3.1").startswith("worker2 runs")


def test_there_must_be_something_to_upgrade() -> None:
    assert "site.yml" in path_problem({}, "3.3.2")


def test_the_same_release_needs_nothing_and_keeps_what_is_known_of_the_way_back() -> None:
    before = upgraded()
    assert begin(before, current("3.3.2-b"), wanted("3.3.2-b"), "3.3.2", HEADS) == {
        "needed": False,
        "resumed": False,
        "state": before,
    }
    # A host that was added is no upgrade.
    more = wanted("3.3.2-b", *HOSTS, "worker3")
    assert not begin({}, current("3.3.2-b"), more, "3.3.2", HEADS)["needed"]


def test_other_packages_alone_are_an_upgrade() -> None:
    found = begin({}, current("3.3.2-b"), wanted("3.3.2-c"), "3.3.2", HEADS)
    assert found["needed"]
    assert found["state"]["from"]["releases"] == wanted("3.3.2-b")
    assert found["state"]["from"]["schema"] == sorted(HEADS)


def test_a_new_upgrade_makes_a_backup_of_its_own() -> None:
    found = begin(upgraded(), current("3.3.2-b"), wanted("3.3.3-c"), "3.3.3", HEADS)
    assert (found["resumed"], found["state"]["backup"]) == (False, "")
    assert found["state"]["from"]["airflow_version"] == "3.3.2"


def test_one_that_was_broken_off_goes_on_from_where_it_began() -> None:
    half = current("3.3.2-b", "control1") | current("3.3.1-a", "worker1", "worker2")
    found = begin(upgraded(finished=False), half, wanted("3.3.2-b"), "3.3.2", ["other"])
    assert found == {"needed": True, "resumed": True, "state": upgraded(finished=False)}
    # Even where every host has its link, a worker may not have been restarted yet.
    assert begin(upgraded(finished=False), current("3.3.2-b"), wanted("3.3.2-b"), "3.3.2", HEADS)["needed"]


def test_one_that_site_yml_has_completed_is_finished_and_the_next_makes_its_own_backup() -> None:
    found = begin(upgraded(finished=False), current("3.3.2-b"), wanted("3.3.2-c"), "3.3.2", ["after"])
    assert (found["needed"], found["resumed"]) == (True, False)
    state = found["state"]
    assert (state["backup"], state["finished"], state["brought"]) == ("", False, ["3.3.2-c"])
    assert state["from"] == {"airflow_version": "3.3.2", "releases": wanted("3.3.2-b"), "schema": ["after"]}


def test_hosts_that_came_and_went_since_do_not_keep_an_upgrade_unfinished() -> None:
    hosts = ("control1", "worker2", "worker3")
    target = wanted("3.3.2-c", *hosts)
    found = begin(upgraded(finished=False), current("3.3.2-b", *hosts), target, "3.3.2", ["after"])
    assert (found["resumed"], found["state"]["from"]["releases"]) == (False, wanted("3.3.2-b", *hosts))


def test_one_host_with_the_old_release_keeps_an_upgrade_unfinished() -> None:
    now = current("3.3.2-b") | current("3.3.1-a", "worker2")
    found = begin(upgraded(finished=False), now, wanted("3.3.2-c"), "3.3.2", ["after"])
    assert (found["resumed"], found["state"]["backup"]) == (True, "/x.dump")


def test_one_that_has_changed_nothing_begins_anew_with_a_new_backup() -> None:
    found = begin(upgraded(finished=False), current("3.3.1-a"), wanted("3.3.2-b"), "3.3.2", HEADS)
    assert (found["needed"], found["resumed"], found["state"]["backup"]) == (True, False, "")
    assert found["state"]["from"]["releases"] == wanted("3.3.1-a")


@pytest.mark.parametrize(
    ("state", "schema"),
    [({}, ["after"]), ({}, []), ({"stopped": True}, HEADS)],
    ids=["migrated", "unknown schema", "interrupted rollback"],
)
def test_one_whose_database_may_have_changed_keeps_its_backup(state: dict[str, Any], schema: list[str]) -> None:
    found = begin(upgraded(finished=False) | state, current("3.3.1-a"), wanted("3.3.2-b"), "3.3.2", schema)
    assert (found["resumed"], found["state"]["backup"]) == (True, "/x.dump")


# --- The way back -----------------------------------------------------------------------------------------------------
def test_back_to_the_release_before() -> None:
    assert way_back(upgraded(), current("3.3.2-b"), HOSTS, reversed(HEADS)) == {
        "problem": "",
        "airflow_version": "3.3.1",
        "releases": wanted("3.3.1-a"),
        "restore": False,
        "stopped": False,
    }


def test_a_changed_schema_needs_the_backup() -> None:
    assert way_back(upgraded(), current("3.3.2-b"), HOSTS, ["new", HEADS[1]])["restore"]


def test_a_rollback_that_broke_off_behind_the_restore_has_nothing_to_restore_and_finds_everything_stopped() -> None:
    found = way_back(upgraded() | {"stopped": True}, current("3.3.2-b"), HOSTS, HEADS)
    assert (found["restore"], found["stopped"]) == (False, True)


def test_an_unfinished_upgrade_has_a_way_back_too() -> None:
    half = current("3.3.2-b", "control1") | current("3.3.1-a", "worker1", "worker2")
    assert way_back(upgraded(finished=False), half, HOSTS, HEADS)["releases"] == wanted("3.3.1-a")


def test_the_way_back_survives_a_change_of_mind() -> None:
    half = current("3.3.2-b", "control1") | current("3.3.1-a", "worker1", "worker2")
    state = begin(upgraded(finished=False), half, wanted("3.3.2-c"), "3.3.2", HEADS)["state"]
    found = way_back(state, half, HOSTS, HEADS)
    assert (found["problem"], found["releases"]) == ("", wanted("3.3.1-a"))


def test_a_host_that_was_added_since_takes_what_its_like_had() -> None:
    state = begin(
        None,
        current("3.3.1-a") | current("3.3.1-pool", "gpu1"),
        wanted("3.3.2-b") | {"gpu1": "3.3.2-pool"},
        "3.3.2",
        HEADS,
    )["state"]
    now = current("3.3.2-b") | current("3.3.2-pool", "gpu1", "gpu2")
    found = way_back(state, now, [*HOSTS, "gpu1", "gpu2"], HEADS)
    assert (found["releases"]["gpu2"], found["releases"]["worker1"]) == ("3.3.1-pool", "3.3.1-a")


@pytest.mark.parametrize(
    ("state", "now", "said"),
    [
        ({}, current("3.3.2-b"), "No upgrade has left word"),
        (upgraded() | {"rolled_back": True}, current("3.3.1-a"), "rolled back already"),
        (upgraded(), current("3.3.2-b") | current("3.3.2-later", "worker1"), "worker1 runs release 3.3.2-later"),
    ],
)
def test_where_there_is_no_way_back(state: dict[str, Any], now: dict[str, dict[str, str]], said: str) -> None:
    assert said in way_back(state, now, HOSTS, HEADS)["problem"]


def test_a_host_of_a_new_kind_has_no_release_of_before() -> None:
    assert "worker9 has no release" in way_back(upgraded(), current("3.3.2-b"), [*HOSTS, "worker9"], HEADS)["problem"]


def test_every_filter_is_documented() -> None:
    folder = Path(filters.__file__).parent
    for name in filters.FilterModule().filters():
        assert yaml.safe_load((folder / f"{name}.yml").read_text())["DOCUMENTATION"]["name"] == name
