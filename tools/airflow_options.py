"""Write the names of all settings that the locked Airflow knows, and the types of those that are no text.

Run it with the Python of an environment that holds the whole lock, after every change of Airflow's version:

    <runtime>/bin/python tools/airflow_options.py

Names and types only: values and defaults stay Airflow's business.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

TYPES = ("boolean", "float", "integer")
# What a method of Airflow's configuration makes of a value. Of a value that several methods read, the first counts.
GETTERS = {"getint": "integer", "getfloat": "float", "getboolean": "boolean", "getjson": "json"}
TEXT = "get"
OUTPUT = Path(__file__).resolve().parent.parent / "roles" / "preflight" / "files" / "airflow_options.json"


def getters(source: str) -> Iterator[tuple[str, str]]:
    """Yield each setting that a module reads, as ``section.option``, with the method that reads the setting."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {*GETTERS, TEXT}:
            named = {keyword.arg: keyword.value for keyword in node.keywords}
            texts = [
                value.value.lower()
                for value in (*node.args[:2], named.get("section"), named.get("key"))
                if isinstance(value, ast.Constant) and isinstance(value.value, str)
            ]
            if len(texts) == 2:
                yield ".".join(texts), node.func.attr


def types_of(described: dict[str, str | None], sources: Iterable[str]) -> dict[str, str]:
    """Return the types of the options that are no text.

    How Airflow reads an option decides. Its description may say another type, or text for all that is read from a file.

    :param described: the type in the description, by ``section.option``.
    """
    read: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        for name, method in getters(source):
            read[name].add(method)
    found = {}
    for name, kind in described.items():
        kinds = [converted for method, converted in GETTERS.items() if method in read[name]]
        if kind in TYPES:
            found[name] = kinds[0] if kinds else kind
        elif kinds and TEXT not in read[name]:
            found[name] = kinds[0]
    return found


def known_options() -> dict[str, Any]:
    """Return the names and types as Airflow's own description of its configuration has them, providers included."""
    import airflow
    from airflow.configuration import conf
    from kombu.transport import redis

    sections = {
        section: {option.lower() for option in description.get("options") or {}}
        for section, description in conf.configuration_description.items()
    }
    # Airflow hands this section to kombu as it is, so the right names are those of kombu's Redis transport.
    sections["celery_broker_transport_options"].update(redis.Channel.from_transport_options)
    renamed = {
        f"{old_section}.{old_option}": f"{section}.{option}"
        for (section, option), (old_section, old_option, _since) in conf.deprecated_options.items()
        if old_option not in sections.get(old_section, set())
    }
    details = {
        f"{section}.{option.lower()}": description
        for section, options in sorted(conf.configuration_description.items())
        for option, description in sorted((options.get("options") or {}).items())
    }
    modules = (path for root in airflow.__path__ for path in sorted(Path(root).rglob("*.py")))
    types = types_of(
        {name: description.get("type") for name, description in details.items()},
        (path.read_text() for path in modules if "/example_dags/" not in path.as_posix()),
    )
    return {
        "airflow_version": airflow.__version__,
        "renamed": dict(sorted(renamed.items())),
        "sections": {section: sorted(options) for section, options in sorted(sections.items())},
        "sensitive": sorted(
            f"{section}.{option}"
            for section, option in conf.sensitive_config_values
            if option in sections.get(section, set())
        ),
        "types": types,
        # What these have without a value, Airflow decides by other settings, or not at all.
        "empty": sorted(
            name for name, kind in types.items() if kind == "json" or details[name].get("default") in (None, "")
        ),
    }


def main() -> int:
    """Write the file."""
    OUTPUT.write_text(json.dumps(known_options(), indent=1) + "\n")
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
