"""The report of a failover drill: what the ledgers say of one cut worker, as text and as a page.

Pure functions: everything they tell stands in `Drill`. Times are seconds since the epoch on the controller's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import Failover
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.ledger import (
    Execution,
    interrupted,
    lost,
    overlapping,
)

# A task beats twice a second; one that has been silent for longer than this was not alive any more.
SILENCE = 2.0
# Of the cut worker, then of the others in turn; told apart in both schemes, by colour-blind people too.
COLOURS = 6
LANE, BAR = 26, 18
LEFT, RIGHT, TOP, WIDTH = 96, 16, 44, 960


@dataclass(frozen=True)
class Drill:
    """One drill as it was observed.

    :param worker: inventory name of the worker that was cut off.
    :param workers: all workers, as the inventory orders them.
    :param tasks: names of the load's tasks, as the ledger has them.
    :param executions: what the ledgers of all workers say.
    :param cut: when the worker was cut off.
    :param healed: when the cut ended.
    :param failover: the settings in force; None where the failover tuning is off.
    :param run_id: the DAG run of the load.
    :param run_state: how that run ended, as Airflow says.
    :param back: seconds from the healing until the worker answered Celery's ping; None if it did not.
    :param clock_error: by how much two hosts' times may be wrong against each other, in seconds.
    :param problems: what went wrong beside the tasks, in words.
    """

    worker: str
    workers: Sequence[str]
    tasks: Sequence[str]
    executions: Sequence[Execution]
    cut: float
    healed: float
    failover: Failover | None
    run_id: str
    run_state: str
    back: float | None
    clock_error: float = 0.0
    problems: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Moved:
    """What became of one task that ran on the cut worker. Times are seconds since the cut; None for never."""

    task: str
    stopped: float
    again: float | None
    host: str
    attempt: int | None


def _by_the_cut(drill: Drill, one: Execution) -> bool:
    """Whether it was the cut that ended an execution: it was alive on the cut worker when that was cut off."""
    return one.host == drill.worker and one.begin < drill.cut <= one.last + SILENCE


def moved(drill: Drill) -> list[Moved]:
    """Return what became of each execution that the cut interrupted."""
    found = []
    for broken in interrupted(drill.executions):
        if not _by_the_cut(drill, broken):
            continue
        later = sorted(
            (one for one in drill.executions if one.task == broken.task and one.begin > broken.begin and one != broken),
            key=lambda one: one.begin,
        )
        first = later[0] if later else None
        found.append(
            Moved(
                broken.task,
                broken.last - drill.cut,
                first.begin - drill.cut if first else None,
                first.host if first else "",
                first.attempt if first else None,
            )
        )
    return found


def problems(drill: Drill) -> list[str]:
    """Return a message for each guarantee that the drill found violated; an empty list if there is none."""
    found = list(drill.problems)
    found += [f"LOST: {task} never came to its end" for task in lost(drill.executions, drill.tasks)]
    for first, second in overlapping(drill.executions):
        seconds = min(first.last, second.last) - second.begin
        found.append(
            f"OVERLAPPED: {first.task} ran twice at once for {seconds:.1f} s, on {first.host} (try {first.attempt}) "
            f"and on {second.host} (try {second.attempt})"
        )
    what = moved(drill)
    if not what:
        found.append(f"NOTHING MEASURED: no task was interrupted on {drill.worker}")
    if drill.failover:
        promise = drill.failover.seconds
        found += [
            f"LATE: {one.task} ran elsewhere after {one.again:.1f} s; airflow_failover_seconds is {promise}"
            for one in what
            if one.again is not None and one.again > promise
        ]
    found += [
        f"DISTURBED: {one.task} (try {one.attempt}) stopped on {one.host} {abs(one.last - drill.cut):.1f} s "
        f"{'before' if one.last < drill.cut else 'after'} the cut, and not because of it"
        for one in interrupted(drill.executions)
        if not _by_the_cut(drill, one)
    ]
    if drill.run_state != "success":
        found.append(f"DAG RUN: it ended {drill.run_state or 'not at all'}")
    if drill.back is None:
        found.append(f"NOT BACK: {drill.worker} does not answer Celery's ping after the healing")
    return found


def settings(drill: Drill) -> list[tuple[str, str]]:
    """Return the settings in force that decide the times, as (name, value)."""
    if drill.failover is None:
        return [("airflow_failover_tuning", "false: Airflow's own settings, nothing is promised")]
    ours = drill.failover
    return [
        ("airflow_failover_seconds", f"{ours.seconds} s"),
        ("heartbeat interval", f"{ours.heartbeat_interval} s"),
        ("task told to end after", f"{ours.terminate_after:g} s without heartbeat"),
        ("task killed after", f"{ours.kill_after:g} s without heartbeat"),
        ("heartbeat timeout of the scheduler", f"{ours.heartbeat_timeout} s"),
        ("detection interval", f"{ours.detection_interval} s"),
        ("retry delay", f"{ours.retry_delay} s"),
    ]


def _span(values: Sequence[float]) -> str:
    if not values:
        return "-"
    least, most = min(values), max(values)
    return f"{most:.1f} s" if f"{least:.1f}" == f"{most:.1f}" else f"{least:.1f} to {most:.1f} s"


def numbers(drill: Drill) -> list[tuple[str, str]]:
    """Return what was measured, as (name, value)."""
    what = moved(drill)
    twice = {first.task for first, _second in overlapping(drill.executions)}
    return [
        ("worker cut off", drill.worker),
        ("cut off for", f"{drill.healed - drill.cut:.1f} s"),
        ("tasks", f"{len(drill.tasks)}, of which {len(what)} were interrupted"),
        ("lost", str(len(lost(drill.executions, drill.tasks)))),
        ("ran twice at once", str(len(twice))),
        ("stopped on the cut worker after", _span([one.stopped for one in what])),
        ("running elsewhere after", _span([one.again for one in what if one.again is not None])),
        ("worker back after healing", "no" if drill.back is None else f"{drill.back:.1f} s"),
    ]


def _rows(drill: Drill) -> list[tuple[str, ...]]:
    return [
        (
            one.task,
            f"{one.stopped:.1f} s",
            "never" if one.again is None else f"{one.again:.1f} s",
            one.host or "-",
            "-" if one.attempt is None else str(one.attempt),
        )
        for one in moved(drill)
    ]


HEAD = ("task", "stopped after", "running elsewhere after", "worker", "try")


def text(drill: Drill) -> str:
    """Return the report as plain text for a terminal."""
    lines = [f"Failover drill of {_moment(drill.cut)}", ""]
    pairs = [*numbers(drill), *settings(drill)]
    width = max(len(name) for name, _value in pairs)
    lines += [f"{name.ljust(width)}  {value}" for name, value in pairs]
    rows = [HEAD, *_rows(drill)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", table[0], "  ".join("-" * width for width in widths), *table[1:], ""]
    lines += [f"PROBLEM  {problem}" for problem in problems(drill)] or [_verdict(drill)]
    return "\n".join(lines)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _verdict(drill: Drill) -> str:
    return f"No task was lost, none ran twice at once, and {drill.worker} takes tasks again."


STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1f2328; --soft: #59636e; --line: #d8dee4; --good: #116329;
  --bad: #b3001b; --cutback: #b3001b14; --w0: #c4500a; --w1: #0a5fb4; --w2: #1a7f64; --w3: #7a3fb8; --w4: #8a6a00;
  --w5: #a3306f; }
@media (prefers-color-scheme: dark) { :root { --back: #14181d; --text: #e6e9ec; --soft: #9aa5b1; --line: #343c45;
  --good: #56d364; --bad: #ff7b72; --cutback: #ff7b7222; --w0: #f0883e; --w1: #58a6ff; --w2: #3fc79a; --w3: #bc8cff;
  --w4: #d6b030; --w5: #f778ba; } }
@media print { :root { color-scheme: light; --back: #fff; --text: #000; --soft: #444; --line: #bbb; --good: #116329;
  --bad: #b3001b; --cutback: #b3001b14; --w0: #c4500a; --w1: #0a5fb4; --w2: #1a7f64; --w3: #7a3fb8; --w4: #8a6a00;
  --w5: #a3306f; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } section { break-inside: avoid; } }
body { margin: 0 auto; padding: 28px 24px; max-width: 1010px; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { margin: 0; font-size: 24px } h2 { margin: 28px 0 8px; font-size: 17px } p { margin: 6px 0 }
.soft { color: var(--soft) } .verdict { border-left: 5px solid; padding: 8px 14px; margin: 18px 0; font-weight: 600 }
.good { color: var(--good) } .bad { color: var(--bad) } .verdict ul { margin: 4px 0; padding-left: 20px }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 6px 0; padding: 0; list-style: none }
.key svg { vertical-align: -3px; margin-right: 6px }
.scroll { overflow-x: auto } .scroll > svg { display: block; width: 100%; min-width: 640px; height: auto }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 0 36px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); text-align: left; font-weight: 400;
  vertical-align: top } thead th { color: var(--soft) } .pair td { text-align: right; padding-right: 0 }
svg text { font: 12px system-ui, sans-serif; fill: var(--text) } svg .soft { fill: var(--soft) }
svg .in { fill: var(--back); font-weight: 600 } svg .axis { stroke: var(--line) } .end { text-anchor: end }
.middle { text-anchor: middle } .cut { fill: var(--cutback) } .edge { stroke: var(--bad); stroke-width: 1.5 }
.promise { stroke: var(--soft); stroke-dasharray: 5 4 } .cross { stroke: var(--bad); stroke-width: 2.5 }
.twice { fill: none; stroke: var(--bad); stroke-width: 3 } .late { fill: var(--bad) }
""" + "".join(f".w{number} {{ fill: var(--w{number}) }}\n" for number in range(COLOURS))


