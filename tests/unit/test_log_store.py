"""Log stores copy from each other what they lack, and a merged file has all lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.airflow_celery.cluster.plugins.filter.logs import log_copies

MERGE = Path(__file__).resolve().parents[2] / "roles/log_store/files/merge_logs"


def test_a_store_gets_what_it_lacks_from_the_largest_settled_file() -> None:
    stores = {
        "a": ["settled\t9\ttasks/lost", "settled\t5\ttasks/part", "open\t70\ttasks/running", "settled\t3\ttasks/equal"],
        "b": ["settled\t7\ttasks/part", "settled\t3\ttasks/equal", "open\t2\ttasks/late"],
        "c": ["settled\t6\ttasks/part", "settled\t3\ttasks/equal", "settled\t8\ttasks/late"],
    }
    assert log_copies(stores) == {
        "a": {"gives": ["tasks/lost"], "gets": ["tasks/late", "tasks/part"]},
        "b": {"gives": ["tasks/part"], "gets": ["tasks/late", "tasks/lost"]},
        "c": {"gives": ["tasks/late"], "gets": ["tasks/lost", "tasks/part"]},
    }


def test_equal_stores_copy_nothing() -> None:
    assert log_copies({"a": ["settled\t9\tx\ty"], "b": ["settled\t9\tx\ty"]}) == {
        "a": {"gives": [], "gets": []},
        "b": {"gives": [], "gets": []},
    }


def test_files_are_merged_and_the_run_can_be_repeated(tmp_path: Path) -> None:
    store, source = tmp_path / "store", tmp_path / "store/.filling"
    for path, text in {
        store / "tasks/a/part.log": "two\nnewest\n",
        source / "tasks/a/part.log": "one\ntwo\nthree\n",
        source / "tasks/b/lost.log": "all of it\n",
        store / "tasks/c/carriage.log": "progress 1 %\rprogress 2 %\n",
        source / "tasks/c/carriage.log": "progress 1 %\rprogress 2 %\nend\n",
        store / "tasks/d/same.log": "once\n",
        source / "tasks/d/same.log": "once\nonce\n",
        source / "units/host/unit/day.log": "entry\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    os.utime(source / "tasks/b/lost.log", (1000, 1000))

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-", source, store],
            input=MERGE.read_text(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    # The fifth one has nothing new.
    assert run() == "4"
    assert (store / "tasks/c/carriage.log").read_bytes() == b"progress 1 %\rprogress 2 %\nend\n"
    assert (store / "tasks/d/same.log").read_text() == "once\n"
    assert (store / "tasks/a/part.log").read_text() == "two\nnewest\none\nthree\n"
    assert (store / "tasks/b/lost.log").read_text() == "all of it\n"
    # The housekeeping goes by the age.
    assert (store / "tasks/b/lost.log").stat().st_mtime == 1000
    assert (store / "tasks/b").stat().st_mode & 0o777 == 0o750
    assert (store / "units/host/unit").stat().st_mode & 0o777 == 0o700
    assert run() == "0"


def test_a_directory_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    # Root can read every directory, so the one here is not there.
    command = [sys.executable, str(MERGE), str(tmp_path / "filling"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "filling" in done.stderr
