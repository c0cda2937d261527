"""The page of a failover drill: where everything of its picture is, and the page from its template.

The template is ``roles/failover_drill/templates/drill.html.j2``. It escapes all text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.drill_report import (
    HEAD,
    Drill,
    moment,
    moved,
    numbers,
    problems,
    rows_of,
    settings,
    verdict,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.ledger import Execution, overlapping
from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).resolve().parents[2] / "roles/failover_drill/templates"
# Of the cut worker, then of the others in turn; told apart in both schemes, by colour-blind people too.
COLOURS = 6
LANE, BAR = 26, 18
LEFT, RIGHT, TOP, WIDTH = 96, 16, 44, 960
# Seconds between the marks of the axis.
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200)


def picture(drill: Drill) -> dict[str, Any]:
    """Return the picture of who ran what, when: one lane for each task, those of the cut worker first.

    Coordinates are those of an SVG that is ``WIDTH`` wide.
    """
    hit = {one.task for one in moved(drill)}
    tasks = sorted(drill.tasks, key=lambda task: task not in hit)
    start = min([drill.cut, *(one.begin for one in drill.executions)]) - 1
    end = max([drill.healed, *(one.last for one in drill.executions)]) + 1
    if drill.failover:
        end = max(end, drill.cut + drill.failover.seconds + 1)
    scale = (WIDTH - LEFT - RIGHT) / (end - start)
    colours = colours_of(drill)

    def at(time: float) -> float:
        return LEFT + (time - start) * scale

    def drawn(one: Execution) -> dict[str, Any]:
        width = max(at(one.last) - at(one.begin), 3)
        label = f"{one.host} · try {one.attempt}"
        if width < 7 * len(label):
            label = str(one.attempt) if width >= 14 else ""
        return {
            "x": at(one.begin),
            "width": width,
            "end": at(one.last),
            "colour": colours.get(one.host, COLOURS - 1),
            "label": label,
            "ended": one.ended,
            "title": f"{one.task}, try {one.attempt} on {one.host}: {one.begin - drill.cut:.1f} to "
            f"{one.last - drill.cut:.1f} s, {'came' if one.ended else 'did not come'} to its end",
        }

    twice = overlapping(drill.executions)
    step = next((step for step in STEPS if (end - start) / step <= 12), STEPS[-1])
    first = int((start - drill.cut) / step) * step
    return {
        "bottom": TOP + LANE * len(tasks) + 4,
        "cut": at(drill.cut),
        "healed": at(drill.healed),
        "promise": at(drill.cut + drill.failover.seconds) if drill.failover else None,
        "ticks": [
            {"x": at(drill.cut + tick), "seconds": tick} for tick in range(first, int(end - drill.cut) + 1, step)
        ],
        "lanes": [
            {
                "task": task,
                "y": TOP + LANE * number,
                "bars": [drawn(one) for one in drill.executions if one.task == task],
                "twice": [
                    {"x": at(late.begin), "width": max((min(early.last, late.last) - late.begin) * scale, 3)}
                    for early, late in twice
                    if early.task == task
                ],
            }
            for number, task in enumerate(tasks)
        ],
    }


def colours_of(drill: Drill) -> dict[str, int]:
    """Return the number of the colour of each worker."""
    others = [name for name in drill.workers if name != drill.worker]
    return {drill.worker: 0} | {name: 1 + number % (COLOURS - 1) for number, name in enumerate(others)}


def html(drill: Drill) -> str:
    """Return the report as a page that needs no other file and no script."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    used = {one.host for one in drill.executions} | {drill.worker}
    colours = colours_of(drill)
    return environment.get_template("drill.html.j2").render(
        drill=drill,
        moment=moment(drill.cut),
        problems=problems(drill),
        verdict=verdict(drill),
        workers={name: colours[name] for name in [drill.worker, *drill.workers] if name in used},
        overlapping=bool(overlapping(drill.executions)),
        picture=picture(drill),
        size={"left": LEFT, "top": TOP, "width": WIDTH, "bar": BAR, "colours": COLOURS},
        tables={"Measured": numbers(drill), "Settings in force": settings(drill)},
        head=HEAD,
        rows=rows_of(drill),
    )
