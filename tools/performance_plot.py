"""Draw docs/images/performance.svg: tasks per second of the cluster and of stock Airflow.

The figures are those of the table in docs/performance.md, which ``make bench`` writes.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from picture import write_or_check

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs/performance.md"
PICTURE = PROJECT / "docs/images/performance.svg"
ROW = re.compile(
    r"\| (?P<shape>[^|]+), (?P<slots>\d+ slots) against (?P<stock>\d+) "
    r"\| (?P<ours>\S+) tasks/s \| (?P<rate>\S+) tasks/s \|"
)
WIDTH, BAR, GAP, LEFT, TOP, AXIS = 520, 16, 18, 250, 48, 40
COLOURS = ("#1f77b4", "#d1495b", "#e9a23b")


@dataclass(frozen=True)
class Bar:
    """One bar: whose rate it is, and tasks per second."""

    name: str
    rate: float


def bars_by_shape(page: str) -> dict[str, list[Bar]]:
    """Return the bars of each load shape, ours first.

    :raises ValueError: if the page has no rate.
    """
    found: dict[str, list[Bar]] = {}
    for row in ROW.finditer(page):
        bars = found.setdefault(row["shape"], [Bar(f"the cluster, {row['slots']}", float(row["ours"]))])
        bars.append(Bar(f"stock Airflow, {row['stock']} slots", float(row["rate"])))
    if not found:
        raise ValueError(f"{PAGE} has no row with tasks per second: run make bench")
    return found


def picture() -> str:
    """Return the whole picture. It brings its own background, so that it reads on a dark page, too."""
    shapes = bars_by_shape(PAGE.read_text())
    longest = max(bar.rate for bars in shapes.values() for bar in bars)
    ticks = range(0, int(longest) + 2, 2)
    scale = WIDTH / ticks[-1]
    parts, y = [], TOP
    for shape, bars in shapes.items():
        middle = y + len(bars) * BAR / 2 + 4
        parts.append(f'<text class="end" x="{LEFT - 10}" y="{middle:.0f}">{shape}</text>')
        for bar, colour in zip(bars, COLOURS, strict=False):
            width = bar.rate * scale
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + width + 5:.1f}" y="{y + 11}">{bar.rate:g}</text>')
            y += BAR
        y += GAP
    names = [bar.name for bar in max(shapes.values(), key=len)]
    for number, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        at = LEFT + number * 180
        parts.append(f'<rect x="{at}" y="14" width="14" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{at + 20}" y="24">{name}</text>')
    grid = []
    for tick in ticks:
        x = LEFT + tick * scale
        grid.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{y - 8}"/>')
        grid.append(f'<text class="middle" x="{x:.1f}" y="{y + 8}">{tick}</text>')
    lines = "\n".join([*grid, *parts])
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 60} {y + AXIS}" role="img">
<title>Tasks per second of each load shape: the cluster and stock Airflow</title>
<style>
text {{ font: 12px sans-serif; fill: #333 }}
.end {{ text-anchor: end }}
.middle {{ text-anchor: middle }}
.grid {{ stroke: #ddd }}
</style>
<rect width="100%" height="100%" fill="#fff"/>
{lines}
<text class="middle" x="{LEFT + WIDTH / 2:.0f}" y="{y + 28}">tasks per second</text>
</svg>
"""


if __name__ == "__main__":
    sys.exit(write_or_check(PICTURE, picture(), __doc__))
