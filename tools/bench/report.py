"""The table of the figures with ratios and goals, and the part of docs/performance.md that holds it."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster_inventory import PROJECT

from bench.shapes import BY_NAME, SHAPES

PAGE = PROJECT / "docs/performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
PARTS = {"control": "control node", "workers": "workers"}
# What the names of their units begin with, ours and stock Airflow's. The first that matches counts.
COMPONENTS = {
    "scheduler": ("airflow-scheduler", "acc-bench-scheduler"),
    "API servers": ("airflow-api-server", "airflow-execution-api", "acc-bench-api-server"),
    "PostgreSQL": ("postgresql@",),
    "DAG processor": ("airflow-dag-processor", "acc-bench-dag-processor"),
    "triggerer": ("airflow-triggerer", "acc-bench-triggerer"),
    "worker": ("airflow-worker", "acc-bench-worker"),
    "Redis": ("redis-server", "acc-bench-redis"),
    "HAProxy": ("haproxy",),
    "Flower": ("airflow-flower",),
    "logs": ("airflow-log-", "systemd-journald"),
}


@dataclass(frozen=True)
class Goal:
    """What a number has to be.

    :param number: the number that was measured.
    """

    number: float
    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        limits = [f"≥ {self.least:g}"] if self.least is not None else []
        limits += [f"≤ {self.most:g}"] if self.most is not None else []
        return f"{', '.join(limits)} ({'met' if self.met else 'missed'})"

    @property
    def met(self) -> bool:
        """Whether the number is within the limits."""
        return (self.least is None or self.number >= self.least) and (self.most is None or self.number <= self.most)


@dataclass(frozen=True)
class Row:
    """One line of the table; an empty cell is a dash."""

    figure: str
    ours: str
    stock: str = ""
    ratio: str = ""
    goal: str = ""

    def __str__(self) -> str:
        return f"| {' | '.join(cell or '-' for cell in (self.figure, self.ours, self.stock, self.ratio, self.goal))} |"


def compared(
    figure: str, ours: float, stock: float, unit: str, *, least: float | None = None, most: float | None = None
) -> Row:
    """Return the row of a figure that both sides have; the goal is one of the ratio."""
    ratio = ours / stock if stock else float("nan")
    goal = "" if least is None and most is None else str(Goal(ratio, least, most))
    return Row(figure, f"{ours:.3g} {unit}", f"{stock:.3g} {unit}", f"{ratio:.2f}", goal)


def median_rate(runs: Sequence[Mapping[str, Any]]) -> float:
    """Return the median of the tasks per second of some runs."""
    return float(statistics.median(run["tasks"] / run["seconds"] for run in runs))


def median_cpu(runs: Sequence[Mapping[str, Any]], part: str) -> float:
    """Return the median of the CPU seconds for each task of some runs."""
    return float(statistics.median(run["cpu"][part] / run["tasks"] for run in runs))


def opponents(figures: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, str | None]:
    """Return the names of stock Airflow with as many slots as ours, and with its own number of slots."""
    slots = {name: side["slots"] for name, side in figures.items() if name != "ours"}
    equal = next((name for name, count in slots.items() if count == figures["ours"]["slots"]), None)
    return equal, next((name for name in slots if name != equal), None)


def task_rows(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the rows of the load shapes."""
    if "ours" not in figures:
        return
    equal, own = opponents(figures)
    for name, least in ((equal, {"quick": 2.0}), (own, {"quick": 1.3})):
        if name is None:
            continue
        slots = f"{figures['ours']['slots']} slots against {figures[name]['slots']}"
        for shape in SHAPES:
            ours, stock = (figures[side]["shapes"].get(shape.name) for side in ("ours", name))
            if not ours or not stock:
                continue
            if shape.name == "chain":
                figure = f"{shape.title}, time per task, {slots}"
                most = 0.3 if name == equal else None
                yield compared(figure, 1 / median_rate(ours), 1 / median_rate(stock), "s", most=most)
            else:
                figure = f"{shape.title}, {slots}"
                yield compared(figure, median_rate(ours), median_rate(stock), "tasks/s", least=least.get(shape.name))
    if equal is not None:
        yield from cpu_rows(figures["ours"]["shapes"], figures[equal]["shapes"])


