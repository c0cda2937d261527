"""The files of one run of the module files: each is compared with what it is to be, and changed in one step."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import shutil
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def new_name(path: str) -> str:
    """Return where a new file is until it takes the place of the present one. The next run removes a rest."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.ansible-new")


def number_of(name: str | None, kind: str) -> int | None:
    """Return the number of a user or a group; None if it does not exist."""
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "owner" else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


class Files:
    """The files of one run."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.changed: list[str] = []
        self.diffs: list[dict[str, str]] = []

    def fail(self, path: str, message: str) -> None:
        """End the run."""
        self.module.fail_json(
            msg=f"{path}: {message}", changed=bool(self.changed), changed_files=self.changed, diff=self.diffs
        )

    def attributes(self, file: dict[str, Any]) -> dict[str, Any]:
        """Return what a file is to be, with numbers; the number of an account that does not exist is None."""
        path = file["dest"]
        wanted: dict[str, Any] = {}
        if file["state"] == "link":
            return wanted
        for kind in ("owner", "group"):
            name = file[kind] if file[kind] is not None else self.module.params[kind]
            if name is None:
                continue
            wanted[kind] = number_of(name, kind)
            if wanted[kind] is None and not self.module.check_mode:
                self.fail(path, f"{kind} {name} does not exist; expected: an account of this host")
        mode = file["mode"] if file["mode"] is not None else self.module.params["mode"]
        if file["state"] != "absent" and not re.fullmatch(r"0?[0-7]{3,4}", mode or ""):
            self.fail(path, f"mode {mode}; expected: an octal number in quotes, as '0644'")
        return wanted | ({"mode": int(mode, 8)} if mode else {})

    def differing(self, wanted: dict[str, Any], present: os.stat_result) -> dict[str, tuple[Any, Any]]:
        """Return the attributes that differ, each with the present and the wanted value."""
        found = {"owner": present.st_uid, "group": present.st_gid, "mode": stat.S_IMODE(present.st_mode)}
        return {key: (found[key], value) for key, value in wanted.items() if found[key] != value}

    def note(self, file: dict[str, Any], before: str | None, after: str | None) -> None:
        """Record a change; without texts if they must not be shown."""
        if file["dest"] not in self.changed:
            self.changed.append(file["dest"])
        if self.module._diff and before is not None and after is not None and not file["secret"]:
            header = file["dest"]
            self.diffs.append({"before_header": header, "after_header": header, "before": before, "after": after})

    def note_attributes(self, file: dict[str, Any], differing: dict[str, tuple[Any, Any]]) -> None:
        """Record a change of owner, group or mode."""

        def text(position: int) -> str:
            values = {key: pair[position] for key, pair in differing.items()}
            shown = {key: f"{value:04o}" if key == "mode" else value for key, value in values.items()}
            return "".join(f"{key}: {'a new account' if value is None else value}\n" for key, value in shown.items())

        self.note(file, text(0), text(1))

    def apply(self, descriptor: int, differing: dict[str, tuple[Any, Any]]) -> None:
        """Set owner and group, then the mode, of which a change of the owner may take a part away."""
        if {"owner", "group"} & set(differing):
            os.fchown(descriptor, *(differing.get(key, (0, -1))[1] for key in ("owner", "group")))
        if "mode" in differing:
            os.fchmod(descriptor, differing["mode"][1])

    def check_parent(self, path: str) -> None:
        """Fail if there is no directory above. In check mode a task before may not have made it."""
        parent = os.path.dirname(path)
        if not os.path.isdir(parent) and not self.module.check_mode:
            self.fail(path, f"there is no directory {parent}; expected: one, or one earlier in the list")

    def absent(self, file: dict[str, Any]) -> None:
        """Remove a file, a link, or a directory with its content."""
        path = file["dest"]
        if not os.path.lexists(path):
            return
        self.note(file, "state: present\n", "state: absent\n")
        if self.module.check_mode:
            return
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def directory(self, file: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Ensure a directory."""
        path = file["dest"]
        created = not os.path.lexists(path)
        if created:
            self.check_parent(path)
            self.note(file, "state: absent\n", "state: directory\n")
            if self.module.check_mode:
                return
            os.mkdir(path, 0o700)
        elif not os.path.isdir(path):
            self.fail(path, "is a file; expected: a directory, or nothing")
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if differing := self.differing(wanted, os.fstat(descriptor)):
                if not created:
                    self.note_attributes(file, differing)
                if not self.module.check_mode:
                    self.apply(descriptor, differing)
        finally:
            os.close(descriptor)

    def link(self, file: dict[str, Any]) -> None:
        """Ensure a symbolic link; a reader sees the previous one or the new one."""
        path, target = file["dest"], file["target"]
        if os.path.lexists(path) and not os.path.islink(path):
            self.fail(path, "is no symbolic link; expected: one, or nothing")
        present = os.readlink(path) if os.path.lexists(path) else None
        if present == target:
            return
        self.check_parent(path)
        self.note(file, f"link: {present}\n", f"link: {target}\n")
        if self.module.check_mode:
            return
        if os.path.lexists(new_name(path)):
            os.unlink(new_name(path))
        os.symlink(target, new_name(path))
        os.replace(new_name(path), path)

    def regular(self, file: dict[str, Any], wanted: dict[str, Any], content: bytes) -> None:
        """Ensure content and attributes of a file. A link is replaced, and what it points to stays as it is."""
        path = file["dest"]
        if os.path.isdir(path) and not os.path.islink(path):
            self.fail(path, "is a directory; expected: a file, or nothing")
        if not self.module.check_mode and os.path.lexists(new_name(path)):
            os.unlink(new_name(path))
        present: bytes | None = None
        kept: os.stat_result | None = None
        if os.path.lexists(path) and stat.S_ISREG(os.lstat(path).st_mode):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                kept = os.fstat(descriptor)
                with os.fdopen(os.dup(descriptor), "rb") as stream:
                    present = stream.read()
                if differing := self.differing(wanted, kept):
                    self.note_attributes(file, differing)
                    if present == content and not self.module.check_mode:
                        self.apply(descriptor, differing)
            finally:
                os.close(descriptor)
        if present == content:
            return
        self.check_parent(path)
        before, after = (
            text.decode("utf-8", "replace") if b"\0" not in text else "binary\n" for text in (present or b"", content)
        )
        self.note(file, before, after)
        if not self.module.check_mode:
            self.write(file, wanted, content, kept)

    def write(self, file: dict[str, Any], wanted: dict[str, Any], content: bytes, kept: os.stat_result | None) -> None:
        """Write a new file beside the present one, and let it take its place when it is complete.

        :param kept: attributes of the present file, which hold where no others are wanted.
        """
        path = file["dest"]
        new = new_name(path)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as stream:
                stream.write(content)
            if kept is not None:
                wanted = {"owner": kept.st_uid, "group": kept.st_gid} | wanted
            self.apply(descriptor, self.differing(wanted, os.fstat(descriptor)))
            os.fsync(descriptor)
            if file["validate"]:
                self.validate(file, new)
            # In one step, and on one file system. AnsibleModule.atomic_move would give a new file the mode of the umask
            # for a moment.
            os.replace(new, path)
        finally:
            os.close(descriptor)
            if os.path.lexists(new):
                os.unlink(new)

    def validate(self, file: dict[str, Any], new: str) -> None:
        """Fail if the command of the file does not accept the new file."""
        command = [new if word == "%s" else word for word in shlex.split(file["validate"])]
        code, out, error = self.module.run_command(command)
        if code != 0:
            said = "" if file["secret"] else f": {(error.strip() or out.strip())}"
            self.changed.remove(file["dest"])
            self.fail(
                file["dest"], f"{file['validate']} ended with {code}{said}; expected: 0. The file stays as it was"
            )
