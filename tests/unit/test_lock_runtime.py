"""The resolution of the runtime's lock on the controller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "roles/airflow_runtime/files/lock_runtime"
# Takes the place of uv. A resolution ends when the other one has begun, so that the two runs overlap.
UV = """#!/usr/bin/env python3
import os, sys, tempfile, time
from pathlib import Path

output = sys.argv[sys.argv.index("--output-file") + 1] if "--output-file" in sys.argv else None
if output is not None:
    here = Path(os.environ["MEETING"])
    tempfile.mkstemp(dir=here)
    deadline = time.monotonic() + 30
    while len(list(here.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    Path(output).write_text("complete")
else:
    print("exported")
"""


def test_two_runs_resolve_the_same_lock_at_the_same_time(tmp_path: Path) -> None:
    uv, project, inventory, meeting = (tmp_path / name for name in ("uv", "project", "inventory", "meeting"))
    for directory in (project, inventory, meeting):
        directory.mkdir()
    uv.write_text(UV)
    uv.chmod(0o755)
    (project / "pyproject.toml").write_text('airflow = [\n  "acme",\n]\n')
    settings = tmp_path / "settings.json"
    settings.write_text(
        json.dumps(
            {
                "uv": str(uv),
                "project": str(project),
                "output": str(inventory / "lock.txt"),
                "base": "",
                "requirements": ["other"],
                "index_url": "",
                "proxy_url": "",
                "ca_file": "",
            }
        )
    )
    runs = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(settings)],
            env=os.environ | {"MEETING": str(meeting)},
            stderr=subprocess.PIPE,
            text=True,
            umask=0o077,
        )
        for _ in range(2)
    ]
    assert [run.communicate()[1] for run in runs] == ["", ""]
    assert [run.returncode for run in runs] == [0, 0]
    [lock] = inventory.iterdir()
    assert (lock.name, lock.read_text(), lock.stat().st_mode & 0o777) == ("lock.txt", "complete", 0o644)
