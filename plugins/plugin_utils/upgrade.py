"""What an upgrade goes from and to, and whether there is a way back.

The state of an upgrade is a JSON file on the first host of group airflow_scheduler, so that another run, from any
controller, continues an interrupted one, and a rollback knows the state before the upgrade::

    {"from": {"airflow_version": "3.3.1", "releases": {"worker1": "3.3.1-0123456789ab"}, "schema": ["d2f4e1b3c5a7"]},
     "to": {"airflow_version": "3.3.2", "releases": {"worker1": "3.3.2-ba9876543210"}},
     "brought": ["3.3.2-ba9876543210"],
     "backup": "/var/lib/airflow/backup/before-3.3.2-ba9876543210.dump", "finished": false}
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command, playbook

State = Mapping[str, Any]
Current = Mapping[str, Mapping[str, str]]


def release_of(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, without zeros at the end."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[^0-9.]", version)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def path_problem(current: Current, wanted: str) -> str:
    """Return why the way from what runs to a version of Airflow is closed; "" if it is open.

    :param current: release.json of each host that has a release, by host.
    :param wanted: the version to upgrade to.
    """
    if not current:
        return f"No host has a release of Airflow. Expected: a deployed cluster. Run {command('site')}."
    for host, release in sorted(current.items()):
        version = release["airflow_version"]
        numbers = (*release_of(version), 0, 0)[:2]
        if not rules.AIRFLOW_FROM <= numbers < rules.AIRFLOW_BEFORE:
            return (
                f"{host} runs Airflow {version}. Expected: {rules.AIRFLOW_RANGE}, from where the way to {wanted} is "
                "known. Go there first, with the release of this project that brought it."
            )
        if release_of(version) > release_of(wanted):
            return (
                f"{host} runs Airflow {version}, and {wanted} is older. Expected: {version} or newer. "
                f"To go back to the release before an upgrade, run {command('rollback')}."
            )
    return ""


def begin(
    state: State | None, current: Current, wanted: Mapping[str, str], version: str, schema: Sequence[str]
) -> dict[str, Any]:
    """Return what an upgrade has to do: whether it is ``needed``, or ``resumed``, and the ``state`` to write down.

    An interrupted upgrade continues, and what it began from stays what a rollback returns to, even if the inventory
    wants another release by now. It is compared with what the hosts run: if site.yml has completed it, or if it has
    changed nothing yet, another target is a new upgrade with a backup of its own.

    :param state: what an earlier upgrade has left, or nothing.
    :param current: release.json of each host that has a release, by host.
    :param wanted: id of the release that each host is to have.
    :param schema: revisions of the database's schema now.
    """
    ids = {host: release["id"] for host, release in current.items()}
    resumed = bool(state) and not (state or {})["finished"] and not _superseded(state or {}, ids, wanted, schema)
    if not resumed and all(wanted.get(host, release) == release for host, release in ids.items()):
        return {"needed": False, "resumed": False, "state": dict(state or {})}
    to = {"airflow_version": version, "releases": dict(wanted)}
    if resumed and state is not None:
        brought = sorted({*state["brought"], *wanted.values()})
        return {"needed": True, "resumed": True, "state": {**state, "to": to, "brought": brought}}
    # One host may have been away during the last upgrade, and have an older one.
    versions = Counter(release["airflow_version"] for release in current.values())
    before = {"airflow_version": versions.most_common(1)[0][0], "releases": ids, "schema": sorted(schema)}
    new = {"from": before, "to": to, "brought": sorted(set(wanted.values())), "backup": "", "finished": False}
    return {"needed": True, "resumed": False, "state": new}


def _superseded(state: State, ids: Mapping[str, str], wanted: Mapping[str, str], schema: Sequence[str]) -> bool:
    """Return whether an unfinished upgrade needs no continuation: it was completed otherwise, or has changed nothing.

    :param ids: id of the release of each host that has one.
    """
    if state.get("stopped"):
        # A rollback was interrupted; the database may be the one of before without its rows.
        return False
    before, after = state["from"], state["to"]["releases"]
    if all(ids[host] == after.get(host, ids[host]) for host in ids):
        # With the same target, processes may still have to be restarted.
        return any(after.get(host, release) != release for host, release in wanted.items())
    # The revisions of a database of somebody else are not known.
    return ids == before["releases"] and bool(schema) and sorted(schema) == before["schema"]


def way_back(state: State | None, current: Current, hosts: Sequence[str], schema: Sequence[str]) -> dict[str, Any]:
    """Return how to undo an upgrade: ``problem`` ("" for none), ``airflow_version``, ``releases`` by host, ``restore``,
    and whether everything was ``stopped`` for that already by an interrupted rollback.

    :param state: what the upgrade has left, or nothing.
    :param current: release.json of each host that has a release, by host.
    :param hosts: all hosts that run Airflow.
    :param schema: revisions of the database's schema now. If they are not those of before, the database must go back.
    """

    def closed(problem: str) -> dict[str, Any]:
        return {"problem": problem, "airflow_version": "", "releases": {}, "restore": False, "stopped": False}

    if not state:
        return closed(
            "No upgrade has left word of what ran before it. "
            f"Expected: a cluster that was upgraded with {playbook('upgrade')}."
        )
    before, after = state["from"], state["to"]
    if state.get("rolled_back"):
        return closed(f"The last upgrade was rolled back already, to Airflow {before['airflow_version']}.")
    # A host that was added since takes what its like had.
    twins: dict[str, str] = {}
    for host, release in after["releases"].items():
        if host in before["releases"]:
            twins.setdefault(release, before["releases"][host])
    releases = {}
    for host in hosts:
        now = current.get(host, {}).get("id", "")
        was = before["releases"].get(host) or twins.get(now) or twins.get(after["releases"].get(host, ""))
        if now and now != was and now not in state["brought"]:
            return closed(
                f"{host} runs release {now}, which the last upgrade, to {after['airflow_version']}, did not bring. "
                "Expected: what that upgrade has left; something was deployed since."
            )
        if not was:
            return closed(
                f"{host} has no release from before the upgrade, nor has a host like it. "
                "Take it out of the inventory for the rollback, and add it again afterwards."
            )
        releases[host] = was
    restore = sorted(schema) != sorted(before["schema"])
    return {
        "problem": "",
        "airflow_version": before["airflow_version"],
        "releases": releases,
        "restore": restore,
        "stopped": bool(state.get("stopped")),
    }
