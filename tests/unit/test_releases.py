"""Fingerprints, archives and the removal of old releases."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.module_utils import tree
from ansible_collections.airflow_celery.cluster.plugins.modules import prune_releases


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    root = tmp_path / "dags"
    (root / "lib").mkdir(parents=True)
    (root / "a.py").write_text("a")
    (root / "lib" / "b.py").write_text("b")
    return root


def test_the_fingerprint_follows_the_content_only(dags: Path) -> None:
    before = tree.tree_hash(dags)
    os.utime(dags / "a.py", (1, 1))
    (dags / "__pycache__").mkdir()
    (dags / "__pycache__" / "a.pyc").write_text("x")
    (dags / ".git").mkdir()
    (dags / ".git" / "HEAD").write_text("x")
    assert tree.tree_hash(dags) == before
    (dags / "lib" / "b.py").write_text("c")
    assert tree.tree_hash(dags) != before


def test_a_moved_boundary_between_name_and_content_is_another_fingerprint(tmp_path: Path) -> None:
    for name, content in (("one", {"ab": "c"}), ("two", {"a": "bc"})):
        (tmp_path / name).mkdir()
        for file, text in content.items():
            (tmp_path / name / file).write_text(text)
    assert tree.tree_hash(tmp_path / "one") != tree.tree_hash(tmp_path / "two")


def test_the_archive_holds_what_the_fingerprint_is_of(dags: Path, tmp_path: Path) -> None:
    (dags / "lib" / ".hidden").write_text("x")
    (dags / "a.py").chmod(0o600)
    tree.archive_tree(dags, tmp_path / "dags.tar.gz")
    with tarfile.open(tmp_path / "dags.tar.gz") as tar:
        assert {(member.name, member.mode, member.uid) for member in tar} == {
            ("a.py", 0o644, 0),
            ("lib/b.py", 0o644, 0),
        }
    assert not list(tmp_path.glob("*.partial"))


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        tree.tree_hash(tmp_path / "nothing")


def test_the_releases_in_use_are_never_removed(tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    releases = tmp_path / "releases"
    newest = 0
    first, *others, last = (f"3.3.2-00000000000{number}" for number in range(5))
    foreign = ("notes", "3.3.2-backup", ".3.3.2-00000000000a.partial")
    for name in (*foreign, first, *others, last, "00000000000f"):
        (releases / name).mkdir(parents=True)
        # A change time can't be set, and the kernel's clock for it is coarse: rename until it has moved.
        while (releases / name).stat().st_ctime_ns <= newest:
            (releases / name).rename(releases / "x")
            (releases / "x").rename(releases / name)
        newest = (releases / name).stat().st_ctime_ns
    (tmp_path / "current").symlink_to(f"releases/{others[0]}")
    (tmp_path / "previous").symlink_to(releases / first)
    (units / "airflow-worker.service").write_text(f"ExecStart={releases}/{others[1]}/bin/python -m airflow")
    assert [path.name for path in prune_releases.to_remove(tmp_path, 1, units)] == [last, others[2]]
    assert prune_releases.to_remove(tmp_path, 5, units) == []
