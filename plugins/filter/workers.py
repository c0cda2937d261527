"""The filters of the operations on workers. Each is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

WORKERS = "airflow_worker"
DEFAULT_QUEUES = ("default",)

Groups = Mapping[str, Iterable[str]]


def chosen_workers(text: Any, groups: Groups) -> dict[str, Any]:
    """Return the workers that a person names, in the inventory's order, and what is wrong with the names."""
    workers = list(groups.get(WORKERS, ()))
    names = [name.strip() for name in str(text or "").split(",") if name.strip()]
    members = {name: {name} if name in workers else set(groups.get(name, ())) & set(workers) for name in names}
    unknown = [name for name, found in members.items() if not found]
    problem = ""
    if not names:
        problem = (
            f"no worker is named. Expected: -e cluster_worker=NAME, with one of {', '.join(workers)}, several of them "
            "with commas between them, or a group of workers."
        )
    elif unknown:
        problem = (
            f"cluster_worker={text}: {', '.join(unknown)} is neither a worker nor a group of workers. "
            f"Group {WORKERS} has {', '.join(workers)}."
        )
    hosts = [worker for worker in workers if any(worker in found for found in members.values())]
    return {"hosts": [] if problem else hosts, "problem": problem}


def orphaned_queues(
    leaving: Iterable[str], groups: Groups, hostvars: Mapping[str, Mapping[str, Any]], seen: str
) -> list[str]:
    """Return the queues from which nobody would take tasks any more."""
    gone = set(leaving)
    served = {
        worker: _queues(hostvars[worker]) for worker in groups.get(WORKERS, ()) if _serves(hostvars[worker], seen)
    }
    staying = {queue for worker, queues in served.items() if worker not in gone for queue in queues}
    return sorted({queue for worker in gone for queue in served.get(worker, ())} - staying)


def _queues(variables: Mapping[str, Any]) -> list[str]:
    return [str(queue) for queue in variables.get("airflow_worker_queues", DEFAULT_QUEUES)]


def _serves(variables: Mapping[str, Any], seen: str) -> bool:
    """Whether a worker takes tasks, by what the module worker_tasks said of it."""
    said = variables.get(seen) or {}
    return said.get("active") in ("active", "activating", "reloading") and not said.get("marker")


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"chosen_workers": chosen_workers, "orphaned_queues": orphaned_queues}
