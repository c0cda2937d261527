"""What --tags and --skip-tags select, as Ansible sees it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .conftest import PROJECT, Draft, Play


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


def guarded(directory: Path, release: str) -> tuple[Path, Path]:
    """Return a playbook with the guards of site.yml, and its inventory: a host that has a release of this name."""
    site = yaml.safe_load((PROJECT / "site.yml").read_text())
    [leave] = [entry["tasks"] for entry in site if entry.get("tags") == ["leftovers"]]
    look, refuse = yaml.safe_load((PROJECT / "roles/airflow_runtime/tasks/check_tags.yml").read_text())
    look["ansible.builtin.stat"]["path"] = f"{directory}/current"
    (directory / release).mkdir()
    (directory / "current").symlink_to(f"releases/../{release}")
    played = {"name": "Leave", "ansible.builtin.debug": {"msg": "leaves"}, "when": leave[0]["when"]}
    book, inventory = directory / "book.yml", directory / "hosts.yml"
    book.write_text(
        yaml.safe_dump(
            [
                {
                    "name": "Guards",
                    "hosts": "all",
                    "gather_facts": False,
                    "tags": "always",
                    "tasks": [look, refuse, played],
                }
            ]
        )
    )
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "airflow_runtime_release": "3.3.2-b",
    }
    inventory.write_text(yaml.safe_dump({"all": {"children": {"redis": {"hosts": {"control1": host}}}}}))
    return book, inventory


@pytest.mark.parametrize(
    ("arguments", "refused", "leaves"),
    [
        ((), False, True),
        (("--tags", "redis"), True, True),
        (("--skip-tags", "redis"), True, False),
        (("--skip-tags", "firewall"), False, True),
    ],
    ids=["all", "tags", "skip", "firewall"],
)
def test_a_run_of_some_tags_changes_no_release(
    play: Play, tmp_path: Path, arguments: tuple[str, ...], refused: bool, leaves: bool
) -> None:
    book, inventory = guarded(tmp_path, "3.3.2-a")
    run = play(str(book), inventory, *arguments)
    assert ("has release 3.3.2-a, and inventory and collection make 3.3.2-b" in run.refusal) == refused
    # With the release that the host has, nothing is refused.
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("releases/3.3.2-b")
    run = play(str(book), inventory, *arguments)
    assert run.status == 0, run.refusal
    # What another host has taken over is removed only if this run deploys it there.
    assert any(result.get("msg") == "leaves" for result in run.results) == leaves
