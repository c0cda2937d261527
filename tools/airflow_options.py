"""Write the names of all settings that the locked Airflow knows, and the types of those that are no text.

Run it with the Python of an environment that holds the whole lock, after every change of Airflow's version:

    <runtime>/bin/python tools/airflow_options.py

Names and types only: values and defaults stay Airflow's business.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TYPES = ("boolean", "float", "integer")
OUTPUT = Path(__file__).resolve().parent.parent / "roles" / "preflight" / "files" / "airflow_options.json"


def known_options() -> dict[str, Any]:
    """Return the names and types as Airflow's own description of its configuration has them, providers included."""
    from airflow import __version__
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
    return {
        "airflow_version": __version__,
        "renamed": dict(sorted(renamed.items())),
        "sections": {section: sorted(options) for section, options in sorted(sections.items())},
        "sensitive": sorted(
            f"{section}.{option}"
            for section, option in conf.sensitive_config_values
            if option in sections.get(section, set())
        ),
        "types": {
            f"{section}.{option.lower()}": details["type"]
            for section, description in sorted(conf.configuration_description.items())
            for option, details in sorted((description.get("options") or {}).items())
            if details.get("type") in TYPES
        },
        # What these have without a value, Airflow decides by other settings, or not at all.
        "empty": sorted(
            f"{section}.{option.lower()}"
            for section, description in conf.configuration_description.items()
            for option, details in (description.get("options") or {}).items()
            if details.get("type") in TYPES and details.get("default") in (None, "")
        ),
    }


def main() -> int:
    """Write the file."""
    OUTPUT.write_text(json.dumps(known_options(), indent=1) + "\n")
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
