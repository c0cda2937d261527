"""Write docs/variables.md and the README of each role from the roles' argument specs.

A README without the first line of a generated one was written by hand, and stays.
``--check`` writes nothing and fails when a page is not what the specs say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
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


# Begins the paragraph of a description that says what a computed default is.
COMPUTED = "Default: "


def markdown(text: str) -> str:
    """Return a description as Markdown for a table. Ansible's ``C(x)`` becomes code, and nothing is emphasized."""
    parts = re.split(r"[CMOV]\(((?:[^()]|\([^()]*\))*)\)", text.strip().replace("\n", " "))
    cells = [f"`{part}`" if index % 2 else re.sub(r"([*<\\])", r"\\\1", part) for index, part in enumerate(parts)]
    return "".join(cells).replace("|", "\\|")


def paragraphs(option: dict[str, Any]) -> list[str]:
    """Return the paragraphs of a description."""
    description = option["description"]
    return [description] if isinstance(description, str) else description


def spelt(value: Any) -> str:
    """Return a value as an inventory spells it. JSON is YAML."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def default_of(option: dict[str, Any]) -> str:
    """Return how the page spells an option's default."""
    if "default" in option:
        return f"`{spelt(option['default'])}`".replace("|", "\\|")
    for text in paragraphs(option):
        if text.startswith(COMPUTED):
            return markdown(text.removeprefix(COMPUTED).rstrip().removesuffix("."))
    return "required" if option.get("required") else "secret" if option.get("no_log") else ""


def lines_of(name: str, option: dict[str, Any]) -> list[str]:
    """Return the lines of an option and of its suboptions."""
    kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
    meaning = " ".join(markdown(text) for text in paragraphs(option) if not text.startswith(COMPUTED))
    if choices := option.get("choices"):
        meaning += f" One of {', '.join(f'`{spelt(choice)}`' for choice in choices)}."
    lines = [f"| `{name}` | {kind} | {default_of(option)} | {meaning} |"]
    for inner, suboption in (option.get("options") or {}).items():
        lines += lines_of(f"{name}{'[]' if option['type'] == 'list' else ''}.{inner}", suboption)
    return lines


def rows(options: dict[str, Any]) -> list[str]:
    """Return the table's lines for some options."""
    lines = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options.items():
        lines += lines_of(name, option)
    return lines


def main_of(specs: dict[str, Any]) -> dict[str, Any]:
    """Return the entry point with the variables of a role."""
    return specs.get("main") or specs["variables"]


def page() -> str:
    """Return the whole page."""
    found = {path.parent.parent.name: path for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
    names = [name for name in FIRST if name in found] + sorted(set(found) - set(FIRST))
    parts = [HEAD]
    for name in names:
        main = main_of(yaml.safe_load(found[name].read_text())["argument_specs"])
        if not main.get("options"):
            continue
        parts.append(f"## {name}\n\n{main['short_description']}.\n")
        parts.append("\n".join(rows(main["options"])) + "\n")
    return "\n".join(parts)


MARK = "<!-- Made from meta/argument_specs.yml by `make docs`. -->"
WHERE = (
    "Role of the collection [airflow_celery.cluster](../../README.md), for Debian 12 and 13. "
    "{example} how a cluster uses the role."
)
README = """{mark}

# {role}

{summary}.

{description}

{where}
{variables}{alone}{task_files}{parameters}"""
ALONE = """
## Requirements

A login that may become root, and the facts that Ansible gathers by default (with `gathering = explicit`, set
`gather_facts: true`). No other role, group or variable of the collection. The ranges of numbers are checked by the
preflight of a cluster, not by the role.

## The variables that matter

{table}

## Example

The whole playbook, which scenario `roles` of the tests plays:

```yaml
{playbook}```
"""


def example(role: str) -> str:
    """Return which playbooks show how to use a role: site.yml, or else those of the operations."""
    used = re.compile(rf"\bairflow_celery\.cluster\.{role}\b")
    found = sorted(path for path in ROOT.glob("playbooks/*.yml") if used.search(path.read_text()))
    if used.search((ROOT / "site.yml").read_text()) or not found:
        return "`site.yml` shows"
    *first, last = [f"`playbooks/{path.name}`" for path in found]
    return f"{', '.join(first)} and {last} show" if first else f"{last} shows"


def alone(role: str, options: dict[str, Any]) -> str:
    """Return what a playbook of a role that works alone needs, and that playbook; "" for a role that does not."""
    path = ROOT / "molecule/roles" / f"{role}.yml"
    if not path.exists():
        return ""
    return ALONE.format(table="\n".join(rows(dict(list(options.items())[:5]))), playbook=path.read_text())


def readme(role: str, specs: dict[str, Any]) -> str:
    """Return the README of a role."""
    main = main_of(specs)
    others = {name: entry for name, entry in specs.items() if entry is not main}
    task_files = "".join(
        f"| `{name}` | {markdown(' '.join([entry['short_description'] + '.', *paragraphs(entry)]))} |\n"
        for name, entry in others.items()
    )
    options = {name: option for entry in others.values() for name, option in (entry.get("options") or {}).items()}
    parameters = "\n".join(
        rows({name: option for name, option in options.items() if name not in (main.get("options") or {})})
    )
    return README.format(
        mark=MARK,
        role=role,
        summary=main["short_description"],
        description="\n\n".join(textwrap.fill(markdown(text), 120) for text in paragraphs(main)),
        where=textwrap.fill(WHERE.format(example=example(role)), 120),
        variables=f"Variables: [docs/variables.md](../../docs/variables.md#{role}).\n" if main.get("options") else "",
        alone=alone(role, main.get("options") or {}),
        task_files=f"\n| other task file | what it does |\n|---|---|\n{task_files}" if others else "",
        parameters=f"\nParameters of these task files:\n\n{parameters}\n" if options else "",
    )


def pages() -> dict[Path, str]:
    """Return what each page must say."""
    found = {PAGE: page()}
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        role = path.parent.parent
        if not (role / "README.md").exists() or (role / "README.md").read_text().startswith(MARK):
            found[role / "README.md"] = readme(role.name, yaml.safe_load(path.read_text())["argument_specs"])
    return found


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = {path: text for path, text in pages().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if check:
            print(f"{path.relative_to(ROOT)} is not what the argument specs say: run `make docs`", file=sys.stderr)
        else:
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
