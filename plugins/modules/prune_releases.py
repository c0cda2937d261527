#!/usr/bin/python
"""Remove old releases of the runtime or of the DAGs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: prune_releases
short_description: Remove old releases
version_added: 0.1.0
author: The airflow-celery-cluster maintainers
description:
  - Keeps the newest directories below C(<root>/releases) and removes the others.
  - Looks only at directories that a deployment has made, whose names end with 12 hexadecimal digits.
  - Never removes one that C(<root>/current) or C(<root>/previous) points to, nor one that a systemd unit of this host
    names.
options:
  root:
    description: Directory that holds C(releases) and C(current).
    type: path
    required: true
  keep:
    description: How many releases to keep at least.
    type: int
    required: true
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Remove old releases of the runtime
  airflow_celery.cluster.prune_releases:
    root: /opt/airflow
    keep: 3
"""

RETURN = r"""
removed:
  description: Names of the releases that were removed.
  returned: always
  type: list
  elements: str
"""


# The fingerprint of the DAGs, or the id of a runtime, which ends with one.
RELEASE = re.compile(r"(?:[^.].*-)?[0-9a-f]{12}")


def to_remove(root: Path, keep: int, units: Path = Path("/etc/systemd/system")) -> list[Path]:
    """Return the releases that nobody needs any more, oldest last."""
    # The time of the rename into place. An archive's own times are older than that and say nothing.
    releases = sorted(
        (path for path in (root / "releases").iterdir() if RELEASE.fullmatch(path.name) and path.is_dir()),
        key=lambda path: path.stat().st_ctime,
        reverse=True,
    )
    kept = {(root / link).resolve() for link in ("current", "previous")}
    named_by_units = "\n".join(unit.read_text() for unit in units.glob("airflow-*.service"))
    return [path for path in releases[keep:] if path.resolve() not in kept and f"{path}/" not in named_by_units]


def main() -> None:
    module = AnsibleModule(
        argument_spec={"root": {"type": "path", "required": True}, "keep": {"type": "int", "required": True}},
        supports_check_mode=True,
    )
    if module.params["keep"] < 1:
        module.fail_json(msg=f"keep is {module.params['keep']}; expected 1 or more")
    old = to_remove(Path(module.params["root"]), module.params["keep"])
    if not module.check_mode:
        for path in old:
            shutil.rmtree(path)
    module.exit_json(changed=bool(old), removed=[path.name for path in old])


if __name__ == "__main__":
    main()
