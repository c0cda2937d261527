"""Only copies that this cluster has made are removed, on the controller and in the repository."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import PROJECT, Play

DATABASE, OTHER = "7400000000000000001", "7400000000000000002"


def copy_of(directory: Path, name: str, database: str | None) -> None:
    """Make a directory; with a database, the mark of a copy of it."""
    (directory / name / "repository").mkdir(parents=True)
    (directory / name / "precious").touch()
    if database:
        record = json.dumps({"label": "x", "system_id": database}, indent=4, sort_keys=True)
        (directory / name / "backup.json").write_text(record)


def test_a_new_copy_replaces_only_older_copies_of_the_same_database(play: Play, tmp_path: Path) -> None:
    copies, inventory = tmp_path / "copies", tmp_path / "hosts.ini"
    old, new = "20261101-020000", "20261102-020000"
    kept = {"2020-01-01", "20200101-000000", "20200102-000000", "20261101-020000-keep", "other"}
    for name, database in (
        (old, DATABASE),
        (new, DATABASE),
        ("2020-01-01", None),
        ("20200101-000000", None),
        ("20200102-000000", OTHER),
        ("20261101-020000-keep", DATABASE),
        ("other", DATABASE),
    ):
        copy_of(copies, name, database)
    inventory.write_text("control1 ansible_connection=local\n")
    playbook = tmp_path / "prune.yml"
    variables = {"backup_fetch_dir": str(copies), "backup_repository_copy_dir": str(copies / new)}
    playbook.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "control1",
                    "gather_facts": False,
                    "vars": {**variables, "__backup_last": {"system_id": DATABASE}},
                    "tasks": [{"ansible.builtin.include_tasks": str(PROJECT / "roles/backup/tasks/prune.yml")}],
                }
            ]
        )
    )
    run = play(str(playbook), inventory)
    assert run.status == 0, run.refusal
    assert {path.name for path in copies.iterdir()} == {*kept, new}


@pytest.mark.parametrize(("former", "refused"), [([OTHER], False), ([], True), (None, True)])
def test_a_copy_is_followed_by_one_of_the_same_repository(
    play: Play, tmp_path: Path, former: list[str] | None, refused: bool
) -> None:
    copies, inventory, playbook = tmp_path / "copies", tmp_path / "hosts.ini", tmp_path / "copy.yml"
    copy_of(copies, "latest", OTHER)
    inventory.write_text("control1 ansible_connection=local\n")
    record = {"system_id": DATABASE} | ({} if former is None else {"former_system_ids": former})
    tasks = str(PROJECT / "roles/backup/tasks/copy_to_controller.yml")
    playbook.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "control1",
                    "gather_facts": False,
                    "vars": {
                        "backup_fetch_dir": str(copies),
                        "backup_repository": str(tmp_path),
                        "__backup_last": record,
                    },
                    "tasks": [{"ansible.builtin.include_tasks": tasks}],
                }
            ]
        )
    )
    run = play(str(playbook), inventory)
    # Without a repository here, a copy that is not refused ends at its snapshot.
    assert run.status != 0
    assert ("a copy of another database's backups, and stays" in run.refusal) is refused
    made = [path for path in copies.iterdir() if path.name != "latest"]
    assert [json.loads((path / "backup.json").read_text()) for path in made] == ([] if refused else [record])


def test_a_copy_that_is_brought_to_a_host_replaces_only_its_own_stanza(tmp_path: Path) -> None:
    tasks = yaml.safe_load((PROJECT / "roles/backup/tasks/copy_to_host.yml").read_text())
    (options,) = (task["ansible.posix.synchronize"] for task in tasks if "ansible.posix.synchronize" in task)
    assert options["delete"] is True
    filters = [
        option.replace("{{ __backup_stanza }}", "main")
        for option in options["rsync_opts"]
        if option.startswith(("--include", "--exclude"))
    ]
    source, target = tmp_path / "copy", tmp_path / "repository"
    for path in ("copy/backup/main/20261101F", "copy/archive/main/15-1"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "file").touch()
    foreign = ["precious", ".incoming", "backup/other/file", "archive/other/file"]
    for name in (*foreign, "backup/main/stale/file"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).touch()
    subprocess.run(["rsync", "--archive", "--delete", *filters, f"{source}/", f"{target}/"], check=True)
    assert [name for name in foreign if not (target / name).exists()] == []
    assert (target / "backup/main/20261101F/file").exists()
    assert (target / "archive/main/15-1/file").exists()
    assert not (target / "backup/main/stale").exists()
