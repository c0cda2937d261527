"""Secrets: what is made, what is missing and what is too weak."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import secret_values
from cluster_inventory import SECRETS


@pytest.mark.parametrize("name", sorted(secret_values.GENERATORS))
def test_what_is_made_is_fit_and_different_each_time(name: str) -> None:
    made = {secret_values.GENERATORS[name]() for _ in range(20)}
    assert len(made) == 20
    assert [secret_values.problem(name, value) for value in made] == [None] * 20
    assert all(re.fullmatch(r"[A-Za-z0-9_=-]{32,}", value) for value in made)


def test_a_fernet_key_is_32_bytes() -> None:
    assert len(base64.urlsafe_b64decode(secret_values.fernet_key())) == 32


def test_every_secret_is_needed_by_somebody_and_no_worker_gets_the_metadata() -> None:
    assert secret_values.NEEDED_BY.keys() == secret_values.GENERATORS.keys()
    for_worker = {name for name, groups in secret_values.NEEDED_BY.items() if "airflow_worker" in groups}
    assert for_worker == {"airflow_broker_password", "airflow_results_password", "certificates_ca_passphrase"}


def test_the_scripts_read_every_secret() -> None:
    # What they do not know of they would neither use nor look for where it must not be.
    assert set(SECRETS) == secret_values.GENERATORS.keys()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("airflow_fernet_key", "too-short", "32 random bytes as URL-safe base64 (44 characters)"),
        ("airflow_fernet_key", base64.urlsafe_b64encode(b"x" * 16).decode(), "not 16 bytes"),
        ("airflow_fernet_key", base64.urlsafe_b64encode(b"0123" * 8).decode(), "repeat themselves"),
        pytest.param("airflow_fernet_key", secret_values.fernet_key() + ",x", "44 characters", id="second fernet key"),
        ("airflow_admin_password", "", "not empty"),
        ("airflow_admin_password", None, "not empty"),
        ("airflow_admin_password", 12345678, "text"),
        ("airflow_admin_password", "short", "at least 8"),
        ("airflow_admin_password", "Airflow", "guesses"),
        ("airflow_broker_password", 'with"quote', "quotes"),
        ("airflow_broker_password", "with space", "white space"),
        ("airflow_jwt_secret", "only-20-characters-x", "at least 32"),
        ("flower_password", "one,two,three", "comma"),
    ],
)
def test_a_weak_secret_is_refused_without_being_repeated(name: str, value: object, expected: str) -> None:
    problem = secret_values.problem(name, value)
    assert problem is not None
    assert expected in problem
    assert not value or str(value) not in problem


def test_a_rotation_of_fernet_keys_is_accepted() -> None:
    keys = f"{secret_values.fernet_key()},{secret_values.fernet_key()}"
    assert secret_values.problem("airflow_fernet_key", keys) is None


def test_missing_lines_are_added_and_the_rest_stays_as_it_is() -> None:
    before = "---\n# mine\nairflow_fernet_key: abc # old"
    after = secret_values.with_missing(before, ["flower_password", "airflow_jwt_secret"])
    assert after.startswith(before + "\n")
    assert list(yaml.safe_load(after)) == ["airflow_fernet_key", "airflow_jwt_secret", "flower_password"]


def test_a_new_file_says_what_it_is() -> None:
    text = secret_values.with_missing("", secret_values.missing([]))
    assert text.startswith(secret_values.HEADER)
    assert yaml.safe_load(text).keys() == secret_values.GENERATORS.keys()


def test_a_file_that_the_new_directory_would_hide_is_found(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    assert secret_values.layout_problem(tmp_path) is None
    file = tmp_path / "group_vars" / "all.yml"
    file.write_text("a: 1\n")
    problem = secret_values.layout_problem(tmp_path)
    assert problem is not None
    assert str(file) in problem[1]
    (tmp_path / "group_vars" / "all").mkdir()
    assert secret_values.layout_problem(tmp_path) is None