def _colours(drill: Drill) -> dict[str, int]:
    others = [name for name in drill.workers if name != drill.worker]
    return {drill.worker: 0} | {name: 1 + number % (COLOURS - 1) for number, name in enumerate(others)}


def _step(seconds: float) -> int:
    return next((step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if seconds / step <= 12), 1200)


def _cross(x: float, y: float) -> str:
    return (
        f'<path class="cross" d="M{x - 5:.1f} {y - 5:.1f}L{x + 5:.1f} {y + 5:.1f}'
        f'M{x - 5:.1f} {y + 5:.1f}L{x + 5:.1f} {y - 5:.1f}"/>'
    )


def timeline(drill: Drill) -> str:
    """Return the picture of who ran what, when: one lane for each task, those of the cut worker first."""
    hit = {one.task for one in moved(drill)}
    lanes = sorted(drill.tasks, key=lambda task: task not in hit)
    start = min([drill.cut, *(one.begin for one in drill.executions)]) - 1
    end = max([drill.healed, *(one.last for one in drill.executions)]) + 1
    if drill.failover:
        end = max(end, drill.cut + drill.failover.seconds + 1)
    scale = (WIDTH - LEFT - RIGHT) / (end - start)
    bottom = TOP + LANE * len(lanes) + 4

    def at(moment: float) -> float:
        return LEFT + (moment - start) * scale

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {bottom + 42}" role="img" aria-labelledby="what">',
        f'<title id="what">Timeline: {len(lanes)} tasks, {escape(drill.worker)} cut off at 0 s and healed at '
        f"{drill.healed - drill.cut:.1f} s; the tables hold the same numbers</title>",
        f'<rect class="cut" x="{at(drill.cut):.1f}" y="{TOP - 6}" width="{(drill.healed - drill.cut) * scale:.1f}" '
        f'height="{bottom - TOP + 6}"><title>{escape(drill.worker)} is cut off</title></rect>',
    ]
    step = _step(end - start)
    tick = int((start - drill.cut) / step) * step
    while drill.cut + tick <= end:
        x = at(drill.cut + tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom}"/>')
        parts.append(f'<text class="middle soft" x="{x:.1f}" y="{bottom + 16}">{tick} s</text>')
        tick += step
    if drill.failover:
        x = at(drill.cut + drill.failover.seconds)
        parts.append(f'<line class="promise" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 10}" y2="{bottom}"/>')
        # On a row of its own and turned away from the healing, which may be close.
        side, aside = ("soft", 5) if drill.healed < drill.cut + drill.failover.seconds else ("end soft", -5)
        parts.append(f'<text class="{side}" x="{x + aside:.1f}" y="{TOP - 14}">promised</text>')
    for moment, word in ((drill.cut, "cut off"), (drill.healed, "healed")):
        x = at(moment)
        parts.append(f'<line class="edge" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 24}" y2="{bottom}"/>')
        parts.append(f'<text class="middle" x="{x:.1f}" y="{TOP - 29}">{word}</text>')
    colours = _colours(drill)
    twice = overlapping(drill.executions)
    for number, task in enumerate(lanes):
        y = TOP + LANE * number
        middle = y + BAR / 2
        parts.append(f'<text class="end" x="{LEFT - 10}" y="{middle + 4:.1f}">{escape(task)}</text>')
        for one in (one for one in drill.executions if one.task == task):
            parts.append(_bar(one, drill, at, y, colours.get(one.host, COLOURS - 1)))
        for first, second in twice:
            if first.task == task:
                width = (min(first.last, second.last) - second.begin) * scale
                parts.append(
                    f'<rect class="twice" x="{at(second.begin):.1f}" y="{y - 2}" width="{max(width, 3):.1f}" '
                    f'height="{BAR + 4}"><title>ran twice at once</title></rect>'
                )
    parts.append(
        f'<text class="middle soft" x="{(LEFT + WIDTH) / 2:.0f}" y="{bottom + 34}">seconds since the cut</text>'
    )
    return "\n".join([*parts, "</svg>"])


