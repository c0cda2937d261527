"""docs/faults.md: what the faults did to a cluster."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import groupby

from cluster_inventory import PROJECT

from faults.catalogue import FAULTS
from faults.harness import Result

PAGE = PROJECT / "docs/faults.md"
HEAD = """# Faults

What happens to running tasks when something breaks, as found by `make faults`: each fault under load on a cluster of
local machines (one control node, two workers) with default settings, Debian 13 or, with `DEBIAN=12`, Debian 12. Every
task writes its begin, a beat each half second and its end into a ledger outside Airflow; the table is counted from the
ledgers and from Airflow. After each run every component was healthy, every worker answered Celery's ping, and the next
DAG run was a normal one; otherwise the run counts as one with a problem.

- **interrupted**: executions that did not come to their own end: their machine, worker or fence ended them.
- **lost**: tasks that never came to an end. **overlapped**: tasks of which two executions ran at the same time.
- **woken**: tasks that wrote one more line the moment their machine, which had stood still, went on, and were ended by
  its fence or came to their end with it. No program can keep itself from being woken; this is as close as it gets.
- **running again**: seconds from the fault until an interrupted task ran again, over all interrupted tasks of all runs.
"""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def row(name: str, what: str, results: Sequence[Result]) -> str:
    """Return the table's line of one fault."""
    recovery = [seconds for result in results for seconds in result.recovery]
    times = f"{statistics.median(recovery):.1f} s | {percentile(recovery, 0.95):.1f} s" if recovery else "- | -"
    return (
        f"| {what} (`{name}`) | {len(results)} | {sum(result.tasks for result in results)} | "
        f"{sum(result.interrupted for result in results)} | {sum(len(result.lost) for result in results)} | "
        f"{sum(len(result.overlapped) for result in results)} | {sum(len(result.woken) for result in results)} | "
        f"{times} | "
        f"{sum(bool(result.problems) for result in results)} |"
    )


def text(results: Sequence[Result]) -> str:
    """Return the whole page."""
    by_name = {
        name: list(found)
        for name, found in groupby(sorted(results, key=lambda one: one.fault), key=lambda one: one.fault)
    }
    lines = [
        HEAD,
        "| fault | runs | tasks | interrupted | lost | overlapped | woken | running again (median) | (95th percentile) "
        "| runs with a problem |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(row(fault.name, fault.what, by_name[fault.name]) for fault in FAULTS if fault.name in by_name),
    ]
    problems = [f"- `{result.fault}` ({result.began}): {problem}" for result in results for problem in result.problems]
    if problems:
        lines += ["", "## Problems", "", *problems]
    return "\n".join(lines) + "\n"


def write(results: Sequence[Result]) -> None:
    """Write the page."""
    PAGE.write_text(text(results))
