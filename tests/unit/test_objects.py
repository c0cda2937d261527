"""Declared objects: how declarations are compared, and what the module tells of a change."""

from __future__ import annotations

from typing import Any

import pytest
from airflow_celery_cluster import objects
from ansible_collections.airflow_celery.cluster.plugins.modules.airflow_objects import line, report_of


@pytest.mark.parametrize(
    ("stored", "value", "same"),
    [
        ("text", "text", True),
        ("text", "other", False),
        (None, "text", False),
        (None, {"a": 1}, False),
        ('{"a": [1, 2]}', {"a": [1, 2]}, True),
        ('{\n  "a": [\n1, 2]}', {"a": [1, 2]}, True),
        ('{"a": [2, 1]}', {"a": [1, 2]}, False),
        ("not JSON", {"a": 1}, False),
        ("true", True, True),
        # Text is compared as it is: a DAG reads it as it is.
        ('{"a":1}', '{"a": 1}', False),
    ],
)
def test_a_variable_is_compared_by_its_value(stored: str | None, value: Any, same: bool) -> None:
    assert objects.same_value(stored, value) is same
    assert objects.same_value(objects.variable_text(value), value)


def test_a_variable_is_declared_as_airflow_exports_it() -> None:
    assert objects.variable_parts("x") == ("x", None)
    assert objects.variable_parts({"state": "CA"}) == ({"state": "CA"}, None)
    assert objects.variable_parts({"value": 3, "description": "d"}) == (3, "d")
    assert objects.variable_parts({"value": {"value": 3}, "description": ""}) == ({"value": 3}, None)


def test_only_state_absent_removes() -> None:
    assert objects.is_absent({"state": "absent"})
    kept: list[Any] = ["absent", None, {}, {"state": "present"}, []]
    assert [value for value in kept if objects.is_absent(value)] == []


@pytest.mark.parametrize("extra", ['{"a": 1}', {"a": 1}])
def test_extra_is_a_mapping_or_json(extra: Any) -> None:
    assert objects.parsed_extra(extra) == {"a": 1}
    nothing: list[Any] = [None, "", " ", {}]
    assert [objects.parsed_extra(empty) for empty in nothing] == [{}, {}, {}, {}]


def test_a_role_keeps_the_permission_that_airflow_gives_to_each_role() -> None:
    wanted = objects.wanted_permissions({"permissions": {"DAGs": ["can_read", "can_edit"]}})
    assert wanted == {("can_read", "DAGs"), ("can_edit", "DAGs"), ("can_read", "Website")}


def test_a_change_names_fields_and_shows_no_value() -> None:
    fields = objects.differing({"host": "a", "password": "old"}, {"host": "a", "password": "hunter22", "port": 25})
    assert fields == ("password", "port")
    change = {"kind": "connection", "name": "smtp", "action": "change", "fields": list(fields)}
    assert line(change) == "connection smtp: change password, port"
    assert line(change | {"action": "remove", "fields": []}) == "connection smtp: remove"


def test_a_program_that_reports_nothing_is_noticed() -> None:
    assert report_of('warning\n{"changes": [], "problems": []}\n') == {"changes": [], "problems": []}
    assert [report_of(text) for text in ("", "Traceback", "[1]")] == [None, None, None]
