"""The processes of a Celery worker's tasks."""

from __future__ import annotations

import os


class Process:
    """What /proc says of one process.

    :param pid: its id.
    :param parent: id of its parent.
    :param group: id of its process group.
    :param started: seconds since boot at which it began.
    """

    def __init__(self, pid: int, parent: int, group: int, started: float) -> None:
        self.pid, self.parent, self.group, self.started = pid, parent, group, started


def processes(root: str = "/proc") -> list[Process]:
    """Return every process that has not ended."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = []
    for name in os.listdir(root):
        if not name.isdigit():
            continue
        try:
            with open(f"{root}/{name}/stat", encoding="utf-8", errors="replace") as file:
                # The command's name may hold spaces and brackets; behind the last one stand state, parent and group.
                fields = file.read().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if fields and fields[0] != "Z":
            found.append(Process(int(name), int(fields[1]), int(fields[2]), int(fields[19]) / ticks))
    return found


def task_processes(worker: int, table: list[Process]) -> list[Process]:
    """Return the task processes of a worker: the pool's processes are the supervisors, their children the tasks.

    Other processes may have children, too; only a task leads a process group. airflow_celery_cluster.fence has the
    same rule.

    :param worker: id of the worker's main process; 0 for none.
    """
    supervisors = {process.pid for process in table if worker and process.parent == worker}
    return [process for process in table if process.parent in supervisors and process.group == process.pid]
