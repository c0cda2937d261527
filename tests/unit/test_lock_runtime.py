"""The lock of the runtime: several indexes, files of the controller, and no login that is told."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_build_runtime import UV, make_wheel

PROGRAM = Path(__file__).resolve().parents[2] / "roles/airflow_runtime/files/lock_runtime"
LOGIN = "reader:s3cret"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """Address of a package index at /open/ and one at /private/, which wants a login. Both have a package shared."""
    for name, packages in {"open": ("common", "shared"), "private": ("inhouse", "shared")}.items():
        (tmp_path / name).mkdir()
        for package in packages:
            make_wheel(tmp_path / name, package, {f"{package}.py": f"place = {name!r}\n"})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, rest = self.path.strip("/").split("/")
            expected = f"Basic {base64.b64encode(LOGIN.encode()).decode()}"
            if name == "private" and self.headers["Authorization"] != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.end_headers()
                return
            wheels = sorted((tmp_path / name).glob(f"{rest}-*"))
            if self.path.endswith(".whl"):
                content = (tmp_path / name / rest).read_bytes()
            else:
                content = "".join(f'<a href="/{name}/{path.name}">{path.name}</a>' for path in wheels).encode()
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "application/octet-stream" if self.path.endswith(".whl") else "text/html")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def lock(tmp_path: Path, requirements: list[str], **settings: object) -> subprocess.CompletedProcess[str]:
    """Lock requirements on top of an empty lock."""
    (tmp_path / "pyproject.toml").write_text("airflow = [\n]\n")
    (tmp_path / "base.txt").write_text("# nothing\n")
    values: dict[str, Any] = {
        "uv": str(UV),
        "project": str(tmp_path),
        "output": str(tmp_path / "lock.txt"),
        "proxy_url": "",
        "ca_file": "",
    }
    values |= {"base": str(tmp_path / "base.txt"), "requirements": requirements, **settings}
    (tmp_path / "settings.json").write_text(json.dumps(values))
    return subprocess.run(
        [sys.executable, PROGRAM, tmp_path / "settings.json"],
        env=os.environ | {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_NO_CONFIG": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_package_of_several_indexes_is_taken_from_the_first_that_has_it(tmp_path: Path, index: str) -> None:
    done = lock(
        tmp_path,
        ["common", "inhouse", "shared"],
        index_url=f"http://{index}/open/",
        extra_index_urls=[f"http://{LOGIN}@{index}/private/"],
    )
    assert done.returncode == 0, done.stderr
    found = (tmp_path / "lock.txt").read_text()
    digest = sha256((tmp_path / "private" / "shared-1-py3-none-any.whl").read_bytes()).hexdigest()
    assert f"shared==1 \\\n    --hash=sha256:{digest}" in found
    assert "inhouse==1 \\\n    --hash=sha256:" in found
    assert "common==1 \\\n    --hash=sha256:" in found
    assert "s3cret" not in found + done.stdout + done.stderr


def test_a_wrong_login_is_not_told(tmp_path: Path, index: str) -> None:
    urls = [f"http://reader:wr0ng@{index}/private/"]
    done = lock(tmp_path, ["inhouse"], index_url=f"http://{index}/open/", extra_index_urls=urls)
    assert done.returncode != 0
    assert "inhouse" in done.stderr
    assert "wr0ng" not in done.stdout + done.stderr


def test_a_file_of_the_controller_is_locked_with_its_hash(tmp_path: Path, index: str) -> None:
    digest = make_wheel(tmp_path, "acme_etl", {"acme_etl.py": ""}).rpartition(":")[2].strip()
    url = (tmp_path / "acme_etl-1-py3-none-any.whl").as_uri()
    done = lock(tmp_path, [f"acme-etl @ {url}"], index_url=f"http://{index}/open/", extra_index_urls=[])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lock.txt").read_text() == f"acme-etl @ {url} \\\n    --hash=sha256:{digest}\n"


# Takes the place of uv. A resolution ends when the other one has begun, so that the two runs overlap.
OVERLAPPING_UV = """#!/usr/bin/env python3
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
    uv.write_text(OVERLAPPING_UV)
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
                "extra_index_urls": [],
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
