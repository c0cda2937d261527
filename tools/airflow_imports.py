"""Write which settings of the locked Airflow name classes, and which packages settings need, for the preflight.

Run it after every change of Airflow's version, with the site-packages of an environment that holds the whole lock:

    python tools/airflow_imports.py <runtime>/lib/python3.*/site-packages

The source is parsed and not imported, so any Python will do.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OUTPUT = Path(__file__).resolve().parent.parent / "roles" / "preflight" / "files" / "airflow_imports.json"
# The packages of Airflow itself, whose extras a site may ask for.
AIRFLOW = ("apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk")
PROVIDER = "apache-airflow-providers-"
LOCAL_SETTINGS = "airflow/config_templates/airflow_local_settings.py"
IMPORT_PATH = re.compile(r"[a-z_]\w*(\.\w+)+\.\w+")


def imported_settings(source: str) -> Iterator[str]:
    """Yield the settings whose values a module imports: arguments of ``getimport``, and what ``import_string`` gets."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.Module):
            continue
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        imports = any(ast.unparse(call.func).endswith("import_string") for call in calls)
        for call in calls:
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            is_import = method == "getimport"
            # The function that reads the name of a class is the one that imports it.
            is_name = imports and isinstance(function, ast.FunctionDef) and method in ("get", "get_mandatory_value")
            values = (*call.args, *(keyword.value for keyword in call.keywords))
            texts = [node.value for node in values if isinstance(node, ast.Constant) and isinstance(node.value, str)]
            if (is_import or is_name) and len(texts) >= 2:
                yield f"{texts[0]}.{texts[1]}".lower()


def class_settings(site_packages: Path) -> list[str]:
    """Return the settings whose values are classes, functions or modules."""
    found: set[str] = set()
    for path in (site_packages / "airflow").rglob("*.py"):
        found.update(imported_settings(path.read_text()))
    described = yaml.safe_load((site_packages / "airflow/config_templates/config.yml").read_text())
    known = set()
    for section, description in described.items():
        for option, details in (description.get("options") or {}).items():
            known.add(f"{section}.{option}".lower())
            values = (details.get("default"), details.get("example"))
            if any(isinstance(value, str) and IMPORT_PATH.fullmatch(value) for value in values):
                found.add(f"{section}.{option}".lower())
    return sorted(found & known)


def remote_logging(source: str) -> dict[str, str]:
    """Return the module of each place for remote logs: beginnings of ``remote_base_log_folder``, or settings."""
    hosts = {}
    found = {}
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.AnnAssign | ast.Assign)
            and isinstance(node.value, ast.Call)
            and len(node.value.args) > 1
        ):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            texts = [argument.value for argument in node.value.args if isinstance(argument, ast.Constant)]
            hosts[ast.unparse(target)] = ".".join(map(str, texts)).lower()
        if not isinstance(node, ast.If):
            continue
        modules = [str(inner.module) for inner in node.body if isinstance(inner, ast.ImportFrom)]
        if not modules or not modules[0].startswith("airflow.providers."):
            continue
        if isinstance(node.test, ast.Call) and isinstance(node.test.args[0], ast.Constant):
            found[str(node.test.args[0].value)] = modules[0]
        else:
            found[hosts[ast.unparse(node.test)]] = modules[0]
    return dict(sorted(found.items()))


def extras_of(distributions: dict[str, metadata.Distribution]) -> dict[str, dict[str, list[str]]]:
    """Return what each extra of Airflow's own packages brings, through extras of the others, too."""

    def brought(name: str, extra: str) -> set[str]:
        found: set[str] = set()
        for text in distributions[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or "extra" not in str(requirement.marker):
                continue
            if not requirement.marker.evaluate({"extra": extra, "python_version": "3.11"}):
                continue
            required = canonicalize_name(requirement.name)
            found.add(required)
            if required in AIRFLOW:
                for further in requirement.extras:
                    found |= brought(required, further)
        return found - set(AIRFLOW)

    return {
        name: {
            extra: sorted(brought(name, extra))
            for extra in sorted(distributions[name].metadata.get_all("Provides-Extra") or [])
            if extra != "all"
        }
        for name in AIRFLOW
    }


def imports_of(site_packages: Path) -> dict[str, Any]:
    """Return all that the preflight asks."""
    distributions: dict[str, metadata.Distribution] = {
        canonicalize_name(found.name): found for found in metadata.distributions(path=[str(site_packages)])
    }
    required = {canonicalize_name(Requirement(text).name) for text in distributions["apache-airflow"].requires or []}
    providers = {name for name in required if name.startswith(PROVIDER)}
    return {
        "locked": {name: distributions[name].version for name in AIRFLOW},
        "classes": class_settings(site_packages),
        "extras": extras_of(distributions),
        "providers": {
            f"airflow.providers.{name.removeprefix(PROVIDER).replace('-', '.')}": name for name in sorted(providers)
        },
        "remote_logging": remote_logging((site_packages / LOCAL_SETTINGS).read_text()),
    }


def main() -> int:
    """Write the file."""
    OUTPUT.write_text(json.dumps(imports_of(Path(sys.argv[1])), indent=1) + "\n")
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
