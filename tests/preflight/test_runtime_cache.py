"""The controller's cache keeps what is in use, what is young, and what belongs to others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import yaml

from .conftest import PROJECT, Play

DIGEST = "0123456789ab"


def test_old_files_of_the_cache_are_removed(play: Play, tmp_path: Path) -> None:
    cache, inventory = tmp_path / "cache", tmp_path / "hosts.ini"
    cache.mkdir()
    gone = [
        f"3.3.1-{DIGEST}.tar.zst",
        f"3.3.1-{DIGEST}.tar.zst.sha256",
        f"dags-{DIGEST}.tar.gz",
        f"uv-lock-{DIGEST}.txt",
    ]
    left = [
        f".dags-{DIGEST}.tar.gz.x7_k",
        f".plugins-{DIGEST}.tar.gz.x7_k",
        f".uv-lock-{DIGEST}.txt.x7_k",
        f".check-runtime-lock-{DIGEST}.txt.x7_k",
        "lock-settings-x7_k",
    ]
    busy = [f"{name}y" for name in left]
    in_use = ["3.3.2-aaaaaaaaaaaa.tar.zst", "3.3.2-aaaaaaaaaaaa.tar.zst.sha256", "uv-lock-bbbbbbbbbbbb.txt"]
    foreign = ["dags.tar.gz", "photos-2020.tar.zst", "notes.txt", f".lock-{DIGEST}.txt.x7_k"]
    young = [f"3.3.0-{DIGEST}.tar.zst"]
    for name in gone + in_use + foreign + young:
        (cache / name).touch()
        age = 80 if name in young else 100
        os.utime(cache / name, (time.time() - age * 86400,) * 2)
    locks = tmp_path / "locks"
    in_locks = f".runtime-lock-{DIGEST}.txt."
    for path, hours in (
        *((cache / name, 25) for name in left),
        *((cache / name, 23) for name in busy),
        (locks / f"{in_locks}old", 25),
        (locks / f"{in_locks}new", 23),
        (locks / f"runtime-lock-{DIGEST}.txt", 1000 * 24),
    ):
        path.mkdir(parents=True) if path.name.startswith(".") else path.touch()
        os.utime(path, (time.time() - hours * 3600,) * 2)
    inventory.write_text("control1 ansible_connection=local\n")
    variables = {
        "airflow_runtime_cache_dir": str(cache),
        "airflow_runtime_cache_days": 90,
        "airflow_runtime_lock_dir": str(locks),
        "airflow_runtime_lock": str(cache / "uv-lock-bbbbbbbbbbbb.txt"),
    }
    # A fact, as the role sets it.
    release = {"ansible.builtin.set_fact": {"airflow_runtime_release": "3.3.2-aaaaaaaaaaaa"}}
    prune = {"ansible.builtin.include_tasks": str(PROJECT / "roles/airflow_runtime/tasks/prune_cache.yml")}
    book = tmp_path / "prune.yml"
    book.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "control1",
                    "gather_facts": False,
                    "vars": variables,
                    "tasks": [release, prune | {"run_once": True}],
                }
            ]
        )
    )
    run = play(str(book), inventory)
    assert run.status == 0, run.refusal
    assert {path.name for path in cache.iterdir()} == {*in_use, *foreign, *young, *busy}
    assert {path.name for path in locks.iterdir()} == {f"{in_locks}new", f"runtime-lock-{DIGEST}.txt"}
