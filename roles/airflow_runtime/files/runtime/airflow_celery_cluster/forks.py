"""What a process that is forked has from its parent, so that it neither imports nor copies it.

The parents are the processes of a worker's pool, whose children run a task each, and the DAG processor, whose children
import a DAG file each.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os

# Each DAG is searched for these when it is serialised.
MODULES = ("airflow.providers.standard.operators.trigger_dagrun", "airflow.providers.standard.sensors.external_task")


def import_for_dags() -> None:
    """Import what the import of a DAG file needs, whatever is in it.

    A DAG processor imports the modules that a DAG file names before it forks the process for the file
    (``[dag_processor] parsing_pre_import_modules``). For most files that is ``airflow.sdk``, which imports nothing
    until a name is used, so that each process would import ``dag`` and ``task`` anew.
    """
    from airflow import sdk

    for name in sdk.__all__:
        # An optional package may be missing, and the DAG file that needs it says so.
        with contextlib.suppress(ImportError):
            getattr(sdk, name)
    for module in MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def share_memory() -> None:
    """Have the processes that this one forks share its memory.

    A garbage collection writes to each object that it looks at, and so would copy nearly all pages of the parent. The
    parent itself freezes nothing: ``gc.unfreeze`` moves all objects to the oldest generation, which is hardly ever
    collected, so that its garbage would stay. What its children fork is left as it is.
    """
    parent = os.getpid()

    def in_child() -> None:
        if os.getppid() == parent:
            gc.freeze()

    os.register_at_fork(after_in_child=in_child)
