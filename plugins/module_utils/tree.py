"""A directory's content: its fingerprint, and an archive of it."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path


def files_below(root: Path) -> Iterator[Path]:
    """Yield the files that count, in a fixed order: nothing hidden, and no bytecode."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield path


def tree_hash(root: Path) -> str:
    """Return a SHA-256 over names, executable bits and contents; NotADirectoryError when there is no such directory."""
    if not root.is_dir():
        raise NotADirectoryError(root)
    digest = hashlib.sha256()
    for path in files_below(root):
        content = path.read_bytes()
        executable = bool(path.stat().st_mode & 0o100)
        header = f"{path.relative_to(root).as_posix()}\0{int(executable)}\0{len(content)}\0"
        digest.update(header.encode() + content)
    return digest.hexdigest()


def archive_tree(root: Path, archive: Path) -> None:
    """Write the files that count to a gzipped tar, owned by root and readable by all.

    It is written under another name first: an archive that exists is whole.
    """

    def normalise(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mode = 0o755 if info.mode & 0o100 else 0o644
        return info

    partial = archive.with_name(archive.name + ".partial")
    with tarfile.open(partial, "w:gz") as tar:
        for path in files_below(root):
            tar.add(path, arcname=path.relative_to(root).as_posix(), filter=normalise)
    partial.rename(archive)
