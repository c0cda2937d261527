#!/usr/bin/python
"""Remove old releases of the runtime or of the DAGs."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: prune_releases
short_description: Remove old releases
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Keeps the newest directories below C(<root>/releases) and removes the others.
  - Looks only at directories that a deployment has made, whose names end with 12 hexadecimal digits.
  - Removes what a deployment that was killed has left of a release, C(<root>/releases/.<name>.partial), in any case. So
    nothing may be unpacked meanwhile.
  - Never removes one that C(<root>/current) or C(<root>/previous) points to, nor one that a systemd unit of this host
    names, nor one of which a running process has loaded a library.
options:
  root:
    description: Directory that holds C(releases) and C(current).
    type: path
    required: true
  keep:
    description: How many releases to keep at least.
    type: int
    required: true
  in_use:
    description: Names of releases that are kept in any case.
    type: list
    elements: str
    default: []
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

import contextlib
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

# The fingerprint of the DAGs, or the id of a runtime, which ends with one.
RELEASE = re.compile(r"(?:[^.].*-)?[0-9a-f]{12}")
PARTIAL = re.compile(rf"\.{RELEASE.pattern}\.partial")


def is_loaded(release: Path, proc: Path = Path("/proc")) -> bool:
    """Return whether a running process has loaded a library of a release.

    A worker that is drained goes on with its old release while its unit has the new one already. It has a title of its
    own instead of a command line, and its interpreter is the system's.
    """
    for maps in proc.glob("[0-9]*/maps"):
        # The process may have ended meanwhile.
        with contextlib.suppress(OSError):
            if f" {release}/" in maps.read_text(errors="replace"):
                return True
    return False


def to_remove(
    root: Path,
    keep: int,
    in_use: Collection[str] = (),
    units: Path = Path("/etc/systemd/system"),
    proc: Path = Path("/proc"),
) -> list[Path]:
    """Return the releases that nobody needs any more, oldest last, and then parts of releases."""
    if not (root / "releases").is_dir():
        return []
    # The time of the rename into place. A release of the runtime has the modification time of its build.
    releases = sorted(
        (path for path in (root / "releases").iterdir() if RELEASE.fullmatch(path.name) and path.is_dir()),
        key=lambda path: path.stat().st_ctime,
        reverse=True,
    )
    kept = {(root / link).resolve() for link in ("current", "previous")}
    named_by_units = "\n".join(unit.read_text() for unit in units.glob("airflow-*.service"))
    old = [
        path
        for path in releases[keep:]
        if path.name not in in_use
        and path.resolve() not in kept
        and f"{path}/" not in named_by_units
        and not is_loaded(path, proc)
    ]
    return old + sorted(path for path in (root / "releases").iterdir() if PARTIAL.fullmatch(path.name))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "keep": {"type": "int", "required": True},
            "in_use": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if module.params["keep"] < 1:
        module.fail_json(msg=f"keep is {module.params['keep']}; expected 1 or more")
    old = to_remove(Path(module.params["root"]), module.params["keep"], module.params["in_use"])
    if not module.check_mode:
        for path in old:
            shutil.rmtree(path)
    module.exit_json(changed=bool(old), removed=[path.name for path in old])


if __name__ == "__main__":
    main()
