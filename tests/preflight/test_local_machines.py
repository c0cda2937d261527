"""What the local machines ask of a controller that has nothing yet."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from .conftest import Play


@pytest.fixture
def without_podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs as before, but for podman."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for directory in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in directory.glob("*"):
            if program.name != "podman" and not os.path.lexists(programs / program.name):
                (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))
    assert shutil.which("podman") is None


@pytest.mark.usefixtures("without_podman")
def test_machines_can_be_removed_where_there_never_were_any(play: Play, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("worker1 ansible_host=192.0.2.1\nworker2 ansible_host=192.0.2.2\n")
    directory = tmp_path / "machines"
    directory.mkdir()
    run = play(
        "local_machines.yml",
        inventory,
        *("-e", "local_machines_state=absent"),
        *("-e", "local_machines_prefix=acc-none"),
        *("-e", f"local_machines_dir={directory}"),
    )
    assert run.status == 0, run.refusal
    assert not directory.exists()


@pytest.mark.usefixtures("without_podman")
def test_the_files_of_the_machines_are_removed_and_others_stay(play: Play, tmp_path: Path) -> None:
    inventory, directory = tmp_path / "hosts.ini", tmp_path / "machines"
    inventory.write_text("worker1 ansible_host=192.0.2.1\n")
    directory.mkdir()
    for name in ("precious", "id_ed25519", "id_ed25519.pub"):
        (directory / name).touch()
    run = play(
        "local_machines.yml",
        inventory,
        *("-e", "local_machines_state=absent"),
        *("-e", "local_machines_prefix=acc-none"),
        *("-e", f"local_machines_dir={directory}"),
    )
    assert run.status == 0, run.refusal
    assert [path.name for path in directory.iterdir()] == ["precious"]
