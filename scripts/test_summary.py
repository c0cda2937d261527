#!/usr/bin/env python3
"""Print how many tests each JUnit file reports, then the sum as `N passed, N failed, N skipped`.

Exit status 1 when a test failed or none ran.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def count(path: Path) -> dict[str, int]:
    """Return the numbers of one file."""
    found = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for suite in ET.parse(path).getroot().iter("testsuite"):
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        found["failed"] += failed
        found["skipped"] += skipped
        found["passed"] += int(suite.get("tests", 0)) - failed - skipped
    return found


def main(paths: list[str]) -> int:
    """Print one line per file and the sum."""
    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for path in sorted(Path(name) for name in paths if Path(name).exists()):
        found = count(path)
        print(f"{path.stem:30} {sum(found.values()):4} tests")
        for key, number in found.items():
            total[key] += number
    print(", ".join(f"{number} {what}" for what, number in total.items()))
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
