"""The files that ``sudo airflow`` reads and writes for its caller."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import airflow_command
import pytest
from airflow_command import FOLDER, READ, WRITE, file_arguments


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("connections import c.json", [("c.json", READ)]),
        ("connections import --overwrite /tmp/c.yaml", [("/tmp/c.yaml", READ)]),
        ("connections export --file-format json out", [("out", WRITE)]),
        ("connections export out --file-format=json", [("out", WRITE)]),
        # argparse takes the beginning of an option for the option.
        ("connections export --file-form json out", [("out", WRITE)]),
        ("variables import -a overwrite /dev/stdin", [("/dev/stdin", READ)]),
        ("variables export -", [("-", WRITE)]),
        ("pools import -v ../p.json", [("../p.json", READ)]),
        ("users export -v u.json", [("u.json", WRITE)]),
        ("roles export --pretty r.json", [("r.json", WRITE)]),
        ("dags show one --save one.dot", [("one.dot", WRITE)]),
        ("dags show one --save=one.dot", [("one.dot", WRITE)]),
        ("dags show -sone.dot one", [("one.dot", WRITE)]),
        ("dags show-dependencies -s all.dot", [("all.dot", WRITE)]),
        ("dags test one -f one.py --save-dagrun one.dot", [("one.py", READ), ("one.dot", WRITE)]),
        ("db export-archived --output-path archive --yes", [("archive", FOLDER)]),
        # No file of the caller, whatever lies in the present directory
        ("dags trigger import", []),
        ("dags show one", []),
        ("connections import", []),
        ("connections list -o json", []),
        ("variables set file value", []),
        ("version", []),
        ("", []),
    ],
)
def test_a_file_of_the_caller_is_found(command: str, found: list[tuple[str, str]]) -> None:
    arguments = command.split()
    files = file_arguments(arguments)
    assert [(file.name, file.kind) for file in files] == found
    assert all(arguments[file.index] == file.before + file.name for file in files)


@pytest.mark.parametrize(
    ("data", "ending"),
    [(b'{"a": 1}', ".json"), (b"A_B=postgres://x\n# no\n\nC=1", ".env"), (b"a:\n  conn_type: http\n", ".yaml")],
)
def test_what_a_pipe_brings_gets_the_ending_of_its_format(data: bytes, ending: str) -> None:
    assert airflow_command.ending(data) == ending


def test_a_new_file_belongs_to_the_caller_alone_and_another_one_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))
    monkeypatch.setenv("SUDO_GID", str(os.getgid()))
    source = tmp_path / "source"
    source.write_bytes(b"secret")
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(b"something longer")
    old.chmod(0o640)
    for path in (new, old):
        with source.open("rb") as file:
            airflow_command.copy_out(file, path)
        assert path.read_bytes() == b"secret"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (new, old)] == [0o600, 0o640]


def test_only_what_the_command_has_written_is_copied_back(tmp_path: Path) -> None:
    """A DAG that ``dags test`` runs may leave links to what only root reads."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    linked = tmp_path / "linked"
    linked.write_bytes(b"secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out.csv").write_bytes(b"mine")
    (folder / "link.csv").symlink_to(linked)
    (folder / "hard.csv").hardlink_to(secret)
    os.mkfifo(folder / "pipe.csv")
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = {name: file.read() for name, file in airflow_command.written(handle, folder.stat())}
    finally:
        os.close(handle)
    assert found == {"out.csv": b"mine"}


def test_a_command_sees_copies_and_its_caller_the_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """With a program in place of airflow-run, and the own user in place of that of the command."""
    monkeypatch.setattr(airflow_command, "HOME", str(tmp_path))
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))
    monkeypatch.setenv("SUDO_GID", str(os.getgid()))
    caller, copies = tmp_path / "caller", tmp_path / "copies"
    caller.mkdir()
    copies.mkdir()
    monkeypatch.chdir(caller)
    (caller / "in.json").write_text("{}")
    program = "import sys; a = sys.argv[-1]; print('Exported to', a); open(a, 'a').write('[1]')"
    command = [sys.executable, "-c", program]
    arguments = ["pools", "export", "out.json"]
    assert airflow_command.run_with_files(command, arguments, file_arguments(arguments), copies) == 0
    assert (caller / "out.json").read_text() == "[1]"
    assert capfdbinary.readouterr().out == b"Exported to out.json\n"
    arguments = ["pools", "import", "in.json"]
    (copies / "0").rename(copies / "before")
    assert airflow_command.run_with_files(command, arguments, file_arguments(arguments), copies) == 0
    assert (caller / "in.json").read_text() == "{}"
    assert (copies / "0" / "in.json").read_text() == "{}[1]"


@pytest.mark.parametrize("command", ["pools export missing/out.json", "pools export .", "pools import missing.json"])
def test_a_path_that_cannot_be_is_refused_before_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(airflow_command, "HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    arguments = command.split()
    with pytest.raises(OSError, match=r"director|missing"):
        airflow_command.run_with_files(["/nonexistent"], arguments, file_arguments(arguments), tmp_path)
