"""An operation without a check mode says so before it connects to a host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .conftest import PROJECT, Draft, Play

REFUSED = sorted(
    path.stem
    for path in PROJECT.glob("playbooks/*.yml")
    if yaml.safe_load(path.read_text())[0].get("ansible.builtin.import_playbook") == "refuse_check_mode.yml"
)


@pytest.mark.parametrize("book", REFUSED)
def test_check_mode_is_refused(play: Play, sound: Callable[[], Draft], tmp_path: Path, book: str) -> None:
    run = play(f"{book}.yml", sound().write(tmp_path / "inventory"), "--check", "-e", "cluster_confirm=yes")
    assert run.status == 2
    assert "Nothing was touched. This operation has no check mode" in run.refusal
    # What to use instead
    assert run.refusal.partition("Expected: a run without --check. ")[2].strip()
    [failed] = [result for result in run.results if result.get("failed")]
    assert "__check_mode_instead" not in failed["msg"]
    assert len(run.plays) == 1
