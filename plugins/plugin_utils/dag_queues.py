"""Which queues DAG files send their tasks to, as far as their text says so for certain.

A file is read and not run. What counts is a literal ``queue="name"`` where it can only be the argument of every
operator: in a call of something that is named like an operator or a sensor, of ``.partial`` and ``.override``, of a
``@task`` decorator; and the key ``queue`` of ``default_args``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.airflow_celery.cluster.plugins.module_utils.tree import files as tree_files


@dataclass(frozen=True, order=True)
class Use:
    """A queue that a DAG file names.

    :param file: path relative to the directory of the DAGs.
    """

    file: str
    line: int
    queue: str


def find(directory: Path) -> list[Use]:
    """Return the queues that the DAG files below a directory name.

    A file that is no Python is Airflow's to complain about. Raises TreeError when a release cannot hold the directory.
    """
    found = []
    for file in tree_files(directory):
        if not file.name.endswith(".py"):
            continue
        try:
            source = file.path.read_bytes()
            tree = ast.parse(source) if b"queue" in source else None
        except (OSError, SyntaxError, ValueError):
            continue
        if tree is not None:
            found += [Use(file.name, line, queue) for line, queue in in_tree(tree)]
    return sorted(set(found))


def in_tree(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of each queue."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if _is_operator(node.func):
                yield from _literals(keyword.value for keyword in node.keywords if keyword.arg == "queue")
            for keyword in node.keywords:
                if keyword.arg == "default_args":
                    yield from _in_mapping(keyword.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "default_args" for target in targets):
                yield from _in_mapping(node.value)


def _is_operator(function: ast.expr) -> bool:
    names = []
    while isinstance(function, ast.Attribute):
        names.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        names.append(function.id)
    if not names:
        return False
    # `@task(...)`, `@task.bash(...)`
    return names[0].endswith(("Operator", "Sensor")) or names[0] in ("partial", "override") or names[-1] == "task"


def _in_mapping(value: ast.expr | None) -> Iterator[tuple[int, str]]:
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        yield from _literals(item for key, item in pairs if isinstance(key, ast.Constant) and key.value == "queue")
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
        yield from _literals(keyword.value for keyword in value.keywords if keyword.arg == "queue")


def _literals(values: Iterator[ast.expr]) -> Iterator[tuple[int, str]]:
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.lineno, value.value
