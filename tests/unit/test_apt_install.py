"""tools/apt_install waits for another apt-get that reads the package lists; every other failure ends it at once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools/apt_install"
LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)"


def install(tmp_path: Path, failure: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script with an apt-get whose first update fails; return the result and each call of apt-get.

    :param failure: what apt-get says then.
    """
    calls = tmp_path / "calls"
    programs = {
        "id": "echo 0",
        "apt-get": f"""echo "$*" >>{calls}
[ "$1" != update ] || [ "$(wc -l <{calls})" != 1 ] || {{ echo "{failure}" >&2; exit 100; }}""",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [SCRIPT, "chromium", "rsync"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, calls.read_text().splitlines()


def test_a_held_lock_of_the_package_lists_is_waited_for(tmp_path: Path) -> None:
    done, calls = install(tmp_path, LOCKED)
    assert done.returncode == 0, done.stderr
    assert calls[:2] == ["update -qq", "update -qq"]
    assert len(calls) == 3
    assert calls[2].endswith("install -y -qq --no-install-recommends chromium rsync")


@pytest.mark.parametrize("failure", ["E: The repository does not have a Release file.", "E: Temporary failure"])
def test_another_failure_is_printed_at_once(tmp_path: Path, failure: str) -> None:
    done, calls = install(tmp_path, failure)
    assert done.returncode == 1
    assert failure in done.stderr
    assert calls == ["update -qq"]
