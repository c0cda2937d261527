"""External databases and brokers: what our playbooks refuse before the first connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Draft, Play

URLS = {
    "airflow_database_url": "postgresql+psycopg2://air:hunter22@db.example.org/airflow",
    "airflow_result_backend": "db+postgresql+psycopg2://celery:hunter22@db.example.org/results",
    "airflow_broker_url": "rediss://:hunter22@cache.example.org:6379/0",
}


@pytest.fixture
def external(sound: Callable[[], Draft]) -> Draft:
    """An inventory with both services elsewhere, and without their secrets."""
    draft = sound()
    for group in ("postgres", "redis"):
        draft.group(group)[group] = {"hosts": {}}
    for name in (
        "airflow_database_password",
        "airflow_results_password",
        "airflow_broker_password",
        "flower_broker_password",
        "backup_passphrase",
    ):
        del draft.secrets[name]
    draft.everywhere |= URLS
    return draft


def test_empty_groups_with_urls_are_accepted(play: Play, external: Draft, tmp_path: Path) -> None:
    run = play("validate_inventory.yml", external.write(tmp_path / "inventory"))
    assert run.status == 0, run.output


@pytest.mark.parametrize(
    ("playbook", "options", "said"),
    [
        ("backup.yml", (), "pg_dump with the login of airflow_database_url"),
        ("restore.yml", (), "its backups are those of the service"),
        ("upgrade.yml", (), "Expected: a backup or snapshot that you have just made"),
        ("rotate_secrets.yml", ("-e", "cluster_rotate=airflow_broker_password"), "group redis is empty"),
    ],
)
def test_what_needs_the_own_service_is_refused_with_the_alternative(
    play: Play, external: Draft, tmp_path: Path, playbook: str, options: tuple[str, ...], said: str
) -> None:
    run = play(playbook, external.write(tmp_path / "inventory"), *options)
    assert run.status != 0
    refused = [
        str(item.get("msg")) for result in run.results for item in result.get("results", []) if item.get("failed")
    ]
    told = run.refusal + "\n".join(refused)
    assert said in told
    assert "Nothing was" in told
    assert "hunter22" not in told


def test_a_restore_wants_an_external_broker_emptied(play: Play, external: Draft, tmp_path: Path) -> None:
    external.group("postgres")["postgres"] = {"hosts": {"control1": {}}}
    for name in ("airflow_database_url", "airflow_result_backend"):
        del external.everywhere[name]
    for name in ("airflow_database_password", "airflow_results_password", "backup_passphrase"):
        external.secrets[name] = "x" * 32
    run = play("restore.yml", external.write(tmp_path / "inventory"))
    refused = [
        str(item.get("msg")) for result in run.results for item in result.get("results", []) if item.get("failed")
    ]
    assert any("-e cluster_broker=emptied" in text for text in refused)
