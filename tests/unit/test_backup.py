"""What airflow-backup makes of its settings, of times and of mounts. What it does to a database: molecule/backup."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import airflow_backup
import backup_tools
import pytest
import yaml

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /srv rw,relatime shared:2 - xfs /dev/sdb1 rw
31 30 0:40 / /srv/back\040ups rw,relatime shared:3 - nfs4 store:/export rw,vers=4.2
32 22 0:41 / /mnt/over rw - ext4 /dev/sdc1 rw
33 32 0:42 / /mnt/over rw - fuse.sshfs store:/x rw
"""


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """The settings as role backup writes them."""
    return {
        "stanza": "main",
        "version": "17",
        "data": "/nonexistent/data",
        "config": "/nonexistent/config",
        "port": 5432,
        "socket": str(tmp_path),
        "repository": str(tmp_path / "repository"),
        "database": "airflow",
        "verify": "restore",
        "state": str(tmp_path),
        "programs": "/nonexistent/bin",
    }


def load(tmp_path: Path, settings: dict[str, Any]) -> backup_tools.Settings:
    path = tmp_path / "backup.json"
    path.write_text(json.dumps(settings))
    return backup_tools.Settings.load(path)


def test_the_role_writes_the_settings_that_are_read(settings: dict[str, Any]) -> None:
    role = Path(__file__).resolve().parents[2] / "roles/backup/vars/main.yml"
    assert yaml.safe_load(role.read_text())["__backup_program_settings"].keys() == settings.keys()


def test_missing_settings_are_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(backup_tools.Problem, match="deploy the cluster"):
        backup_tools.Settings.load(tmp_path / "backup.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23 02:00:00", datetime(2026, 11, 23, 2, tzinfo=UTC)),
        ("2026-11-23T03:30:00+01:30", datetime(2026, 11, 23, 2, tzinfo=UTC)),
        ("2026-11-23T02:00:00.250000Z", datetime(2026, 11, 23, 2, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str, expected: datetime) -> None:
    assert airflow_backup.moment(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "02:00", "2026-11-23", "2026-11-23 25:00"])
def test_what_is_no_time_is_told_what_one_is(text: str) -> None:
    with pytest.raises(backup_tools.Problem, match="Expected"):
        airflow_backup.moment(text)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/pgbackrest", "ext4"),
        ("/srv/other", "xfs"),
        ("/srv/back ups", "nfs4"),
        ("/srv/back ups/airflow", "nfs4"),
        ("/srv/back upstairs", "xfs"),
        ("/mnt/over/x", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_directory_is_found(path: str, kind: str) -> None:
    assert airflow_backup.file_system(path, MOUNTS) == kind


def test_a_repository_on_a_disk_of_this_host_is_not_elsewhere(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert not airflow_backup.Backup(load(tmp_path, settings | {"repository": "/"})).elsewhere
    assert airflow_backup.Backup(load(tmp_path, settings | {"repository": ""})).elsewhere


def test_positions_in_the_wal_can_be_compared() -> None:
    ordered = ["0/28", "0/F000028", "0/10000000", "1/0", "A/0", "10/0"]
    assert sorted(ordered, key=airflow_backup.position) == ordered


def test_one_at_a_time(tmp_path: Path, settings: dict[str, Any]) -> None:
    lock = load(tmp_path, settings).lock
    with backup_tools.alone(lock):
        # Root and postgres must both be able to open what the other one has made.
        assert stat.S_IMODE(lock.stat().st_mode) == 0o660
        other = os.open(lock, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_a_snapshot_keeps_what_is_replaced_afterwards(tmp_path: Path, settings: dict[str, Any]) -> None:
    info = tmp_path / "repository/backup/main/backup.info"
    info.parent.mkdir(parents=True)
    (tmp_path / "repository/archive").mkdir()
    info.write_text("old")
    backup = airflow_backup.Backup(load(tmp_path, settings))
    for _ in range(2):  # the remains of an interrupted run do not matter
        copy = Path(backup.snapshot()) / "backup/main/backup.info"
        assert copy.samefile(info)
    fresh = info.with_suffix(".tmp")
    fresh.write_text("new")
    fresh.replace(info)
    assert copy.read_text() == "old"


def test_a_copy_that_a_killed_run_has_left_is_removed_after_a_day(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "repository/backup").mkdir(parents=True)
    backup = airflow_backup.Backup(load(tmp_path, settings))
    backup.remove_stale_copy()  # there is none
    copy = Path(backup.snapshot())
    backup.remove_stale_copy()
    assert copy.exists()
    later = time.time() + airflow_backup.COPY_SECONDS + 60
    monkeypatch.setattr(airflow_backup.time, "time", lambda: later)
    backup.remove_stale_copy()
    assert not copy.exists()


def test_a_program_that_fails_is_a_problem_with_its_own_words() -> None:
    with pytest.raises(backup_tools.Problem, match=r"failed \(3\): ERROR: \[031\]: no"):
        backup_tools.run(["/bin/sh", "-c", "echo 'ERROR: [031]: no'; exit 3"])


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    for number in (1, 2):
        backup_tools.write(path, {"number": number})
    assert json.loads(path.read_text()) == {"number": 2}
    assert [found.name for found in tmp_path.iterdir()] == ["last.json"]
