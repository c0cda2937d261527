"""Tasks that copy with rsync: its own SSH connection is as that of Ansible, and root on the host needs no sudo."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_role_tasks import ALL_TASKS

ROOT = Path(__file__).resolve().parents[2]
MODULE = "ansible.posix.synchronize"
AS_ROOT = yaml.safe_load((ROOT / "roles/airflow/vars/main.yml").read_text())["airflow_rsync_as_root"]
COPIES: dict[str, dict[str, Any]] = {task["name"]: task[MODULE] for _, task in ALL_TASKS if MODULE in task}
# `id` and `sudo` of a host, and a program that takes the place of ssh, which gives the host's name and a command to it.
PROGRAMS = {
    "id": "#!/bin/sh\necho {uid}\n",
    "sudo": '#!/bin/sh\necho "$@" >>{log}\ntest "$1" = -n && shift && exec "$@"\n',
    "host": '#!/bin/sh\nshift\nPATH={bin}\nexport PATH\nexec sh -c "$*"\n',
}


def test_each_copy_uses_the_connection_of_ansible() -> None:
    assert len(COPIES) > 4
    assert [name for name, copy in COPIES.items() if not (copy.get("use_ssh_args") and copy.get("verify_host"))] == []


def test_each_copy_names_rsync_on_the_host() -> None:
    """Without ``rsync_path``, the module calls ``sudo rsync`` for each task with become, also for a login as root."""
    assert {name: copy.get("rsync_path") for name, copy in COPIES.items()} == {
        # Not with become
        name: "rsync" if name.endswith("into the backup directory") else "{{ airflow_rsync_as_root }}"
        for name in COPIES
    }


@pytest.mark.parametrize(
    ("uid", "has_sudo", "succeeds"), [(0, False, True), (0, True, True), (1000, True, True), (1000, False, False)]
)
def test_only_another_login_than_root_needs_sudo(tmp_path: Path, uid: int, has_sudo: bool, succeeds: bool) -> None:
    programs, log = tmp_path / "bin", tmp_path / "sudo.log"
    programs.mkdir()
    for name in ("rsync", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name, text in PROGRAMS.items():
        if name != "sudo" or has_sudo:
            (programs / name).write_text(text.format(uid=uid, log=log, bin=programs))
            (programs / name).chmod(0o755)
    (tmp_path / "from").mkdir()
    (tmp_path / "from/a file").write_text("content")
    # As the module passes it
    command = ["rsync", "--archive", f"--rsh={programs}/host", f"--rsync-path={os.path.expandvars(AS_ROOT)}"]
    done = subprocess.run(
        [*command, "control1:from/", "to/"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is succeeds, done.stderr
    assert (tmp_path / "to/a file").exists() is succeeds
    assert log.exists() is (uid != 0 and has_sudo)
