"""The build of the runtime: what it installs it has verified, and what it has installed it tells."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

PROGRAM = Path(__file__).resolve().parents[2] / "roles/airflow_runtime/files/build_runtime"
UV = Path(sys.executable).parent / "uv"


@pytest.fixture(scope="session")
def build_runtime() -> ModuleType:
    loader = SourceFileLoader("build_runtime", str(PROGRAM))
    spec = importlib.util.spec_from_loader("build_runtime", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def make_wheel(directory: Path, name: str, files: dict[str, str]) -> str:
    """Make a wheel of version 1, and return the line of a lock that accepts it."""
    path = directory / f"{name}-1-py3-none-any.whl"
    info = f"{name}-1.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in files.items():
            entry = zipfile.ZipInfo(member)
            entry.external_attr = (0o100755 if "/scripts/" in member else 0o100644) << 16
            wheel.writestr(entry, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{member},sha256={digest},{len(text)}")
        wheel.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build directory whose locks accept two small wheels; the first brings the controller's own uv."""
    build = tmp_path / "build"
    wheels = build / "wheels"
    shutil.copytree(PROGRAM.parent / "runtime", build / "runtime")
    wheels.mkdir()
    starter = f'#!/bin/sh\nexec {UV} "$@"\n'
    (build / "uv.txt").write_text(make_wheel(wheels, "uvstarter", {"uvstarter-1.data/scripts/uv": starter}))
    (build / "requirements.txt").write_text(make_wheel(wheels, "harmless", {"harmless.py": "answer = 42\n"}))
    settings: dict[str, Any] = {
        "release": "r1",
        "release_dir": str(tmp_path / "releases" / "r1"),
        "airflow_version": "3",
    }
    settings |= {"platform": "here", "index_url": "", "extra_index_urls": [], "proxy_url": ""}
    (build / "settings.json").write_text(json.dumps(settings))
    return build


