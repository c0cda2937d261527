#!/usr/bin/env python3
"""Print how many tests each JUnit file reports, each failed test, and the sum as `N passed, N failed, N skipped`.

With `--page PATH` the same is written as a page of the documentation. Exit status 1 when a test failed or none ran.
"""

from __future__ import annotations

import argparse
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

PAGE = """# Results of the tests

Of `make test-all`, written by `tools/test_summary.py` from the JUnit reports of `artifacts/`. A scenario's time is
that of its tests, without the deployment before them.

| tests | Debian | passed | failed | skipped | minutes | on |
|---|---|---|---|---|---|---|
{rows}
"""


@dataclass(frozen=True)
class Report:
    """What one JUnit file says."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    day: str
    failures: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read one file."""
        suites = list(ET.parse(path).getroot().iter("testsuite"))

        def total(*attributes: str) -> int:
            return sum(int(suite.get(attribute, 0)) for suite in suites for attribute in attributes)

        failed, skipped = total("failures", "errors"), total("skipped")
        return cls(
            path.stem,
            total("tests") - failed - skipped,
            failed,
            skipped,
            sum(float(suite.get("time", 0)) for suite in suites),
            min((suite.get("timestamp", "") for suite in suites), default="")[:10],
            tuple(
                f"{case.get('classname')}::{case.get('name')}: {first_line(problem.get('message', ''))}"
                for suite in suites
                for case in suite.iter("testcase")
                for problem in (*case.iter("failure"), *case.iter("error"))
            ),
        )

    @property
    def row(self) -> str:
        """The report as a row of the page."""
        found = re.fullmatch(r"molecule-(\w+)-debian(\d+)", self.name)
        tests, debian = (f"scenario `{found[1]}`", found[2]) if found else (f"{self.name}, no machine", "")
        numbers = f"{self.passed} | {self.failed} | {self.skipped} | {self.seconds / 60:.0f}"
        return f"| {tests} | {debian} | {numbers} | {self.day} |"


def first_line(message: str) -> str:
    """Return the first line of a message, at most 300 characters."""
    return message.strip().partition("\n")[0][:300]


def main(arguments: list[str] | None = None) -> int:
    """Print one line per file and the sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="JUnit files; those that do not exist are left out")
    parser.add_argument("--page", type=Path, help="where to write the page")
    options = parser.parse_args(arguments)
    reports = [Report.read(path) for path in sorted(options.paths) if path.exists()]
    for one in reports:
        print(f"{one.name:30} {one.passed + one.failed + one.skipped:4} tests")
    for one in reports:
        for failure in one.failures:
            print(f"FAILED {one.name} {failure}")
    passed, failed, skipped = (sum(getattr(one, what) for one in reports) for what in ("passed", "failed", "skipped"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if options.page:
        options.page.write_text(PAGE.format(rows="\n".join(one.row for one in reports)), encoding="utf-8")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
