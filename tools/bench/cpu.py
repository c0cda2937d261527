"""CPU time of whole machines, read in each machine from its own control group."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from faults.machines import Machines

# Version 2 of control groups, or version 1.
READ = "cat /sys/fs/cgroup/cpu.stat 2>/dev/null || cat /sys/fs/cgroup/cpuacct/cpuacct.usage"


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
        """Return the time, and the CPU seconds of each part until now."""
        used = {
            part: sum(parse(self._machines.shell(name, READ)) for name in names) for part, names in self._parts.items()
        }
        return time.monotonic(), used

    def rate(self, seconds: float) -> dict[str, float]:
        """Return the CPU seconds per second of each part over some time."""
        begun, before = self.read()
        time.sleep(seconds)  # the measuring interval
        ended, after = self.read()
        return {part: (after[part] - before[part]) / (ended - begun) for part in before}
