"""Measure whether a cluster grows while it works: memory, open files, files, rows, messages, hour after hour.

``make demo`` first; then ``.venv/bin/python tools/soak_benchmark.py --hours 8``. A DAG run with some tasks begins
with each sample. Each series is then fitted with a line, without the first quarter, in which caches fill. Prints the
lines as a table, and those that grow by more than a tenth of their mean first.

Rows, results and logs of tasks grow with the number of tasks until the housekeeping is due: docs/memory.md says what
bounds each of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

# The library of the tests
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/cluster"))

from airflow_client import AirflowClient, ApiError
from cluster_inventory import PROJECT, Cluster

DAG = "cluster_check"
WARM_UP = 0.25
GROWS = 0.1


@dataclass(frozen=True)
class Line:
    """A series and the line through it.

    :param per_hour: the slope.
    :param growth: what it grew by in the measured time, as a part of its mean.
    """

    name: str
    first: float
    last: float
    per_hour: float
    growth: float


def fit(name: str, samples: list[tuple[float, float]]) -> Line:
    """Return the line through the samples of a series, without those of the warm-up.

    :param samples: seconds since the beginning, and value.
    """
    samples = samples[int(len(samples) * WARM_UP) :]
    times, values = zip(*samples, strict=True)
    slope = statistics.linear_regression(times, values).slope if len(set(times)) > 1 else 0.0
    mean = statistics.fmean(values)
    growth = slope * (times[-1] - times[0]) / mean if mean else 0.0
    return Line(name, values[0], values[-1], slope * 3600, growth)


def table(lines: list[Line]) -> str:
    """Return lines as a table of Markdown, the steepest first."""
    rows = ["| series | first | last | per hour | growth |", "|---|---|---|---|---|"]
    rows += [
        f"| {line.name} | {line.first:g} | {line.last:g} | {line.per_hour:+.1f} | {line.growth:+.0%} |"
        for line in sorted(lines, key=lambda line: -line.growth)
    ]
    return "\n".join(rows)


def sample(cluster: Cluster) -> dict[str, float]:
    """Return what all hosts hold now, by host and series."""
    probe = (Path(__file__).parent / "soak_probe.py").read_text()
    answers = cluster.command("airflow:control_plane", "python3", "-c", probe)
    return {
        f"{host}: {name}": value for host, lines in answers.items() for name, value in json.loads(lines[-1]).items()
    }


def start_tasks(client: AirflowClient, tasks: int) -> None:
    """Start a DAG run; an API server that does not answer now is no reason to stop."""
    try:
        client.trigger(DAG, {"tasks": tasks, "seconds": 1})
    except ApiError as error:
        print(error, file=sys.stderr)


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inventory", type=Path, action="append", help="default: inventory/local")
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--interval", type=float, default=60, help="seconds from one sample to the next (default 60)")
    parser.add_argument("--tasks", type=int, default=8, help="tasks that begin with each sample (default 8)")
    arguments = parser.parse_args()
    cluster = Cluster.read(*(path.resolve() for path in arguments.inventory or [PROJECT / "inventory/local"]))
    client = cluster.client()
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    begun = time.monotonic()
    end = begun + arguments.hours * 3600
    while (now := time.monotonic()) < end:
        start_tasks(client, arguments.tasks)
        for name, value in sample(cluster).items():
            series[name].append((now - begun, value))
        time.sleep(max(0.0, min(now + arguments.interval, end) - time.monotonic()))  # the rate of the samples
    lines = [fit(name, samples) for name, samples in series.items() if len(samples) > 3]
    growing = [line for line in lines if line.growth > GROWS]
    print(f"{(time.monotonic() - begun) / 3600:.1f} hours, {max(map(len, series.values()))} samples\n")
    print(f"{len(growing)} series grow by more than {GROWS:.0%} of their mean:\n\n{table(growing)}\n")
    print(f"All others:\n\n{table([line for line in lines if line not in growing])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
