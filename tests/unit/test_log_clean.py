"""The program that removes old logs, on real files."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from ansible.plugins.filter.core import flatten
from jinja2 import Environment, StrictUndefined

PROGRAM = Path(__file__).resolve().parents[2] / "roles/airflow_housekeeping/files/airflow-log-clean"
HOUR = 3600
MB = 1 << 20


def write(path: Path, hours: float, size: int = 1) -> None:
    """Write a file, or make a directory, of an age in hours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * size)
    age(path, hours)


def age(path: Path, hours: float) -> None:
    moment = time.time() - hours * HOUR
    os.utime(path, (moment, moment))


def clean(directory: Path, days: int, mb: int) -> str:
    done = subprocess.run(["sh", PROGRAM, directory, str(days), str(mb)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def left(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_files_and_empty_directories_go_by_their_age(tmp_path: Path) -> None:
    write(tmp_path / "a/old.log", 7.5 * 24)
    write(tmp_path / "b/young.log", 6.5 * 24)
    for name, hours in (("empty", 2), ("new", 0)):
        (tmp_path / name).mkdir()
        age(tmp_path / name, hours)
    assert clean(tmp_path, 7, 64) == ""
    # Directory a is empty only now.
    assert left(tmp_path) == {"a", "b", "b/young.log", "new"}


@pytest.mark.parametrize(("mb", "kept"), [(4, "abcd"), (3, "abc"), (2, "ab"), (1, "a"), (0, "")])
def test_the_oldest_files_beyond_the_size_go(tmp_path: Path, mb: int, kept: str) -> None:
    for hours, name in enumerate("abcd"):
        write(tmp_path / name / "log", hours, MB)
    said = clean(tmp_path, 7, mb)
    assert {name for name in left(tmp_path) if "/" in name} == {f"{name}/log" for name in kept}
    assert (f"take more than {mb} MB" in said) == (kept != "abcd")


def test_nothing_behind_a_link_is_removed(tmp_path: Path) -> None:
    write(tmp_path / "foreign/log", 100 * 24, 2 * MB)
    directory = tmp_path / "logs"
    write(directory / "log", 0, MB)
    (directory / "link").symlink_to(tmp_path / "foreign")
    (directory / "file").symlink_to(tmp_path / "foreign/log")
    assert clean(directory, 7, 1) == ""
    assert clean(directory, 7, 0) != ""
    assert (tmp_path / "foreign/log").exists()


def test_a_directory_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    assert clean(tmp_path / "absent", 7, 64) == ""


def test_what_cannot_be_removed_skips_neither_the_size_nor_the_next_directory(tmp_path: Path) -> None:
    """Root can remove everything here, so find fails by itself, as it would after a file that it cannot remove."""
    program = tmp_path / "bin/find"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n{shutil.which("find")} "$@"\ncase $* in *first*-mindepth*) exit 1 ;; esac\n')
    program.chmod(0o755)
    for name in ("first/new", "first/old", "second/new", "second/old"):
        write(tmp_path / name, 1 if name.endswith("old") else 0, MB)
    command = ["sh", str(PROGRAM), f"{tmp_path}/first", "7", "1", f"{tmp_path}/second", "7", "1"]
    done = subprocess.run(
        command, env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}, check=False, capture_output=True
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert left(tmp_path / "first") == left(tmp_path / "second") == {"new"}
    # Without a failure it succeeds.
    assert subprocess.run(command, check=False).returncode == 0


def test_the_unit_names_all_directories() -> None:
    template = (PROGRAM.parents[1] / "templates/airflow-log-clean.service.j2").read_text()
    [line] = (line for line in template.splitlines() if line.startswith("ExecStart="))
    environment = Environment(undefined=StrictUndefined)
    environment.filters["flatten"] = flatten
    limits = {"/var/a": [30, "64"], "/var/b": [7, 5120]}
    rendered = environment.from_string(line).render(__airflow_housekeeping_limits=limits)
    assert rendered == "ExecStart=/usr/local/sbin/airflow-log-clean /var/a 30 64 /var/b 7 5120"
