"""What a new user receives: the example inventory tells the truth, and the example DAGs run with it."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "inventory/production.example"
SETTINGS = EXAMPLE / "group_vars/all/main.yml"
# Of Ansible, not of a role.
ANSIBLE = {"ansible_user", "ansible_python_interpreter"}
# Imported only if a setting of the DAG names it.
OPTIONAL = {"yfinance"}
DEFAULTS: dict[str, Any] = {
    name: value
    for path in ROOT.glob("roles/*/defaults/main.yml")
    for name, value in (yaml.safe_load(path.read_text()) or {}).items()
}


def commented(text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the settings that are commented out: those that show a default, and those below "For example:"."""
    defaults: list[dict[str, Any]] = []
    examples: list[dict[str, Any]] = []
    is_example = False
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        # A list or a dictionary goes on in the lines below its name.
        if block and re.match(r"\s*#   ?\s*\S", line):
            block.append(re.sub(r"^\s*# ", "", line))
            continue
        if block:
            (examples if is_example else defaults).append(yaml.safe_load("\n".join(block)))
            block = []
        if re.match(r"\s*# [a-z]\w*:( |$)", line) and line.split("#")[1].strip().split(":")[0] in DEFAULTS:
            block = [re.sub(r"^\s*# ", "", line)]
        else:
            is_example = line.endswith("or example:")
    return defaults, examples


def test_the_comments_are_told_apart() -> None:
    text = "# a\n# airflow_version: 3.3.2\n# For example:\n# airflow_config:\n#   core:\n#     x: 1\n\n"
    text += "# postgres_port: 1\n"
    defaults, examples = commented(text)
    assert (defaults, examples) == (
        [{"airflow_version": "3.3.2"}, {"postgres_port": 1}],
        [{"airflow_config": {"core": {"x": 1}}}],
    )


@pytest.mark.parametrize("path", sorted(EXAMPLE.rglob("*.yml")), ids=lambda path: path.name)
def test_what_is_commented_out_is_the_default(path: Path) -> None:
    defaults, examples = commented(path.read_text())
    found = {name: value for setting in defaults for name, value in setting.items()}
    assert found == {name: DEFAULTS[name] for name in found}
    assert examples
    # Nobody recognizes a setting in a comment that the search above does not find.
    names = re.findall(r"^\s*# ([a-z]+_\w+):(?: |$)", path.read_text(), re.MULTILINE)
    assert sorted(names) == sorted(name for setting in defaults + examples for name in setting)


def test_what_is_set_is_the_default_or_said_to_differ() -> None:
    settings = yaml.safe_load(SETTINGS.read_text())
    assert {name for name, value in settings.items() if DEFAULTS.get(name) != value} == {
        *ANSIBLE,
        "airflow_runtime_extra_requirements",
    }


def packages_of(dag_files: list[Path]) -> set[str]:
    """Return the packages that DAG files import or read files of, but for Python's own and Airflow."""
    found: set[str] = set()
    for path in dag_files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.resources.files":
                found.add(ast.literal_eval(node.args[0]))
    own = {path.stem for path in dag_files} | {"airflow"} | set(sys.stdlib_module_names)
    return {name.partition(".")[0] for name in found} - own


@pytest.mark.parametrize("inventory", ["production.example", "local"])
def test_the_example_dags_find_their_packages(inventory: str) -> None:
    needed = packages_of(sorted((ROOT / "dags").glob("*.py"))) - OPTIONAL
    assert "bokeh_sampledata" in needed
    settings = yaml.safe_load((ROOT / "inventory" / inventory / "group_vars/all/main.yml").read_text())
    assert needed - set(settings["airflow_runtime_extra_requirements"]) == set()
