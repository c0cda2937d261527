"""No retry loop hides an error that cannot pass."""

from __future__ import annotations

from pathlib import Path

from test_controller_tasks import ROOT, tasks_below
from yaml import safe_load

# A program that fails may succeed later. A module that fails, as without a change of user or a library, does not.
PROGRAMS = ("ansible.builtin.command", "ansible.builtin.shell")


def test_a_module_that_cannot_run_is_not_tried_again() -> None:
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml"), ROOT / "site.yml"]
    loops = [
        (Path(path).name, task)
        for path in sorted(files)
        for task, _, _ in tasks_below(safe_load(path.read_text()))
        if "until" in task and not any(program in task for program in PROGRAMS)
    ]
    assert "postgres" in str(loops)
    assert [f"{name}: {task['name']}" for name, task in loops if " is failed" not in str(task["until"])] == []