def cpu_rows(ours: Mapping[str, Any], stock: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows of CPU time for each task of the wide DAG, with equal slots."""
    if not ours.get("quick") or not stock.get("quick"):
        return
    for part, title in PARTS.items():
        yield compared(
            f"CPU per task of {BY_NAME['quick'].title}, {title}",
            median_cpu(ours["quick"], part) * 1000,
            median_cpu(stock["quick"], part) * 1000,
            "ms",
            most=1.0,
        )


def by_component(cpu: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """Return the sums of the units of each part and component; what belongs to no component is ``other``."""
    sums: defaultdict[tuple[str, str], float] = defaultdict(float)
    for key, seconds in cpu.items():
        part, slash, unit = key.partition("/")
        if slash:
            component = next((name for name, starts in COMPONENTS.items() if unit.startswith(starts)), "other")
            sums[part, component] += seconds
    return dict(sums)


def medians(readings: Sequence[Mapping[str, float]], scale: Sequence[float]) -> dict[tuple[str, str], float]:
    """Return the median of each part and component, and of the whole part as component ``all``, in milliseconds.

    :param scale: what each reading is divided by.
    """
    every = [{**by_component(one), **{(part, "all"): one[part] for part in PARTS if part in one}} for one in readings]
    keys = {key for one in every for key in one}
    return {
        key: statistics.median(1000 * one.get(key, 0.0) / by for one, by in zip(every, scale, strict=True))
        for key in keys
    }


def component_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the CPU time of each component, of a task and of the idle cluster, with equal slots; or nothing."""
    equal = opponents(figures)[0] if "ours" in figures else None
    if equal is None or not all(figures[name]["shapes"].get("quick") for name in ("ours", equal)):
        return ""
    sides = [figures["ours"], figures[equal]]
    columns = []
    for side in sides:
        runs = side["shapes"]["quick"]
        columns.append(medians([run["cpu"] for run in runs], [run["tasks"] for run in runs]))
    columns += [medians(side["idle"], [1.0] * len(side["idle"])) for side in sides]
    lines = [
        f"| CPU time | one of {BY_NAME['quick'].title}, ours | stock | idle cluster, each second, ours | stock |",
        "|---|---|---|---|---|",
    ]
    for part, title in PARTS.items():
        for component in (*COMPONENTS, "other", "all"):
            cells = [column.get((part, component), 0.0) for column in columns]
            if any(cell >= 0.05 for cell in cells):
                lines.append(f"| {title}, {component} | {' | '.join(f'{cell:.1f} ms' for cell in cells)} |")
    return "\n".join(lines)


def idle_rows(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the row of the idle cluster."""
    names = [name for name in figures if name != "ours"]
    if "ours" in figures and names:
        ours, stock = (figures[name]["control"] * 100 for name in ("ours", names[0]))
        row = compared("idle cluster, control node", ours, stock, "% of a core")
        yield Row(row.figure, row.ours, row.stock, row.ratio, "not more than before")


def heartbeat_rows(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the row of the heartbeats; the goal is one of our own figure."""
    names = [name for name in figures if name != "ours"]
    if "ours" in figures and names:
        ours, stock = (figures[name]["per_second"] for name in ("ours", names[0]))
        row = compared("heartbeats of one Execution API process", ours, stock, "/s")
        yield Row(row.figure, row.ours, row.stock, row.ratio, f"ours {Goal(ours, least=500)}")


def deploy_rows(figures: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows of the deployments."""
    for name, title, limit in (
        ("fresh", "fresh `site.yml`", 150),
        ("second", "`site.yml` again, nothing to change", 30),
    ):
        if name in figures:
            seconds = figures[name]
            yield Row(f"{title}, 1 + 2 hosts", f"{seconds:.0f} s", goal=f"ours {Goal(seconds, most=limit)}")
    if "tasks" in figures:
        counts = ", ".join(f"{count} on {host}" for host, count in sorted(figures["tasks"].items()))
        yield Row("tasks of that run", counts)
    added = figures.get("added", {})
    for number, one in added.items():
        others = sum(host.startswith("worker") and host != f"worker{int(number) + 1}" for host in one["hosts"])
        yield Row(f"one worker added to {number}", f"{one['seconds']:.0f} s, {others} other workers touched")
    if len(added) == 2:
        (few, first), (many, second) = added.items()
        ratio = second["seconds"] / first["seconds"]
        yield Row(f"the same, to {many} / to {few}", "", "", f"{ratio:.2f}", str(Goal(ratio, least=0.9, most=1.1)))
    for hosts, most in (("3", 0.4), ("8", 0.2)):
        if one := figures.get("placed", {}).get(hosts):
            title = f"Airflow placed on {hosts} hosts, against `pip install` on each"
            yield compared(title, one["ours"], one["pip"], "s", most=most)


ROWS = {"tasks": task_rows, "idle": idle_rows, "heartbeats": heartbeat_rows, "deploy": deploy_rows}


def table(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return all figures as tables of Markdown."""
    lines = ["| figure | ours | stock | ratio | goal |", "|---|---|---|---|---|"]
    for part, rows in ROWS.items():
        if part in parts:
            lines += [str(row) for row in rows(parts[part]["figures"])]
    if components := component_table(parts.get("tasks", {}).get("figures", {})):
        lines += ["", components]
    return "\n".join(lines)


def origins(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return where the figures come from, with one sentence for each run."""
    runs: dict[tuple[str, str, int], list[str]] = {}
    for part in ROWS:
        if part in parts:
            origin = parts[part]["origin"]
            runs.setdefault((origin["measured"][:10], origin["commit"], origin["cores"]), []).append(part)
    return "\n".join(
        f"Measured on {day} at commit {commit}, all machines on one host with {cores} cores: {', '.join(names)}."
        for (day, commit, cores), names in runs.items()
    )


def with_figures(page: str, parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page with its marked part replaced. Raises ValueError if it has none."""
    text = f"{BEGIN}\n{origins(parts)}\n\n{table(parts)}\n{END}"
    found, count = re.subn(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: text, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"one part between {BEGIN} and {END} was expected, and {count} were found")
    return found


def write_page(parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the figures into the page."""
    PAGE.write_text(with_figures(PAGE.read_text(), parts))
