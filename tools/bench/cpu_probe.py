"""Print the CPU time that one machine and each unit of systemd in it have used, as one line of JSON.

Runs as root with the Python of the system: cpu.py sends it to each machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import defaultdict
from pathlib import Path

# Version 2 of control groups, or version 1.
MACHINE = (Path("/sys/fs/cgroup/cpu.stat"), Path("/sys/fs/cgroup/cpuacct/cpuacct.usage"))


def units(proc: Path) -> dict[str, float]:
    """Return the CPU seconds of each unit: of its processes, and of those that ended and were waited for.

    Not from the control groups: version 1 counts no CPU time for each unit.

    :param proc: ``/proc``.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended
            unit = re.findall(r"/([^/\n]+)[.]service", (process / "cgroup").read_text())
            # After the name, which may hold anything: utime, stime, cutime and cstime are the 12th to the 15th field.
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            # When a login ends, all that its processes have used counts for the SSH server.
            if unit and unit[-1] != "ssh":
                seconds[unit[-1]] += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return dict(seconds)


def main() -> None:
    """Read, and print."""
    machine = next((path.read_text() for path in MACHINE if path.exists()), "")
    print(json.dumps({"machine": machine, "units": units(Path("/proc"))}))


if __name__ == "__main__":
    main()
