"""Tasks on the controller use no login, no other interpreter and no sudo, whatever the inventory says of its hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
# Variables of an inventory for all hosts override the keywords of a task, and variables of the task override these.
CONTROLLER = {
    "ansible_connection": "local",
    "ansible_become": False,
    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
}
# The machines of the demo are containers of the controller's root.
AS_ROOT = "roles/local_machines/"
PARTS = ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")

Task = tuple[Mapping[str, Any], str, Mapping[str, Any]]


def tasks_below(tasks: Any, host: str = "", variables: Mapping[str, Any] | None = None) -> Iterator[Task]:
    """Yield each task with the host it is delegated to and its variables, also as its blocks say."""
    for task in tasks or []:
        delegated = str(task.get("delegate_to", host))
        known = {**(variables or {}), **(task.get("vars") or {})}
        if not any(part in task for part in PARTS):
            yield task, delegated, known
        for part in PARTS:
            yield from tasks_below(task.get(part), delegated, known)


def controller_tasks() -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield file, task and variables of each task on the controller."""
    for path in sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml"), ROOT / "site.yml"]):
        name = str(path.relative_to(ROOT))
        for task, host, variables in tasks_below(yaml.safe_load(path.read_text())):
            if ("localhost" in host or "127.0.0.1" in host) and not name.startswith(AS_ROOT):
                yield name, task, variables


def test_each_task_on_the_controller_sets_connection_interpreter_and_become() -> None:
    found = list(controller_tasks())
    assert len(found) > 20
    assert [
        f"{name}: {task['name']}"
        for name, task, variables in found
        if {key: variables.get(key) for key in CONTROLLER} != CONTROLLER
    ] == []
