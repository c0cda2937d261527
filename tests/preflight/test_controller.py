"""A run is refused on a controller that lacks a program for it, or with a password that one cannot use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Draft, Play


@pytest.mark.parametrize(
    ("book", "missing"),
    [
        ("backup.yml", {"ssh", "rsync"}),
        ("drain_worker.yml", {"ssh"}),
        ("resend_logs.yml", {"ssh"}),  # one API server
        ("restore.yml", {"ssh", "rsync"}),
        ("site.yml", {"ssh", "git"}),  # uv is beside the Python of these tests
        ("status.yml", {"ssh"}),
    ],
)
def test_a_program_that_is_missing(
    play: Play, sound: Callable[[], Draft], tmp_path: Path, book: str, missing: set[str]
) -> None:
    # What Ansible itself calls when it starts
    (tmp_path / "bin").mkdir()
    for name in ("sh", "env", "uname"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    draft = sound()
    draft.everywhere["airflow_runtime_extra_requirements"] = [f"acme @ git+https://git.example.org/acme.git@{40 * '0'}"]
    run = play(book, draft.write(tmp_path / "inventory"), path=str(tmp_path / "bin"))
    assert run.status != 0
    assert "No machine was touched" in run.refusal
    named = {finding.partition("controller: program ")[2].partition(" = ")[0] for finding in run.findings}
    assert named == missing, run.refusal


def test_a_second_log_store_needs_rsync_without_copies_of_backups(
    play: Play, sound: Callable[[], Draft], tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "env", "uname", "ssh"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    draft = sound()
    draft.everywhere["backup_fetch_dir"] = ""
    draft.group("airflow_api_server")["airflow_api_server"]["hosts"]["control2"] = {"ansible_host": "192.0.2.250"}
    run = play("resend_logs.yml", draft.write(tmp_path / "inventory"), path=str(tmp_path / "bin"))
    assert "controller: program rsync = not found" in run.refusal, run.refusal
    assert "logs between the log stores" in run.refusal


def test_a_password_that_rsync_cannot_use(play: Play, sound: Callable[[], Draft], tmp_path: Path) -> None:
    inventory = sound().write(tmp_path / "inventory")
    (tmp_path / "password").write_text("secret")
    asked = ("--user", "admin", "--become-password-file", str(tmp_path / "password"))
    run = play("backup.yml", inventory, *asked)
    assert run.status != 0
    [finding] = run.findings
    assert "--ask-become-pass = given" in finding
    assert "expected: sudo without a password" in finding
    assert "No machine was touched" in run.refusal
