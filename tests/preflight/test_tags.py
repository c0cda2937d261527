"""What --tags and --skip-tags select, as Ansible sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Draft, Play


def selected(play: Play, inventory: Path, *arguments: str) -> dict[str, list[str]]:
    """Return the tasks that a run would have, by play, without the validation of arguments, which always runs."""
    run = play("site.yml", inventory, "--list-tasks", *arguments, readable=False)
    assert run.status == 0, run.output
    plays = re.split(r"^  play #\d+ \(.*?\): ", run.output, flags=re.MULTILINE)[1:]
    return {
        text.partition("\t")[0]: [
            line.strip() for line in text.splitlines()[2:] if "TAGS" in line and "Validating arguments" not in line
        ]
        for text in plays
    }


ALWAYS = {"Inventory", "Machines", "Debian packages", "Certificate authority", "Airflow runtime and DAGs"}


def test_a_tag_selects_its_play_and_what_the_play_needs(play: Play, sound: Callable[[], Draft], tmp_path: Path) -> None:
    inventory = sound().write(tmp_path / "inventory")
    tasks = selected(play, inventory, "--tags", "airflow_worker")
    assert {name for name, some in tasks.items() if some} == ALWAYS | {"Workers", "Slots of added workers"}
    everything = selected(play, inventory)
    # No tag takes anything from a play that has another one.
    tasks = selected(play, inventory, "--skip-tags", "airflow_worker,firewall")
    assert {name for name in everything if everything[name] and not tasks[name]} == {
        "Firewall",
        "Workers",
        "Slots of added workers",
    }
    assert all(tasks[name] == everything[name] for name in ALWAYS)


@pytest.mark.parametrize("playbook", ["upgrade.yml", "rotate_secrets.yml"])
def test_an_operation_refuses_tags(play: Play, sound: Callable[[], Draft], tmp_path: Path, playbook: str) -> None:
    run = play(playbook, sound().write(tmp_path / "inventory"), "--skip-tags", "airflow_worker")
    assert run.status == 2
    assert "Nothing was touched." in run.refusal
    assert "--skip-tags" in run.refusal
