"""Write which modules of the locked Airflow read which setting, for the test of airflow_config.py.

Run it after every change of Airflow's version, with the site-packages of an environment that holds the whole lock:

    python tools/airflow_readers.py <runtime>/lib/python3.*/site-packages

The source is parsed and not imported, so any Python will do. With --check nothing is
written, and a difference is an error.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ROOT / "roles" / "preflight" / "files" / "airflow_options.json"
OUTPUT = ROOT / "tests" / "unit" / "airflow_readers.json"
# These name settings without using their values: the parser of the file, and the command that checks a file.
NO_READERS = ("airflow/configuration.py", "airflow/sdk/configuration.py", "airflow/cli/commands/config_command.py")
WHOLE_SECTION = {"getsection", "items", "options", "has_section"}


def _constants(tree: ast.Module) -> dict[str, str]:
    """Return the names that a module gives to texts."""
    return {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def settings_of(source: str, known: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield the section and option of each setting that a module names; option ``*`` is the whole section.

    Two texts side by side that are a known section and one of its options count, whatever function gets them:
    a helper that reads settings may have any name. A method of a ``conf`` that has two texts counts also if Airflow
    does not describe the option.
    """
    tree = ast.parse(source)
    names = _constants(tree)

    def text(node: ast.AST | None) -> str | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value.lower()
        return names[node.id].lower() if isinstance(node, ast.Name) and node.id in names else None

    for node in ast.walk(tree):
        keywords: dict[str | None, ast.expr] = {}
        reads = False
        method = ""
        if isinstance(node, ast.Call):
            values: Sequence[ast.expr] = node.args
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if isinstance(node.func, ast.Attribute):
                method = node.func.attr
                reads = ast.unparse(node.func.value).endswith("conf")
        elif isinstance(node, ast.Tuple | ast.List):
            values = node.elts
        else:
            continue
        texts = [text(value) for value in values]
        section = text(keywords.get("section")) or (texts[0] if texts else None)
        option = text(keywords.get("key")) or text(keywords.get("option"))
        if option is None and len(texts) > 1 and isinstance(node, ast.Call):
            option = texts[1]
        if section and reads and method in WHOLE_SECTION:
            yield section, "*"
        elif section and option and (reads or option in known.get(section, ())):
            yield section, option
        for first, second in pairwise(texts):
            if first and second and second in known.get(first, ()):
                yield first, second


def readers(site_packages: Path, known: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the modules below ``airflow`` by the setting that they read."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((site_packages / "airflow").rglob("*.py")):
        module = path.relative_to(site_packages).as_posix()
        if module in NO_READERS or "/_shared/configuration/" in module or "/example_dags/" in module:
            continue
        for section, option in settings_of(path.read_text(), known):
            found[f"{section}.{option}"].add(module)
    return {setting: sorted(modules) for setting, modules in sorted(found.items())}


def main() -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site_packages", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    arguments = parser.parse_args()
    found = readers(arguments.site_packages, json.loads(OPTIONS.read_text())["sections"])
    distributions = metadata.distributions(path=[str(arguments.site_packages)])
    locked = sorted(
        (package.name, package.version) for package in distributions if package.name.startswith("apache-airflow")
    )
    content = json.dumps({"locked": dict(locked), "readers": found}, indent=1) + "\n"
    if arguments.check:
        if OUTPUT.read_text() != content:
            sys.exit(f"{OUTPUT} is out of date: run {Path(__file__).name} without --check")
        return 0
    OUTPUT.write_text(content)
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
