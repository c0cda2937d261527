"""Every refusal that needs no machine, provoked for real.

Each row breaks a sound inventory in one way and says which pieces the finding must have. Rows of the same batch are
broken into one inventory and run together, because all findings are told together; and every finding of a run must
belong to a row, so that a rule which finds too much fails as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from . import refusal_rows_of_settings, refusal_rows_of_values
from .changes import members
from .conftest import Draft, Play, Run
from .refusal_row import SECRET_VALUES, Row

ROWS = [*refusal_rows_of_values.ROWS, *refusal_rows_of_settings.ROWS]

Sound = Callable[[], Draft]


@pytest.fixture(scope="session")
def batch(play: Play, sound: Sound, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Return a function that runs all rows of a batch, once."""

    @cache
    def run(name: str) -> Run:
        draft = sound()
        for row in ROWS:
            if row.batch == name:
                row.change(draft)
        return play("validate_inventory.yml", draft.write(tmp_path_factory.mktemp(name)))

    return run


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.batch}: {row.name}")
def test_it_is_refused(row: Row, batch: Callable[[str], Run]) -> None:
    run = batch(row.batch)
    assert run.status != 0
    matching = [text for text in run.findings if all(piece in text for piece in row.pieces)]
    assert len(matching) == 1, run.refusal
    assert "expected: " in matching[0]
    assert "fix: " in matching[0]


@pytest.mark.parametrize("name", sorted({row.batch for row in ROWS}))
def test_nothing_else_is_refused(name: str, batch: Callable[[str], Run]) -> None:
    rows = [row for row in ROWS if row.batch == name]
    stray = [text for text in batch(name).findings if not any(all(p in text for p in row.pieces) for row in rows)]
    # worker1 is in a group that its parent does not know any more, which is another consequence of the same change.
    assert [text for text in stray if "not inside group" not in text] == []


@pytest.mark.parametrize("name", sorted({row.batch for row in ROWS}))
def test_no_secret_is_told_and_no_machine_is_asked(name: str, batch: Callable[[str], Run]) -> None:
    run = batch(name)
    assert [value for value in SECRET_VALUES if value in run.output] == []
    assert [play["play"]["name"] for play in run.plays] == ["Inventory"]
    assert "No machine was touched." in run.refusal


def test_a_sound_inventory_passes(play: Play, sound: Sound, tmp_path: Path) -> None:
    draft = sound()
    # What a rule could take for a mistake, and is none.
    draft.everywhere |= {
        "airflow_config": {
            "core": {"dagbag_import_timeout": "{{ 30 + 30 }}", "lazy_load_plugins": "true"},
            "celery": {"pool": "prefork", "extra_celery_config": {"worker_max_tasks_per_child": 10}},
            "secrets": {"backend_kwargs": {"variables_file_path": "/srv/home/v.json"}},
            "acme": {"anything": 1},
        },
        "airflow_config_extra_sections": ["acme"],
        "airflow_runtime_extra_requirements": ["apache-airflow-providers-http>=5", "bokeh_sampledata"],
        "haproxy_port": 8443,
        "my_own_variable": 1,
        "firewall_allowed_tcp_ports": [22],
    }
    draft.host("worker1").update(airflow_worker_queues=["default", "reports"], airflow_worker_concurrency=32)
    run = play("validate_inventory.yml", draft.write(tmp_path / "inventory"))
    assert (run.refusal, run.status) == ("", 0)
    assert "firewall_allowed_tcp_ports (host control1 and 3 more): no variable" in run.output


def test_a_limit_does_not_narrow_the_view(play: Play, sound: Sound, tmp_path: Path) -> None:
    draft = sound()
    draft.host("control1")["redis_bind"] = ["127.0.0.1"]
    run = play("validate_inventory.yml", draft.write(tmp_path / "inventory"), "--limit", "worker3")
    assert run.status != 0
    assert "host control1: redis_bind" in run.refusal


def test_consent_lets_a_worker_share_a_host(play: Play, sound: Sound, tmp_path: Path) -> None:
    draft = sound()
    members("airflow_worker", "control1", "worker1")(draft)
    directory = draft.write(tmp_path / "inventory")
    assert "host control1: groups = airflow_worker and" in play("validate_inventory.yml", directory).refusal
    consent = ("-e", "airflow_allow_worker_on_control_plane=true")
    assert play("validate_inventory.yml", directory, *consent).status == 0


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ("cluster_why=a new disk", "2 arguments are"),
        ("cluster_worker=worker1, worker2", "1 argument is"),
        ("confirm", "1 argument is"),
    ],
)
def test_extra_arguments_without_a_variable_are_refused(
    play: Play, sound: Sound, tmp_path: Path, given: str, count: str
) -> None:
    run = play("validate_inventory.yml", sound().write(tmp_path / "inventory"), "-e", given)
    assert run.status != 0
    assert f"command line: -e = {count} not assigned to a variable" in run.refusal
    assert "disk" not in run.refusal


@pytest.mark.parametrize("given", ["reason='a new disk'", '{"reason": "a new disk"}'])
def test_a_value_with_spaces_in_quotes_passes(play: Play, sound: Sound, tmp_path: Path, given: str) -> None:
    assert play("validate_inventory.yml", sound().write(tmp_path / "inventory"), "-e", given).status == 0


def test_an_inventory_without_hosts_is_refused(play: Play, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {}\n")
    run = play("validate_inventory.yml", tmp_path / "hosts.yml")
    assert run.status != 0
    assert "group airflow_worker: hosts = none, the group is missing" in run.refusal


def test_a_refused_inventory_stops_the_whole_site(play: Play, sound: Sound, tmp_path: Path) -> None:
    draft = sound()
    draft.everywhere["redis_prot"] = 1
    run = play("site.yml", draft.write(tmp_path / "inventory"))
    assert run.status != 0
    assert "redis_prot" in run.refusal
    # No connection was tried: nothing is unreachable, though none of these machines exists.
    assert [result["host"] for result in run.results if result.get("unreachable")] == []
    assert [play["play"]["name"] for play in run.plays if play["tasks"]] == ["Inventory"]
