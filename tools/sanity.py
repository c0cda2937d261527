"""Run ``ansible-test sanity`` on a built collection, with the Python of .venv and tests/sanity.

Prints a line for each finding. Exit status 1 if there is one.

ansible-test makes its virtual environments in ~/.ansible/test/venv, and uses them again in the next run. For a new one,
it downloads get-pip.py from a server of its own. A network that offers only a package index does not reach that server.
So this program puts a replacement into the cache of ansible-test for the time of the run, unless the original is there.
The replacement begins with the pip of Python's ensurepip. ansible-test also removes the variables PIP_* from the
environment, so the replacement passes them as a file.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import yaml
from ansible_test._internal.python_requirements import get_venv_packages

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path("~/.ansible/test/cache").expanduser()
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# Marks a file that an interrupted run has left.
MARK = "# Written by airflow_celery.cluster for one run of ansible-test."

# ansible-test runs it in the new virtual environment, with the options of get-pip.py.
BOOTSTRAP = """{mark}
import os
import subprocess
import sys

settings = {settings!r}
os.symlink(settings, os.path.join(sys.prefix, "pip.conf"))
subprocess.check_call([sys.executable, "-m", "ensurepip"])
options = [option for option in sys.argv[1:] if option not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *options]))
"""


def bootstrap_name() -> str:
    """Return the name under which the installed ansible-test looks for get-pip.py in its cache."""
    source = files("ansible_test").joinpath("_util/target/setup/requirements.py").read_text(encoding="utf-8")
    found = re.search(r"~/\.ansible/test/cache/(\w+%s\.py)'", source)
    if not found:
        sys.exit(
            "tools/sanity.py: this release of ansible-test looks for get-pip.py in another way; adapt this program"
        )
    version = get_venv_packages(SimpleNamespace(version=VERSION))["pip"]
    return found[1].replace("%s", version.replace(".", "_"))


def pip_settings(environment: Mapping[str, str]) -> RawConfigParser:
    """Return what pip would read from the environment, as its configuration file."""
    settings = RawConfigParser()
    settings.read(environment.get("PIP_CONFIG_FILE", os.devnull))
    own = {"PIP_PROXY": environment.get("https_proxy") or environment.get("HTTPS_PROXY"), **environment}
    for name, value in own.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            if not settings.has_section("global"):
                settings.add_section("global")
            settings.set("global", name.removeprefix("PIP_").lower().replace("_", "-"), value)
    return settings


@contextlib.contextmanager
def bootstrap(directory: Path) -> Iterator[None]:
    """Provide the replacement of get-pip.py, unless the cache has the original."""
    path = CACHE / bootstrap_name()
    if path.exists() and not path.read_text(encoding="utf-8").startswith(MARK):
        yield
        return
    settings = directory / "pip.conf"
    with settings.open("w", encoding="utf-8") as file:
        pip_settings(os.environ).write(file)
    try:
        path.write_text(BOOTSTRAP.format(mark=MARK, settings=str(settings)), encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)


def unpack(archive: Path, directory: Path) -> Path:
    """Return the collection's directory, below a directory ansible_collections as ansible-test requires it."""
    about = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    collection = directory / "ansible_collections" / about["namespace"] / about["name"]
    collection.mkdir(parents=True)
    subprocess.run(["tar", "--extract", "--file", archive.resolve()], cwd=collection, check=True)
    # The built collection has no tests, and so no list of what is ignored.
    shutil.copytree(ROOT / "tests" / "sanity", collection / "tests" / "sanity")
    # Otherwise ansible-test takes the files of a repository around this directory.
    subprocess.run(["git", "init", "--quiet", "."], cwd=collection, check=True)
    return collection


def report(code: int, output: str) -> str:
    """Return the findings in the output of ansible-test; all of the output if it failed without a finding."""
    # ansible-test is content if it was not able to run a test.
    kinds = "ERROR: |See documentation" if code else "WARNING: (?:.*[Ss]kipping|Required program)"
    complete = code == 0 or re.search(r"^FATAL: The \d+ sanity test\(s\) listed below", output, re.MULTILINE)
    return "".join(line for line in output.splitlines(keepends=True) if not complete or re.match(kinds, line))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="what ansible-galaxy collection build has made")
    archive: Path = parser.parse_args().archive
    CACHE.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="sanity-") as name,
        (CACHE / "airflow_celery.cluster.lock").open("w") as lock,
    ):
        directory = Path(name)
        collection = unpack(archive, directory)
        # Two runs at once would make the same virtual environments.
        fcntl.flock(lock, fcntl.LOCK_EX)
        with bootstrap(directory):
            done = subprocess.run(
                [Path(sys.executable).with_name("ansible-test"), "sanity", "--local", "--python", VERSION],
                cwd=collection,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
    findings = report(done.returncode, done.stdout)
    print(findings, end="")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