def _bar(one: Execution, drill: Drill, at: Callable[[float], float], y: float, colour: int) -> str:
    begin, last = at(one.begin), at(one.last)
    width = max(last - begin, 3)
    how = "came to its end" if one.ended else "did not come to its end"
    times = f"{one.begin - drill.cut:.1f} to {one.last - drill.cut:.1f} s"
    title = f"{one.task}, try {one.attempt} on {one.host}: {times}, {how}"
    label = f"{one.host} · try {one.attempt}"
    if width < 7 * len(label):
        label = str(one.attempt) if width >= 14 else ""
    drawn = f'<g><title>{escape(title)}</title><rect class="w{colour}" x="{begin:.1f}" y="{y}" width="{width:.1f}" '
    drawn += f'height="{BAR}" rx="3"/>'
    if label:
        drawn += f'<text class="in" x="{begin + 6:.1f}" y="{y + BAR - 5}">{escape(label)}</text>'
    return drawn + (_cross(last + 9, y + BAR / 2) if not one.ended else "") + "</g>"


def _pairs(title: str, pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in pairs)
    return f"<section><h2>{escape(title)}</h2><table><tbody>{rows}</tbody></table></section>"


def _key(drill: Drill) -> str:
    box = '<svg width="16" height="16" aria-hidden="true">{}</svg>'
    used = {one.host for one in drill.executions} | {drill.worker}
    names = [name for name in [drill.worker, *drill.workers] if name in used]
    items = [
        (f'<rect class="w{_colours(drill)[name]}" width="16" height="16" rx="3"/>', name)
        for name in dict.fromkeys(names)
    ]
    items += [('<rect class="cut" width="16" height="16"/>', f"{drill.worker} is cut off"), (_cross(8, 8), "stopped")]
    if overlapping(drill.executions):
        items.append(('<rect class="twice" x="2" y="2" width="12" height="12"/>', "ran twice at once"))
    return "".join(f"<li>{box.format(drawn)}{escape(name)}</li>" for drawn, name in items)


