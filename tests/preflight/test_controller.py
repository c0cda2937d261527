"""A run is refused on a controller that lacks a program for it, and no other run is."""

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
