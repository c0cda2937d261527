"""Write docs/variables.md from the roles' argument specs.

``--check`` writes nothing and fails when the page is not what the specs say.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "variables.md"
# In the order in which a person meets them. Roles that are not here come last, by name.
FIRST = ("airflow", "airflow_worker", "airflow_runtime", "airflow_api_server", "airflow_scheduler")

HEAD = """# Variables

Every variable that the cluster knows, by role. Set them in the inventory. On hosts of the cluster, another variable
with a prefix of the cluster is refused before any machine is touched. If other projects use the prefix, too (`backup_`,
`certificates_`, `firewall_`, `haproxy_`, `postgres_`, `redis_`), and the name is not almost one of this list, there is
a warning instead. Secrets have no default: `playbooks/secrets.yml` makes them.

This page is made from `roles/*/meta/argument_specs.yml` by `make docs`.
"""


def markdown(text: Any) -> str:
    """Return a description as Markdown on one line: Ansible's ``C(x)`` becomes code, a list a sentence each."""
    joined = " ".join(str(part).strip() for part in text) if isinstance(text, list) else str(text).strip()
    return re.sub(r"C\(((?:[^()]|\([^)]*\))*)\)", r"`\1`", joined).replace("\n", " ").replace("|", "\\|")


def default_of(option: dict[str, Any]) -> str:
    """Return how the page spells an option's default."""
    if "default" in option:
        value = option["default"]
        if isinstance(value, str) and ("C(" in value or " " in value):
            return markdown(value)
        spelt = (
            {True: "true", False: "false", "": '""'}.get(value, value) if not isinstance(value, list | dict) else value
        )
        return f"`{spelt}`"
    return "required" if option.get("required") else "secret" if option.get("no_log") else ""


def rows(options: dict[str, Any]) -> list[str]:
    """Return the table's lines for some options."""
    lines = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        lines.append(f"| `{name}` | {kind} | {default_of(option)} | {markdown(option['description'])} |")
    return lines


def page() -> str:
    """Return the whole page."""
    found = {path.parent.parent.name: path for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
    names = [name for name in FIRST if name in found] + sorted(set(found) - set(FIRST))
    parts = [HEAD]
    for name in names:
        main = yaml.safe_load(found[name].read_text())["argument_specs"]["main"]
        if not main.get("options"):
            continue
        parts.append(f"## {name}\n\n{main['short_description']}.\n")
        parts.append("\n".join(rows(main["options"])) + "\n")
    return "\n".join(parts)


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        if PAGE.exists() and PAGE.read_text() == page():
            return 0
        print(f"{PAGE.relative_to(ROOT)} is not what the argument specs say: run `make docs`", file=sys.stderr)
        return 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
