"""What the end of a test run says of its JUnit reports."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_summary

REPORT = """<testsuites>
<testsuite errors="1" failures="1" skipped="0" tests="3" time="61" timestamp="2026-01-02T03:04:05">
<testcase classname="tests.test_a" name="test_passes"/>
<testcase classname="tests.test_a" name="test_fails">
<failure message="AssertionError: 1 is not 2&#10;assert 1 == 2">long</failure></testcase>
<testcase classname="tests.test_a" name="test_stops"><error message="failed on setup">long</error></testcase>
</testsuite></testsuites>"""


def test_the_summary_names_each_failed_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last lines of a log are enough to know what failed."""
    report = tmp_path / "molecule-logs-debian13.xml"
    report.write_text(REPORT, encoding="utf-8")

    assert test_summary.main([str(report)]) == 1

    assert capsys.readouterr().out.splitlines() == [
        "molecule-logs-debian13            3 tests",
        "FAILED molecule-logs-debian13 tests.test_a::test_fails: AssertionError: 1 is not 2",
        "FAILED molecule-logs-debian13 tests.test_a::test_stops: failed on setup",
        "1 passed, 2 failed, 0 skipped",
    ]
