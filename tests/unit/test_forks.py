"""What a forked process has from its parent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from airflow_celery_cluster import forks

SOURCE = Path(forks.__file__)


def test_what_a_dag_file_may_import_is_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``airflow.sdk``, which imports the module of a name when the name is used."""

    class Sdk(ModuleType):
        __all__ = ("dag", "needs_a_package", "task")

        def __getattr__(self, name: str) -> str:
            used.append(name)
            if name == "needs_a_package":
                raise ImportError(name)
            return name

    used: list[str] = []
    airflow = ModuleType("airflow")
    airflow.__dict__["sdk"] = Sdk("airflow.sdk")
    monkeypatch.setitem(sys.modules, "airflow", airflow)
    monkeypatch.setitem(sys.modules, "airflow.sdk", airflow.__dict__["sdk"])
    # No provider is there.
    forks.import_for_dags()
    assert used == ["dag", "needs_a_package", "task"]


def test_a_garbage_collection_in_a_child_leaves_the_memory_of_the_parent_alone() -> None:
    program = f"""
import gc, importlib.util, os
spec = importlib.util.spec_from_file_location("forks", {str(SOURCE)!r})
forks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(forks)
if SHARE:
    forks.share_memory()
objects = len(gc.get_objects())
child = os.fork()
if child == 0:
    os._exit(0 if gc.get_freeze_count() >= objects * 0.9 else 1)
shared = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
# The parent itself collects its garbage as before.
print(shared, gc.get_freeze_count())
"""
    for share in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", f"SHARE = {share}\n{program}"], check=True, capture_output=True, text=True
        )
        assert done.stdout.split() == [str(share), "0"]


def test_the_garbage_of_the_parent_does_not_stay() -> None:
    program = f"""
import gc, importlib.util, os
spec = importlib.util.spec_from_file_location("forks", {str(SOURCE)!r})
forks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(forks)
forks.share_memory()
class Cycle:
    def __init__(self):
        self.itself = self
modules = [[number] for number in range(100_000)]
gc.collect()
for task in range(100):
    for _ in range(100):
        Cycle()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    for _ in range(1000):
        Cycle()
print(sum(isinstance(one, Cycle) for one in gc.get_objects()))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    # Of 110 000: the youngest generation, of 700 or 2000 objects, and what the next collections take
    assert int(done.stdout) < 10_000
