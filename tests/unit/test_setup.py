"""tools/setup names every controller that is not supported, and installs nothing there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[2] / "tools/setup"
TOOLS = ("bash", "cat", "cut", "dirname", "env", "id", "sha256sum", "uname")


def program(directory: Path, name: str, text: str) -> None:
    """Write a program for the controller."""
    path = directory / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("uname", "echo Darwin", "setup: Darwin is not supported as a controller; use Linux"),
        ("python3", '[ "$1" = --version ] && echo Python 3.14.0; exit 1', "setup: Python 3.14.0 is not supported"),
        ("python3", '[ "$1" = --version ] && echo Python 3.10.2; exit 1', "Python 3.11, 3.12 or 3.13 is needed"),
        ("", "", "setup: python3 is not installed"),
        ("python3", "exit 0", "setup: openssh-client rsync (names of Debian) not found, and there is no apt-get"),
    ],
    ids=["macos", "3.14", "3.10", "no-python", "no-apt"],
)
def test_a_controller_that_is_not_supported(tmp_path: Path, name: str, text: str, said: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(str(shutil.which(tool)))
    if name:
        program(programs, name, text)
    (tmp_path / "tools").mkdir()
    shutil.copy(SETUP, tmp_path / "tools/setup")
    (tmp_path / "uv.lock").touch()
    done = subprocess.run(
        [shutil.which("bash") or "bash", tmp_path / "tools/setup"],
        env={"PATH": str(programs), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(("version", "supported"), [((3, 10), 1), ((3, 11), 0), ((3, 13), 0), ((3, 14), 1)])
def test_the_versions_of_python(version: tuple[int, int], supported: int) -> None:
    """The condition in the script is Python; run here with another version."""
    condition = next(line for line in SETUP.read_text().splitlines() if "sys.version_info <" in line).split("'")[1]
    done = subprocess.run(
        ["python3", "-c", condition.replace("sys.version_info", f"{version}")], capture_output=True, check=False
    )
    assert done.returncode == supported
