"""What the process of a task is to the code of the task: a main process, with all variables meant for tasks.

A process of Celery's pool is a daemon to billiard, which says the same to the standard library. So ``multiprocessing``
refuses to start children ("daemonic processes are not allowed to have children"), joblib runs one job after the other,
and the start methods ``spawn`` and ``forkserver`` fail to pass on a key of billiard's own type. The process of a task
is a fork of such a process and inherits all of that. Nothing depends on it there: Airflow's supervisor ends the task.
A child of the methods ``spawn`` and ``forkserver`` also imports the main module of its parent. That is Airflow's, and
cannot be imported below a task, where Airflow has no database.

A forked child of a task also inherits Airflow's handler of SIGTERM, which calls ``on_kill`` of the operator and
returns. ``multiprocessing`` ends the processes of a pool with SIGTERM and waits for them, so a task with a pool would
hang. The children have the default of the operating system. A handler of the task's own code stays.

Variables that would change the connections of the worker itself (``PGHOST``) are in one variable, which tasks read.
"""

from __future__ import annotations

import json
import multiprocessing.process
import os
import signal
import sys
import threading
from typing import Any

try:
    import billiard.process as billiard_process
except ModuleNotFoundError:  # the Python of the unit tests has no Celery
    billiard_process = None

# Written by the deployment: plugins/plugin_utils/process_environment.py.
TASK_VARIABLES = "AIRFLOW_CLUSTER_TASK_VARIABLES"
# Where Airflow installs a task's handler of SIGTERM.
TASK_RUNNER = "airflow.sdk.execution_time.task_runner"
# Each library, and the type of a main process there. This module is imported by the main process of the worker.
_MAIN_PROCESSES: list[tuple[Any, type]] = [
    (library, type(library.current_process()))
    for library in (multiprocessing.process, billiard_process)
    if library is not None
]


def prepare_tasks() -> None:
    """Prepare each process that this one forks for the code of a task, and the processes that those fork."""
    in_task = False
    # Of each thread that forks: its signal mask.
    masks = threading.local()

    def has_handler() -> bool:
        return getattr(signal.getsignal(signal.SIGTERM), "__module__", None) == TASK_RUNNER

    def before() -> None:
        # A child that gets SIGTERM before it has the default would lose the signal.
        if in_task and has_handler():
            masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def in_parent() -> None:
        mask = vars(masks).pop("before", None)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def in_child() -> None:
        nonlocal in_task
        if in_task:
            if has_handler():
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            in_parent()
            return
        in_task = True
        os.environ.update(json.loads(os.environ.pop(TASK_VARIABLES, "{}")))
        for library, main_process in _MAIN_PROCESSES:
            library._current_process = main_process()
        main = sys.modules["__main__"]
        main.__spec__ = None
        vars(main).pop("__file__", None)

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
