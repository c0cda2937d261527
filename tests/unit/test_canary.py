"""The canary: which worker takes it, and what of its end is good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow_celery_cluster.canary import QUEUE, changes
from airflow_celery_cluster.canary_run import problem

ROOT = Path(__file__).resolve().parents[2]
# Where the first user is created.
OWNERS = {"roles/airflow_database", "roles/airflow/vars", "roles/airflow/defaults", "roles/airflow/meta"}
QUARANTINED, OPEN = {QUEUE}, {"default"}


@pytest.mark.parametrize(
    ("active", "left"),
    [
        ({"a": QUARANTINED, "b": OPEN}, []),
        # Another one that is quarantined, or that an interrupted run has left with the queue
        ({"a": QUARANTINED, "b": QUARANTINED, "c": OPEN | QUARANTINED}, [("cancel", "b"), ("cancel", "c")]),
        ({"a": set(), "b": OPEN}, [("add", "a")]),
        ({"b": QUARANTINED}, [("cancel", "b"), ("add", "a")]),
    ],
    ids=["as it should be", "others have it", "nothing yet", "silent"],
)
def test_one_worker_alone_takes_the_canary(active: dict[str, set[str]], left: list[tuple[str, str]]) -> None:
    assert changes("a", active, {QUEUE}) == [(f"{what}_consumer", QUEUE, name) for what, name in left]


def test_a_worker_is_opened_and_gives_the_canary_up() -> None:
    queues = {"default", "reports"}
    assert changes("a", {"a": QUARANTINED, "b": QUARANTINED}, queues) == [
        ("cancel_consumer", QUEUE, "a"),
        ("add_consumer", "default", "a"),
        ("add_consumer", "reports", "a"),
    ]
    assert changes("a", {"a": queues, "b": QUARANTINED}, queues) == []


@pytest.mark.parametrize(
    ("task", "release", "said"),
    [
        ({"hostname": "w1", "state": "success"}, "3.3.2-b", ""),
        ({"hostname": "w2", "state": "success"}, "3.3.2-b", "it ran on w2"),
        ({"hostname": "w1", "state": "success"}, "3.3.1-a", "expected 3.3.2-b"),
        ({"hostname": "w1", "state": "failed"}, None, "it ended as failed"),
        ({"hostname": "", "state": "failed"}, None, "it ended as failed"),
    ],
)
def test_a_canary_comes_back_from_the_right_worker_with_the_right_release(
    task: dict[str, Any], release: str | None, said: str
) -> None:
    found = problem(task, release, "w1", "3.3.2-b")
    assert (said in found) if said else found == ""


def test_no_operation_logs_in_as_a_person() -> None:
    """A person may change the password of the first user, or remove the user."""
    # Rules of values. The check of the inventory compares the name to those of airflow_users.
    paths = [path for folder in ("playbooks", "plugins", "roles") for path in (ROOT / folder).rglob("*.*")]
    found = {
        str(path.relative_to(ROOT))
        for path in [*paths, ROOT / "site.yml"]
        if path.suffix in (".yml", ".py", ".j2") and "airflow_admin_" in path.read_text()
    }
    tables = {
        f"plugins/plugin_utils/{name}.py" for name in ("inventory_rules", "secret_values", "inventory_check/values")
    }
    # The message at the end of site.yml names the variable, and not the value.
    tables.add("roles/airflow/templates/next_steps.txt.j2")
    assert "{{ airflow_admin_password" not in (ROOT / "roles/airflow/templates/next_steps.txt.j2").read_text()
    assert {name for name in found - tables if not name.startswith(tuple(OWNERS))} == set()
    assert found >= tables