def run(build: Path) -> subprocess.CompletedProcess[str]:
    """Run the build with the wheels for an index."""
    wheels = str(build / "wheels")
    ours = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels, "UV_NO_INDEX": "1", "UV_FIND_LINKS": wheels}
    return subprocess.run(
        [sys.executable, PROGRAM, build / "settings.json"],
        env=os.environ | ours | {"PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )


def result_of(build: Path) -> list[str]:
    """Return what the build has left that could be taken for a release."""
    return [str(path) for path in (*build.glob("*.tar.zst*"), *build.parent.glob("releases/*/release.json"))]


def test_files_with_the_locked_hashes_are_installed(build: Path) -> None:
    """Without this the tests below would say nothing: here the build comes as far as the missing Airflow."""
    done = run(build)
    assert "No module named 'flower'" in done.stderr


def test_the_backend_of_the_wheel_is_the_one_in_uv() -> None:
    """With another version uv would fetch the backend from an index."""
    locked = tomllib.loads((PROGRAM.parents[3] / "uv.lock").read_text())["package"]
    version = next(package["version"] for package in locked if package["name"] == "uv")
    [required] = tomllib.loads((PROGRAM.parent / "runtime/pyproject.toml").read_text())["build-system"]["requires"]
    requirement = Requirement(required)
    assert requirement.name == "uv_build"
    assert version in requirement.specifier


def test_a_failed_build_leaves_no_release(build: Path) -> None:
    assert run(build).returncode != 0
    assert list(build.parent.glob("releases/*")) == []


@pytest.mark.parametrize(
    ("lock", "complaint"),
    [("uv.txt", "DO NOT MATCH THE HASHES"), ("requirements.txt", "Hash mismatch for `harmless==1`")],
)
def test_a_file_with_another_hash_stops_the_build(build: Path, lock: str, complaint: str) -> None:
    wheel = next((build / "wheels").glob("uvstarter*" if lock == "uv.txt" else "harmless*"))
    # What somebody in the middle would do: the same name and version, another content.
    make_wheel(wheel.parent, wheel.name.split("-")[0], {"evil.py": "answer = 43\n"})
    done = run(build)
    assert done.returncode != 0
    assert complaint in done.stderr
    assert result_of(build) == []
    assert "No module named 'flower'" not in done.stderr  # it stops before anything of it could run


@pytest.mark.parametrize("lock", ["uv.txt", "requirements.txt"])
def test_a_requirement_without_hash_stops_the_build(build: Path, lock: str) -> None:
    name = (build / lock).read_text().split(" ")[0]
    (build / lock).write_text(f"{name}\n")
    done = run(build)
    assert done.returncode != 0
    assert "--require-hashes" in done.stderr
    assert "hash" in done.stderr.lower().replace("--require-hashes", "")
    assert result_of(build) == []


def test_the_sbom_has_the_locks_hashes_by_name_and_version(build_runtime: ModuleType) -> None:
    one, two, three = ("1" * 64, "2" * 64, "3" * 64)
    lock = (
        f"a.B_c[extra]==1.0 ; python_version < '3.12' \\\n    --hash=sha256:{two} \\\n    --hash=sha256:{one}\n"
        f"a-b-c==2.0 \\\n    --hash=sha256:{three}\n# via nobody\n"
    )
    accepted = build_runtime.accepted_hashes(lock)
    assert accepted == {("a-b-c", "1.0"): [two, one], ("a-b-c", "2.0"): [three]}
    sbom: dict[str, Any] = {
        "metadata": {},
        "components": [
            {"bom-ref": "A.b.c==1.0", "name": "A.b.c", "version": "1.0", "purl": "pkg:pypi/a-b-c@1.0"},
            {"bom-ref": "ours==0", "name": "ours", "version": "0", "purl": "pkg:pypi/ours@0"},
        ],
        "dependencies": [],
    }
    build_runtime.complete_sbom(sbom, "3.3.2-abc", "debian13", accepted)
    locked, ours = sbom["components"]
    assert [entry["content"] for entry in locked["hashes"]] == [one, two]
    assert locked["purl"] == "pkg:pypi/a-b-c@1.0"
    assert "hashes" not in ours
    assert "purl" not in ours
    assert build_runtime.accepted_hashes(f"a[b] @ https://h/a-1.whl ; x \\\n    --hash=sha256:{one}\n") == {
        ("a", ""): [one]
    }
    runtime = sbom["metadata"]["component"]["bom-ref"]
    assert sbom["dependencies"] == [{"ref": runtime, "dependsOn": ["A.b.c==1.0", "ours==0"]}]


# A package whose build needs no other one.
BACKEND = """
import zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "fromgit-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("fromgit.py", "answer = 44")
        wheel.writestr("fromgit-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: fromgit\\nVersion: 1\\n")
        tag = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr("fromgit-1.dist-info/WHEEL", tag)
        wheel.writestr("fromgit-1.dist-info/RECORD", "fromgit.py,,\\n")
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "fromgit"
version = "1"
"""


@pytest.fixture
def repository(tmp_path: Path) -> str:
    """The URL of a package in git, with its commit."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "backend.py").write_text(BACKEND)
    (root / "pyproject.toml").write_text(PROJECT)
    git = ("git", "-C", str(root), "-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=first"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    return f"git+file://{root}@{commit}"


def test_a_package_of_the_controller_and_one_of_a_commit_are_installed(build: Path, repository: str) -> None:
    files = build / "files"
    files.mkdir()
    digest = make_wheel(files, "inhouse", {"inhouse.py": "answer = 43\n"}).split(" ", 1)[1]
    lock = build / "requirements.txt"
    lock.write_text(
        lock.read_text()
        # Where the file was on the controller.
        + f"inhouse @ file:///nowhere/wheels/inhouse-1-py3-none-any.whl \\\n    {digest}"
        + f"fromgit @ {repository}\n"
    )
    # The build imports what it has installed.
    (build / "runtime/airflow_celery_cluster/dag_bundle.py").write_text(
        "import harmless, inhouse, fromgit\nraise SystemExit('all of them are there')\n"
    )
    stubs = {"flower/__init__.py": "", "flower/app.py": "", "psycopg2.py": ""}
    lock.write_text(lock.read_text() + make_wheel(build / "wheels", "stubs", stubs))
    assert "all of them are there" in run(build).stderr


def test_a_changed_package_of_the_controller_stops_the_build(build: Path) -> None:
    files = build / "files"
    files.mkdir()
    digest = make_wheel(files, "inhouse", {"inhouse.py": "answer = 43\n"}).split(" ", 1)[1]
    make_wheel(files, "inhouse", {"inhouse.py": "answer = 66\n"})
    with (build / "requirements.txt").open("a") as lock:
        lock.write(f"inhouse @ file:///nowhere/inhouse-1-py3-none-any.whl \\\n    {digest}")
    done = run(build)
    # uv breaks long lines.
    assert "Hash mismatch for `inhouse @ file://" in " ".join(done.stderr.split())


def test_no_login_of_an_index_is_told(build_runtime: ModuleType) -> None:
    text = "failed: https://user:s3cret@index.example.org/simple/x, git+https://t0ken@h/p"
    assert build_runtime.without_logins(text) == (
        "failed: https://(hidden)@index.example.org/simple/x, git+https://(hidden)@h/p"
    )
