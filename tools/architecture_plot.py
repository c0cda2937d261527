"""Draw docs/images/architecture.svg: what runs where, and who connects to whom.

Groups, ports and connections are those of plugins/plugin_utils/topology.py and of the roles' defaults.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from picture import write_or_check

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "plugins/plugin_utils"))

from topology import CONTROL_GROUPS, ENDPOINTS, LISTENERS, WORKER_GROUP  # noqa: E402

PICTURE = PROJECT / "docs/images/architecture.svg"
TITLES = {
    "postgres": "PostgreSQL: metadata, results",
    "redis": "Redis: broker",
    "haproxy": "HAProxy: front door",
    "airflow_api_server": "API servers, Execution APIs, log store",
    "airflow_scheduler": "Scheduler",
    "airflow_dag_processor": "DAG processor",
    "airflow_triggerer": "Triggerer",
    "flower": "Flower",
}
PURPOSES = {
    "postgres_port": "metadata",
    "postgres_results_port": "results",
    "redis_port": "broker",
    "haproxy_port": "UI, REST API",
    "haproxy_execution_api_port": "Execution API",
    "log_store_port": "logs",
}
TILE_WIDTH, TILE_HEIGHT, GAP, TOP, LEFT = 300, 66, 14, 110, 24
WORKERS_LEFT, WORKERS_WIDTH = 2 * (TILE_WIDTH + GAP) + LEFT + 150, 190


def defaults() -> dict[str, Any]:
    """Return the defaults of all roles."""
    found: dict[str, Any] = {}
    for path in sorted(PROJECT.glob("roles/*/defaults/main.yml")):
        found |= yaml.safe_load(path.read_text())
    return found


def ports_of(group: str, values: dict[str, Any]) -> str:
    """Return the ports on which the processes of a group listen, as text."""
    found = []
    for listener in LISTENERS:
        if listener.group == group:
            first, count = int(values[listener.variable]), int(values.get(listener.count, 1))
            found.append(f"{first}" if count == 1 else f"{first} to {first + count - 1}")
    return ", ".join(found)


def arrow(x1: float, y1: float, x2: float, y2: float, text: str, anchor: str = "middle") -> str:
    """Return an arrow with a text above it."""
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return (
        f'<line class="arrow" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" marker-end="url(#head)"/>\n'
        f'<text class="{anchor}" x="{x + (8 if anchor == "start" else 0)}" y="{y - 5}">{text}</text>'
    )


def picture() -> str:
    """Return the whole picture. It brings its own background, so that it reads on a dark page, too."""
    values = defaults()
    reached = [endpoint for endpoint in ENDPOINTS if WORKER_GROUP in endpoint.clients]
    right = {endpoint.group for endpoint in reached}
    # People come from above.
    order = sorted(CONTROL_GROUPS, key=lambda group: group != "haproxy")
    columns = ([group for group in order if group not in right], [group for group in order if group in right])
    rows = max(map(len, columns))
    height = rows * (TILE_HEIGHT + GAP) + GAP
    size = f'y="{TOP - 28}" height="{height + 26}"'
    slots = values["airflow_worker_concurrency"]
    parts = [
        f'<rect class="host" x="{LEFT - 12}" width="{2 * (TILE_WIDTH + GAP) + 12}" {size}/>',
        f'<text class="title" x="{LEFT}" y="{TOP - 10}">control node, or a host for each group</text>',
        f'<rect class="host" x="{WORKERS_LEFT}" width="{WORKERS_WIDTH}" {size}/>',
        f'<text class="title" x="{WORKERS_LEFT + 12}" y="{TOP - 10}">worker 1 to N</text>',
        f'<text x="{WORKERS_LEFT + 12}" y="{TOP + 18}">Celery worker, {slots} slots</text>',
        f'<text x="{WORKERS_LEFT + 12}" y="{TOP + 38}">watchdog, log shipper</text>',
    ]
    for column, groups in enumerate(columns):
        for row, group in enumerate(groups):
            x, y = LEFT + column * (TILE_WIDTH + GAP), TOP + row * (TILE_HEIGHT + GAP)
            parts.append(f'<rect class="tile" x="{x}" y="{y}" width="{TILE_WIDTH}" height="{TILE_HEIGHT}" rx="4"/>')
            parts.append(f'<text class="title" x="{x + 10}" y="{y + 20}">{TITLES[group]}</text>')
            parts.append(f'<text x="{x + 10}" y="{y + 38}">group {group}</text>')
            ports = ports_of(group, values)
            parts.append(f'<text x="{x + 10}" y="{y + 55}">{f"port {ports}" if ports else "no port"}</text>')
            lines = [endpoint for endpoint in reached if endpoint.group == group]
            for number, endpoint in enumerate(lines):
                at = y + TILE_HEIGHT * (number + 1) / (len(lines) + 1)
                text = f"{PURPOSES[endpoint.port]} {values[endpoint.port]}"
                parts.append(arrow(WORKERS_LEFT, at, x + TILE_WIDTH, at, text))
    door = LEFT + TILE_WIDTH + GAP + TILE_WIDTH / 2
    parts.append(f'<text class="middle" x="{door}" y="24">browser, REST client</text>')
    text = f"{PURPOSES['haproxy_port']} {values['haproxy_port']}"
    parts.append(arrow(door, 32, door, TOP, text, "start"))
    body = "\n".join(parts)
    box = f"0 0 {WORKERS_LEFT + WORKERS_WIDTH + 12} {TOP + height + 12}"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img">
<title>The parts of a cluster, their ports, and the connections of workers and people. All of them use TLS</title>
<style>
text {{ font: 12px sans-serif; fill: #333 }}
.title {{ font-weight: bold }}
.middle {{ text-anchor: middle }}
.host {{ fill: #f6f8fa; stroke: #999 }}
.tile {{ fill: #fff; stroke: #1f77b4 }}
.arrow {{ stroke: #555 }}
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>
<rect width="100%" height="100%" fill="#fff"/>
{body}
</svg>
"""


if __name__ == "__main__":
    sys.exit(write_or_check(PICTURE, picture(), __doc__))
