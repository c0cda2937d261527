"""The raw figures, part by part, in a JSON file: a part that is measured alone replaces its own figures only."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster_inventory import PROJECT

RESULTS = PROJECT / "artifacts/bench.json"


def commit() -> str:
    """Return the commit that is measured, with a plus if files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.strip()


class Results:
    """What a file holds; it is written with every part that is recorded."""

    def __init__(self, path: Path = RESULTS) -> None:
        self._path = path
        self.parts: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def record(self, part: str, figures: Mapping[str, Any]) -> None:
        """Replace the figures of a part."""
        origin = {
            "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            "commit": commit(),
            "cores": os.cpu_count(),
        }
        self.parts[part] = {"origin": origin, "figures": dict(figures)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.parts, indent=1) + "\n")
