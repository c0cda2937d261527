"""CPU time of parts of a cluster: of whole machines from their control groups, and of the units of systemd in them."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from faults.machines import Machines

PROBE = (Path(__file__).parent / "cpu_probe.py").read_text()


def parse(text: str) -> float:
    """Return the CPU seconds that a control group has used."""
    if match := re.search(r"^usage_usec (\d+)$", text, re.MULTILINE):
        return int(match[1]) / 1e6
    if text.strip().isdigit():
        return int(text) / 1e9
    raise RuntimeError(f"no CPU time of a control group: {text[:200]!r}")


class CpuMeter:
    """Reads the CPU time of parts of a cluster.

    :param parts: the machines of each part.
    """

    def __init__(self, machines: Machines, parts: Mapping[str, Sequence[str]]) -> None:
        self._machines = machines
        self._parts = parts

    def read(self) -> tuple[float, dict[str, float]]:
        """Return the time, and the CPU seconds until now of each part (``control``) and unit (``control/haproxy``)."""
        used: defaultdict[str, float] = defaultdict(float)
        for part, names in self._parts.items():
            for name in names:
                answer = json.loads(self._machines.run(name, "python3", "-c", PROBE))
                used[part] += parse(answer["machine"])
                for unit, seconds in answer["units"].items():
                    used[f"{part}/{unit}"] += seconds
        return time.monotonic(), dict(used)

    def rate(self, seconds: float) -> dict[str, float]:
        """Return the CPU seconds per second of each part and unit over some time."""
        begun, before = self.read()
        time.sleep(seconds)  # the measuring interval
        ended, after = self.read()
        # A unit that was not there at the beginning had used nothing then.
        return {key: (after[key] - before.get(key, 0.0)) / (ended - begun) for key in after}
