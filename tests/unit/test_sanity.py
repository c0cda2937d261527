"""The program that runs ansible-test tells findings, and prepares what the installed ansible-test looks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sanity
import yaml
from ansible.release import __version__

ROOT = Path(__file__).resolve().parents[2]
FAILED = """Running sanity test "pylint"
ERROR: Found 1 pylint issue(s) which need to be resolved:
ERROR: plugins/modules/unit.py:1:0: disallowed-name: Disallowed name "_"
See documentation for help: https://docs.example
Running sanity test "shebang"
FATAL: The 1 sanity test(s) listed below (out of 24) failed. See error output above for details.
pylint
"""


def test_findings_without_the_progress() -> None:
    assert sanity.report(1, FAILED) == "".join(FAILED.splitlines(keepends=True)[1:4])


def test_all_of_the_output_when_the_tests_did_not_run() -> None:
    output = "ERROR: No matching distribution found for pylint\nFATAL: Command returned exit status 1.\n"
    assert sanity.report(1, "Collecting pylint\n" + output) == "Collecting pylint\n" + output


@pytest.mark.parametrize(
    "warning",
    [
        'WARNING: Skipping sanity test "pep8" on Python 3.11 due to missing virtual environment support.\n',
        'WARNING: Required program "shellcheck" not found.\n',
    ],
)
def test_a_test_that_was_skipped_is_a_finding(warning: str) -> None:
    assert sanity.report(0, 'WARNING: Using locale "C.UTF-8"\nRunning sanity test "pep8"\n' + warning) == warning


def test_the_bootstrap_of_pip_has_the_name_that_ansible_test_expects() -> None:
    assert re.fullmatch(r"get_pip_\d+(_\d+)+\.py", sanity.bootstrap_name())


def test_pip_gets_the_settings_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://one.example/simple\ntimeout = 5\n")
    environment = {
        "PIP_CONFIG_FILE": str(file),
        "PIP_INDEX_URL": "https://login:50%25@two.example/simple",
        "https_proxy": "http://proxy.example:3128",
        "HOME": "/root",
    }
    assert dict(sanity.pip_settings(environment)["global"]) == {
        "index-url": "https://login:50%25@two.example/simple",
        "timeout": "5",
        "proxy": "http://proxy.example:3128",
    }
    assert sanity.pip_settings({}).sections() == []


def test_what_is_ignored_is_for_the_locked_ansible_and_has_a_reason() -> None:
    core = ".".join(__version__.split(".")[:2])
    (file,) = (ROOT / "tests" / "sanity").iterdir()
    assert file.name == f"ignore-{core}.txt"
    assert [line for line in file.read_text().splitlines() if not re.fullmatch(r"\S+ \S+ # \w.+\.", line)] == []
    # Nobody tests the collection with an older one.
    assert yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"] == f">={core}.0"
