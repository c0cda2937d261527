"""Run faults on a cluster of local machines: ``python -m faults list|run|page|compare``."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from cluster_inventory import PROJECT, Cluster

from faults import page
from faults.catalogue import BY_NAME, FAULTS
from faults.compare import compare
from faults.harness import Result, run_fault

RESULTS = PROJECT / "artifacts/faults.jsonl"


def read_results(path: Path) -> list[Result]:
    """Return the results that a file holds; none if there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def run(inventories: list[Path], names: list[str], repetitions: int, results: Path) -> int:
    """Run what is missing in the results, fault by fault; return how many runs had a problem."""
    cluster = Cluster.read(*inventories)
    results.parent.mkdir(parents=True, exist_ok=True)
    bad = 0
    for _ in range(repetitions):
        for name in names:
            # Read anew each time: two runs on two clusters may share the work.
            if Counter(result.fault for result in read_results(results))[name] >= repetitions:
                continue
            result = run_fault(cluster, BY_NAME[name])
            with results.open("a") as file:
                file.write(result.as_json() + "\n")
            slowest = f", running again after {max(result.recovery):.1f} s" if result.recovery else ""
            print(
                f"{name}: {result.tasks} tasks, {result.interrupted} interrupted{slowest}, {result.seconds:.0f} s"
                + "".join(f"\n    PROBLEM: {problem}" for problem in result.problems),
                flush=True,
            )
            bad += bool(result.problems)
    return bad


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("command", choices=["list", "run", "page", "compare"])
    parser.add_argument("-i", "--inventory", type=Path, action="append", help="default: that of the demo")
    parser.add_argument("--only", nargs="+", choices=sorted(BY_NAME), metavar="FAULT", help="default: all")
    parser.add_argument("--repetitions", type=int, default=1, help="runs of each fault in the results (default 1)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to which each result is appended")
    arguments = parser.parse_args()
    if arguments.command == "list":
        for fault in FAULTS:
            print(f"{fault.name:32}{fault.what}")
        return 0
    if arguments.command == "page":
        page.write(read_results(arguments.results))
        return 0
    # Ansible is run from the project's directory, wherever this was started.
    inventories = [path.resolve() for path in arguments.inventory or []] or [PROJECT / "inventory/local"]
    if arguments.command == "compare":
        compare(Cluster.read(*inventories))
        return 0
    bad = run(inventories, arguments.only or list(BY_NAME), arguments.repetitions, arguments.results)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
