"""A directory's content: its files, its fingerprint, and an archive of it."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Names that never belong to a release. Other hidden files do: Airflow reads .airflowignore, a task may read any file.
EXCLUDED = (
    # bytecode, and the state of a version control system
    "__pycache__",
    ".git",
    ".hg",
    ".svn",
    # caches and environments of development tools
    ".venv",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
    # settings, locks and swap files of editors and desktops
    ".idea",
    ".vscode",
    ".DS_Store",
    ".#*",
    ".*.sw?",
)
# Part of each fingerprint. A release of an older format is not used again when this number has changed.
FORMAT = 2


class TreeError(Exception):
    """A directory, or something below it, that cannot be put into a release. The message names the path."""


class File(NamedTuple):
    """A file of a tree.

    :param name: path relative to the root of the tree, with slashes.
    :param path: where the file is read.
    """

    name: str
    path: Path

    @property
    def mode(self) -> int:
        """The mode in a release: readable by all, and executable by all if the owner may execute the file."""
        return 0o755 if self.path.stat().st_mode & 0o100 else 0o644


def files(root: Path) -> list[File]:
    """Return the files of a tree in a fixed order. A symbolic link counts as what it points to.

    Raises TreeError for anything that a release cannot hold: a link that points to nothing, a link to a directory that
    contains it, a socket or a device, and what cannot be read.
    """
    if not root.is_dir():
        raise TreeError(f"{root} is not a directory on the controller")
    return list(_files(root, PurePosixPath(), (root.resolve(),)))


def _files(directory: Path, name: PurePosixPath, parents: tuple[Path, ...]) -> Iterator[File]:
    try:
        for entry in sorted(os.listdir(directory)):
            if any(fnmatch.fnmatchcase(entry, pattern) for pattern in EXCLUDED):
                continue
            path = directory / entry
            if path.is_dir():
                real = path.resolve()
                if real in parents:
                    raise TreeError(f"{path} is a symbolic link to {real}, a directory that contains the link")
                yield from _files(path, name / entry, (*parents, real))
            elif path.is_file():
                if not os.access(path, os.R_OK):
                    raise TreeError(f"{path} cannot be read by this user")
                yield File(str(name / entry), path)
            elif path.is_symlink():
                raise TreeError(f"{path} is a symbolic link to {os.readlink(path)}, which is no file or does not exist")
            else:
                raise TreeError(f"{path} is neither a file nor a directory")
    except OSError as error:
        raise TreeError(f"{error.filename or directory} cannot be read: {error.strerror}") from error


def tree_hash(root: Path) -> str:
    """Return a SHA-256 over names, executable bits and contents of the files."""
    digest = hashlib.sha256(f"{FORMAT}\0".encode())
    for file in files(root):
        content = file.path.read_bytes()
        digest.update(os.fsencode(file.name) + f"\0{int(file.mode == 0o755)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def archive_tree(root: Path, archive: Path) -> None:
    """Write the files and their directories to a gzipped tar, owned by root and readable by all.

    The archive has a member for each directory, because tar creates a directory without one by the umask.
    The archive appears at once and complete. Two runs on one controller may write the same archive.
    """

    def member(name: str, kind: bytes, mode: int, size: int = 0) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.size = kind, mode, size
        info.uname = info.gname = "root"
        return info

    members = files(root)
    directories = {PurePosixPath()}
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=f".{archive.name}.") as temporary:
        partial = Path(temporary, archive.name)
        with tarfile.open(partial, "w:gz") as tar:
            for file in members:
                for directory in reversed(PurePosixPath(file.name).parents):
                    if directory not in directories:
                        directories.add(directory)
                        tar.addfile(member(str(directory), tarfile.DIRTYPE, 0o755))
                with file.path.open("rb") as content:
                    size = os.fstat(content.fileno()).st_size
                    tar.addfile(member(file.name, tarfile.REGTYPE, file.mode, size), content)
        partial.rename(archive)
