"""Fingerprints, archives and the removal of old releases."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

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


def extract(archive: Path, place: Path) -> None:
    """Unpack an archive as roles/airflow_host/tasks/dags.yml does, for a login with a strict umask."""
    place.mkdir()
    command = ["tar", "--extract", "--gzip", "--file", str(archive), "--directory", str(place), "--same-permissions"]
    subprocess.run(command, check=True, umask=0o077)


def read_as_airflow(root: Path) -> dict[str, bytes]:
    """Return the files that Airflow reads: its search for DAGs follows links and knows no hidden files."""
    return {
        (Path(directory) / name).relative_to(root).as_posix(): (Path(directory) / name).read_bytes()
        for directory, _, names in os.walk(root, followlinks=True)
        for name in names
    }


def test_a_release_is_what_airflow_reads_on_the_controller(dags: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "c.py").write_text("c")
    (dags / ".airflowignore").write_text("archive/")
    (dags / "lib" / ".airflowignore").write_text("b.py")
    (dags / ".hidden").mkdir()
    (dags / ".hidden" / "d.py").write_text("d")
    (dags / "linked.py").symlink_to(outside / "deep" / "c.py")
    (dags / "linked").symlink_to(outside)
    (dags / "again").symlink_to("lib")
    (dags / "again.py").symlink_to("a.py")
    (dags / "t\xfc r.py").write_text("e")
    (dags / "a.py").chmod(0o700)
    (dags / "lib").chmod(0o700)
    (dags / "lib" / "b.py").chmod(0o600)
    tree.archive_tree(dags, tmp_path / "dags.tar.gz")
    extract(tmp_path / "dags.tar.gz", tmp_path / "release")
    release = tmp_path / "release"
    assert read_as_airflow(release) == read_as_airflow(dags)
    assert len(read_as_airflow(release)) == 11
    modes = {path.relative_to(release).as_posix(): path.lstat().st_mode for path in release.rglob("*")}
    assert not [name for name, mode in modes.items() if stat.S_ISLNK(mode)]
    executable = {name for name, mode in modes.items() if stat.S_ISDIR(mode)} | {"a.py", "again.py"}
    assert {name: stat.S_IMODE(mode) for name, mode in modes.items()} == {
        name: 0o755 if name in executable else 0o644 for name in modes
    }
    with tarfile.open(tmp_path / "dags.tar.gz") as tar:
        assert {(member.uid, member.gid) for member in tar} == {(0, 0)}
    assert tree.tree_hash(release) == tree.tree_hash(dags)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["__pycache__", ".git", ".venv", ".#a.py", ".a.py.swp"])
def test_what_belongs_to_no_release(dags: Path, name: str) -> None:
    before = tree.tree_hash(dags), tree.files(dags)
    (dags / "lib" / name).write_text("x")
    assert (tree.tree_hash(dags), tree.files(dags)) == before


def test_a_hidden_file_counts(dags: Path) -> None:
    before = tree.tree_hash(dags)
    (dags / ".airflowignore").write_text("lib")
    assert tree.tree_hash(dags) != before


def test_a_link_counts_as_its_content(dags: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("1")
    (dags / "linked.py").symlink_to(tmp_path / "outside.py")
    before = tree.tree_hash(dags)
    (tmp_path / "outside.py").write_text("2")
    assert tree.tree_hash(dags) != before


@pytest.mark.parametrize("target", ["nothing", "bad", "..", "../../dags"])
def test_a_link_without_content_is_named(dags: Path, tmp_path: Path, target: str) -> None:
    (dags / "lib" / "bad").symlink_to(target)
    for use in (tree.tree_hash, lambda root: tree.archive_tree(root, tmp_path / "dags.tar.gz")):
        with pytest.raises(tree.TreeError, match=f"{dags}/lib/bad is a symbolic link to "):
            use(dags)
    assert not list(tmp_path.glob("dags.tar.gz*"))


def test_two_runs_write_the_same_archive(dags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clusters of one controller may have the same DAGs: the second run writes while the first is at work."""
    archive, first = tmp_path / "dags.tar.gz", tarfile.TarFile.addfile

    def addfile(self: tarfile.TarFile, *arguments: Any) -> None:
        monkeypatch.setattr(tarfile.TarFile, "addfile", first)
        tree.archive_tree(dags, archive)
        first(self, *arguments)

    monkeypatch.setattr(tarfile.TarFile, "addfile", addfile)
    tree.archive_tree(dags, archive)
    extract(archive, tmp_path / "extracted")
    assert read_as_airflow(tmp_path / "extracted") == read_as_airflow(dags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dags", "dags.tar.gz", "extracted"]


def test_a_pipe_is_named(dags: Path) -> None:
    os.mkfifo(dags / "pipe")
    with pytest.raises(tree.TreeError, match=f"{dags}/pipe is neither a file nor a directory"):
        tree.tree_hash(dags)


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(tree.TreeError, match=f"{tmp_path}/nothing is not a directory"):
        tree.tree_hash(tmp_path / "nothing")


def test_the_releases_in_use_are_never_removed(tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    releases = tmp_path / "releases"
    newest = 0
    first, *others, last = (f"3.3.2-00000000000{number}" for number in range(5))
    foreign = ("notes", "3.3.2-backup", ".notes.partial", ".3.3.2-00000000000a")
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
    proc = tmp_path / "proc"
    (proc / "17").mkdir(parents=True)
    (proc / "18").mkdir()  # a process that has ended meanwhile

    def removed(keep: int, *in_use: str) -> list[str]:
        return [path.name for path in prune_releases.to_remove(tmp_path, keep, in_use, units, proc)]

    assert removed(1) == [last, others[2]]
    assert removed(5) == []
    assert removed(1, last, "3.3.2-999999999999") == [others[2]]
    (proc / "17" / "maps").write_text(f"7f7fc0000000-7f7fc0001000 r--p 00000000 08:01 1   {releases}/{last}x/a.so\n")
    assert removed(1) == [last, others[2]]
    (proc / "17" / "maps").write_text(f"7f7fc0000000-7f7fc0001000 r--p 00000000 08:01 1   {releases}/{last}/a.so\n")
    assert removed(1) == [others[2]]


def test_what_a_killed_deployment_has_left_is_removed_and_does_not_count(tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    for name in ("00000000000a", ".00000000000b.partial", ".3.3.2-00000000000c.partial", ".notes.partial"):
        (releases / name).mkdir(parents=True)
    found = prune_releases.to_remove(tmp_path, 1, units=tmp_path, proc=tmp_path)
    assert [path.name for path in found] == [".00000000000b.partial", ".3.3.2-00000000000c.partial"]
