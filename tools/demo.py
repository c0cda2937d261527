"""The end of ``make demo``: run a real DAG across the cluster, watch it, and show who did what.

Exit status 0 only if every task succeeded, every file is where its task says
it is, and every worker ran at least one task.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# The library of the tests
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/cluster"))

from airflow_client import AirflowClient, ApiError, DagRun, TaskInstance, Unavailable, WaitTimeout, wait_for
from cluster_inventory import PROJECT, Cluster

DAG = "get_stocks"
BAR = 24


@dataclass(frozen=True)
class Snapshot:
    """The DAG's runs and tasks at one moment."""

    runs: list[DagRun]
    tasks: list[TaskInstance]
    more_to_come: bool

    @property
    def finished(self) -> bool:
        """Whether catch-up is done and nothing is left to run."""
        return bool(self.runs) and not self.more_to_come and all(run.finished for run in self.runs)

    def of(self, run: DagRun) -> list[TaskInstance]:
        """Return the tasks of one run."""
        return [task for task in self.tasks if task.run_id == run.run_id]


def take_snapshot(client: AirflowClient) -> Snapshot:
    """Ask the REST API for everything that the display and the table need."""
    next_run = (client.dag(DAG) or {}).get("next_dagrun_run_after")
    # Asked first: a run that is created in between is then seen as more to come.
    more = next_run is not None and datetime.fromisoformat(next_run) <= datetime.now(UTC)
    return Snapshot(client.runs(DAG), client.tasks(DAG), more)


def day_of(run: DagRun) -> str:
    """Return the short name of a run."""
    return run.logical_date.date().isoformat() if run.logical_date else run.run_id


class Progress:
    """Shows how the runs advance: redrawn in place on a terminal, one line per event elsewhere."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._live = sys.stdout.isatty()
        self._drawn = 0
        self._told: set[tuple[str, str, int, int, str | None]] = set()

    def show(self, snapshot: Snapshot) -> None:
        """Show the state of a moment."""
        if self._live:
            self._redraw(snapshot)
        else:
            self._tell(snapshot)

    def _redraw(self, snapshot: Snapshot) -> None:
        lines = []
        for run in snapshot.runs:
            tasks = snapshot.of(run)
            done = sum(task.finished for task in tasks)
            filled = BAR * done // max(len(tasks), 1)
            hosts = Counter(self._cluster.host_of(task.hostname) for task in tasks if task.hostname)
            by = ", ".join(f"{host} {count}" for host, count in sorted(hosts.items()))
            bar = "█" * filled + "░" * (BAR - filled)
            lines.append(f"  {day_of(run)}  {bar}  {done}/{len(tasks)}  {run.state:<8} {by}")
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A")
        sys.stdout.write("".join(f"\x1b[2K{line}\n" for line in lines))
        sys.stdout.flush()
        self._drawn = len(lines)

    def _tell(self, snapshot: Snapshot) -> None:
        days = {run.run_id: day_of(run) for run in snapshot.runs}
        for task in snapshot.tasks:
            event = (task.run_id, task.task_id, task.map_index, task.try_number, task.state)
            if task.run_id in days and task.finished and event not in self._told:
                self._told.add(event)
                host = self._cluster.host_of(task.hostname) or "-"
                print(f"  {days[task.run_id]}  {task.task_id} {task.label}  {task.state}  {host}", flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a plain table with a heading."""
    body = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in body) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in body]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join("  " + line for line in lines)


def run_dag(client: AirflowClient, cluster: Cluster, seconds: float) -> Snapshot:
    """Unpause the DAG, and follow its runs to their end."""
    client.wait_for_dag(DAG, seconds=120)
    before = take_snapshot(client)
    client.pause(DAG, False)
    if before.finished:
        print(f"{DAG} has run before: all of its {len(before.runs)} runs are run once more.")
        client.clear(DAG)
    progress = Progress(cluster)

    def finished() -> Snapshot | None:
        snapshot = take_snapshot(client)
        progress.show(snapshot)
        return snapshot if snapshot.finished else None

    return wait_for(
        finished,
        what=f"all runs of {DAG} over",
        seconds=seconds,
        transient=(Unavailable, OSError),
    )


def files_on(cluster: Cluster, directory: Path) -> dict[tuple[str, str], int]:
    """Return the lines of each file that is really on a worker, by worker and path."""
    found = {}
    command = ("find", str(directory), "-name", "*.csv", "-exec", "grep", "-c", "-H", "", "{}", "+")
    for host, lines in cluster.command("airflow_worker", *command).items():
        for line in lines:
            path, _, count = line.rpartition(":")
            found[host, path] = int(count)
    return found


def report(client: AirflowClient, cluster: Cluster, snapshot: Snapshot) -> list[str]:
    """Print the tables; return what is wrong."""
    problems = []
    rows = []
    results = {}
    for run in snapshot.runs:
        for task in sorted(snapshot.of(run), key=lambda task: (task.task_id, task.map_index)):
            host = cluster.host_of(task.hostname) or "-"
            took = f"{task.seconds:.1f} s" if task.seconds is not None else "-"
            rows.append((day_of(run), f"{task.task_id} {task.label}", host, str(task.state), took))
            if task.state != "success":
                problems.append(f"task {task.label} of {day_of(run)} ended {task.state}: see its log in the UI")
            else:
                result = client.result(DAG, task)
                results[host, str(result["path"])] = int(result["rows"])
    print("\n" + table(("DAG run", "task", "worker", "state", "took"), rows))

    tasks: Counter[str] = Counter(row[2] for row in rows)
    idle = [worker for worker in cluster.workers if not tasks[worker]]
    problems += [f"{worker} ran no task" for worker in idle]
    files: dict[str, list[int]] = defaultdict(list)
    if results and not idle:
        directory = Path(next(iter(results))[1]).parent.parent
        present = files_on(cluster, directory)
        for (host, path), count in results.items():
            if present.get((host, path)) != count + 1:  # and a heading
                seen = present.get((host, path), "no")
                problems.append(f"{host}: {path} should have {count + 1} lines and has {seen}")
            else:
                files[host].append(count)
        print("\nFiles written, as found on the workers' own disks:\n")
        print(
            table(
                ("worker", "tasks", "files", "prices", "where"),
                (
                    (
                        worker,
                        str(tasks[worker]),
                        str(len(files[worker])),
                        str(sum(files[worker])),
                        f"{directory}/",
                    )
                    for worker in cluster.workers
                ),
            )
        )
    return problems


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--inventory", type=Path, default=PROJECT / "inventory/local")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for the runs to end (default 600)")
    arguments = parser.parse_args()
    try:
        cluster = Cluster.read(arguments.inventory)
        client = cluster.client()
        workers = cluster.workers
        print(f"\n{DAG}: the price history of some stocks on each trading day, by {len(workers)} workers\n")
        problems = report(client, cluster, run_dag(client, cluster, arguments.timeout))
    except (ApiError, RuntimeError, WaitTimeout, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1

    user, password = cluster.admin
    flower_user, flower_password = cluster.flower_login
    print(f"""
  Airflow   {cluster.url}   user {user}, password {password}
  Flower    {cluster.flower_url}   user {flower_user}, password {flower_password}

The certificate is signed by the demo's own authority, {cluster.ca_file}:
have your browser trust it, or pass its warning. These logins were made for this demo only and are kept in
{arguments.inventory}/group_vars/all/secrets.yml. Take everything down with: make destroy
""")
    for problem in problems:
        print(f"The demo failed: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
