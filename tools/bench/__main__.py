"""Measure this cluster against stock Airflow on machines of its own, and write docs/performance.md.

The figures go to artifacts/bench.json. A part that is measured alone replaces its own figures only. The machines are
removed at the end, also after a failure; the output of Ansible is in artifacts/bench.log.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Collection
from typing import Any

from cluster_inventory import PROJECT

from bench import deploy, report
from bench.blocks import ROUNDS, run_blocks
from bench.results import RESULTS, Results
from bench.site import LOG, Site

PARTS = ("deploy", "tasks", "idle", "heartbeats")
WORK = PROJECT / ".cache/bench"


def chosen_parts(text: str) -> list[str]:
    """Return the parts that an argument names, in their own order."""
    names = set(text.split(","))
    if unknown := names - set(PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(PARTS)}")
    return [part for part in PARTS if part in names]


def measure(site: Site, parts: Collection[str], rounds: int, results: Results) -> None:
    """Measure some parts; each is recorded as soon as it has figures."""
    figures: dict[str, Any] = {}
    if "deploy" in parts:
        figures = deploy.deploy_twice(site)
        results.record("deploy", figures)
    on_cluster = [part for part in parts if part != "deploy"]
    if on_cluster:
        if "deploy" in parts:
            site.play("playbooks/dags.yml")
        else:
            site.make_machines()
            site.play("site.yml")
        run_blocks(site, on_cluster, rounds, results)
    if "deploy" in parts:
        results.record("deploy", figures := figures | {"added": deploy.add_workers(site)})
        results.record("deploy", figures | {"placed": deploy.place(site)})


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--only",
        type=chosen_parts,
        default=list(PARTS),
        metavar="PART,...",
        help=f"of {', '.join(PARTS)} (default: all)",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs of each load shape (default {ROUNDS})")
    parser.add_argument("--keep", action="store_true", help="leave machines and cluster for the next run")
    parser.add_argument("--report", action="store_true", help="measure nothing: print the table, and write the page")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))
    results = Results()
    if not arguments.report:
        LOG.unlink(missing_ok=True)
        site = Site(WORK)
        site.prepare(deploy.WORKERS)
        try:
            measure(site, arguments.only, arguments.rounds, results)
        finally:
            if not arguments.keep:
                site.remove_machines()
                shutil.rmtree(WORK)
    report.write_page(results.parts)
    print(f"\n{report.table(results.parts)}\n\nRaw figures: {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