def html(drill: Drill) -> str:
    """Return the report as a page that needs no other file and no script."""
    found = problems(drill)
    if found:
        verdict = '<div class="verdict bad" role="status">A promise is broken.<ul>'
        verdict += "".join(f"<li>{escape(problem)}</li>" for problem in found) + "</ul></div>"
    else:
        verdict = f'<div class="verdict good" role="status">{escape(_verdict(drill))}</div>'
    cells = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in _rows(drill))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in HEAD)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Failover drill: {escape(drill.worker)}, {_moment(drill.cut)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Failover drill: {escape(drill.worker)} cut off</h1>
<p class="soft">{_moment(drill.cut)} · DAG failover_load, run {escape(drill.run_id)}</p>
{verdict}
<section>
<h2>Who ran what, when</h2>
<ul class="key">{_key(drill)}</ul>
<div class="scroll">{timeline(drill)}</div>
</section>
<div class="pair">
{_pairs("Measured", numbers(drill))}
{_pairs("Settings in force", settings(drill))}
</div>
<section>
<h2>Tasks that the cut interrupted</h2>
<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table></div>
<p class="soft">Seconds since the cut, from the tasks' own ledgers on the workers' disks. A task beats twice a second:
it may have stopped up to half a second later than its last beat. Times of different hosts agree to
{drill.clock_error * 1000:.0f} ms.</p>
</section>
</main>
</body>
</html>
"""
