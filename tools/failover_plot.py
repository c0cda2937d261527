"""Draw docs/images/failover.svg: what a shorter failover costs.

Everything in it is computed by plugins/plugin_utils/failover.py, which the roles use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from picture import write_or_check

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "plugins/plugin_utils"))

from failover import LEAST_SECONDS, Failover  # noqa: E402

PICTURE = PROJECT / "docs/images/failover.svg"
SECONDS = range(LEAST_SECONDS, 121)
DEFAULT = 20
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 420, 300, 56, 44, 48, 40
COLOURS = ("#1f77b4", "#d1495b", "#2a9d5c")


@dataclass(frozen=True)
class Line:
    """One curve of a panel."""

    name: str
    value: Callable[[Failover], float]


@dataclass(frozen=True)
class Panel:
    """One chart over airflow_failover_seconds."""

    title: str
    unit: str
    ticks: Sequence[int]
    lines: Sequence[Line]


PANELS = (
    Panel(
        "How long may everything be away?",
        "seconds",
        (0, 20, 40, 60, 80, 100, 120),
        (
            Line("lost worker: tasks run elsewhere after", lambda failover: failover.seconds),
            Line("cut-off worker: tasks are killed after", lambda failover: failover.kill_after),
            Line("API outage that no task notices", lambda failover: failover.outage_tolerated),
        ),
    ),
    Panel(
        "What do the heartbeats cost?",
        "requests per second",
        (0, 200, 400, 600, 800, 1000),
        tuple(
            Line(f"{tasks} running tasks", lambda failover, tasks=tasks: failover.requests_per_second(tasks))  # type: ignore[misc]
            for tasks in (1000, 300, 100)
        ),
    ),
)


def chart(panel: Panel, left: int) -> str:
    """Return one panel as SVG."""
    bottom, right = TOP + HEIGHT, left + WIDTH

    def x(seconds: float) -> float:
        return left + (seconds - SECONDS[0]) / (SECONDS[-1] - SECONDS[0]) * WIDTH

    def y(value: float) -> float:
        return bottom - value / panel.ticks[-1] * HEIGHT

    parts = [f'<text class="title" x="{left}" y="{TOP - 22}">{panel.title}</text>']
    parts += [f'<text x="{left}" y="{TOP - 7}">{panel.unit}</text>']
    for tick in panel.ticks:
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="end" x="{left - 8}" y="{y(tick) + 4:.1f}">{tick}</text>')
    for tick in (LEAST_SECONDS, DEFAULT, 40, 60, 80, 100, 120):
        parts.append(f'<text class="middle" x="{x(tick):.1f}" y="{bottom + 18}">{tick}</text>')
    parts.append(f'<text class="middle" x="{left + WIDTH / 2}" y="{bottom + 38}">airflow_failover_seconds</text>')
    parts.append(f'<line class="default" x1="{x(DEFAULT):.1f}" x2="{x(DEFAULT):.1f}" y1="{TOP}" y2="{bottom}"/>')
    for number, (line, colour) in enumerate(zip(panel.lines, COLOURS, strict=True)):
        points = " ".join(f"{x(seconds):.1f},{y(line.value(Failover(seconds))):.1f}" for seconds in SECONDS)
        parts.append(f'<polyline stroke="{colour}" points="{points}"/>')
        at = TOP + 16 + 18 * number
        key = left + 60 if panel.ticks[-1] < 200 else left + 200
        parts.append(f'<line class="key" stroke="{colour}" x1="{key}" x2="{key + 18}" y1="{at - 4}" y2="{at - 4}"/>')
        parts.append(f'<text x="{key + 24}" y="{at}">{line.name}</text>')
    return "\n".join(parts)


def picture() -> str:
    """Return the whole picture. It brings its own background, so that it reads on a dark page, too."""
    width = LEFT + (WIDTH + GAP) * len(PANELS) + 32
    height = TOP + HEIGHT + BOTTOM
    panels = "\n".join(chart(panel, LEFT + number * (WIDTH + GAP + 20)) for number, panel in enumerate(PANELS))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>airflow_failover_seconds: failover time, API outage tolerated, and heartbeat requests per second</title>
<style>
text {{ font: 12px sans-serif; fill: #333 }}
.title {{ font-weight: bold; font-size: 14px }}
.end {{ text-anchor: end }}
.middle {{ text-anchor: middle }}
.grid {{ stroke: #ddd }}
.default {{ stroke: #999; stroke-dasharray: 4 4 }}
.key {{ stroke-width: 3 }}
polyline {{ fill: none; stroke-width: 2 }}
</style>
<rect width="100%" height="100%" fill="#fff"/>
{panels}
</svg>
"""


if __name__ == "__main__":
    sys.exit(write_or_check(PICTURE, picture(), __doc__))
