#!/usr/bin/python
"""Report the state of a host and of the cluster's units."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cluster_status
short_description: Report the state of a host and of the cluster's units
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Reads, and changes nothing. Needs root, systemd and openssl.
  - Returns states, times, sizes and paths, and no content of a setting.
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Query units, disks and certificates
  airflow_celery.cluster.cluster_status:
  register: cluster_status
"""

RETURN = r"""
status:
  description: >-
    C(debian), C(release), C(units), C(disks) (path to C(total) and C(free) bytes), C(certificates) (path to the
    expiry in seconds since the epoch, None where it can't be read), C(backup) (C(time), C(label), C(kind) and C(ok)
    of the last one; None for none), C(drained) (C(since), C(by) and C(why) of the worker's drain; None for none),
    C(quarantined) (C(since), C(release) and C(why) of the last canary that has failed, empty if none has; None for a
    worker that waits for no canary), C(time).
  returned: success
  type: dict
"""

import glob
import json
import os
import ssl
import time
from datetime import datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.systemd_times import seconds_of

UNITS = ("airflow-*.service", "postgresql@*.service", "redis-server.service", "haproxy.service")
PROPERTIES = (
    "Id",
    "Type",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "UnitFileState",
    "StateChangeTimestamp",
    "NRestarts",
    "MemoryCurrent",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "InactiveEnterTimestamp",
    "EnvironmentFiles",
)
CURRENT = "/opt/airflow/current"
DISKS = ("/", "/var/lib/airflow")
CERTIFICATES = "/etc/airflow/tls/*.pem"
BACKUP = "/var/lib/airflow/backup/last.json"
# There while a worker is drained, with who did it and why; while it has not passed its canary; after a failed canary.
DRAINED = "/etc/airflow/worker/drained"
CANARY = "/etc/airflow/worker/canary.env"
CANARY_FAILURE = "/etc/airflow/worker/canary.json"


def blocks(shown: str) -> list[dict[str, list[str]]]:
    """Return the properties of each unit from what ``systemctl show`` prints; a property may come more than once."""
    found = []
    for block in shown.split("\n\n"):
        unit: dict[str, list[str]] = {}
        for line in block.splitlines():
            name, sign, value = line.partition("=")
            if sign:
                unit.setdefault(name, []).append(value)
        if unit:
            found.append(unit)
    return found


def files_of(name: str, unit: dict[str, list[str]]) -> list[str]:
    """Return the files that a unit of Airflow read when it started."""
    process = name.removeprefix("airflow-").removesuffix(".service")
    files = [*unit.get("FragmentPath", []), f"/etc/airflow/{process}/airflow.cfg"]
    files += [value.partition(" (")[0] for value in unit.get("EnvironmentFiles", [])]
    return [path for path in files if path]


def stale_files(files: list[str], since: float | None) -> list[str]:
    """Return which of the files changed after the unit read them."""
    if since is None:
        return []
    return [path for path in files if os.path.exists(path) and os.stat(path).st_mtime > since]


def unit_status(unit: dict[str, list[str]]) -> dict[str, Any]:
    """Return what is reported of a unit."""

    def value(name: str) -> str:
        return unit.get(name, [""])[-1]

    name = value("Id")
    active = value("ActiveState")
    # Of a unit that has nothing to do: the end of its last run. Its state changes when systemd reads its file, too.
    since = seconds_of(value("InactiveEnterTimestamp" if active == "inactive" else "StateChangeTimestamp"))
    running = active in ("active", "reloading")
    return {
        "name": name,
        "state": active,
        "sub": value("SubState"),
        "type": value("Type"),
        "result": value("Result"),
        "enabled": value("UnitFileState") in ("enabled", "enabled-runtime"),
        "since": since,
        "restarts": int(value("NRestarts") or 0),
        # A number larger than any machine is systemd's way to say that it does not count.
        "memory": int(value("MemoryCurrent"))
        if value("MemoryCurrent").isdigit() and int(value("MemoryCurrent")) < 2**63
        else None,
        "stale": stale_files(files_of(name, unit), since) if running and name.startswith("airflow-") else [],
        "reload": value("NeedDaemonReload") == "yes",
        # Of a package's unit: it has a drop-in of the cluster.
        "ours": name.startswith("airflow-")
        or any(os.path.basename(path).startswith("airflow-") for path in value("DropInPaths").split()),
    }


def last_entry(printed: str) -> float | None:
    """Return the time of the entry that ``journalctl --output=json`` prints, in seconds; None for no entry."""
    try:
        return int(json.loads(printed)["__REALTIME_TIMESTAMP"]) / 1e6
    except (ValueError, KeyError, TypeError):
        return None


def disk(path: str) -> dict[str, int] | None:
    """Return the bytes of the file system that holds a path, as another user than root sees them; None for no path."""
    try:
        found = os.statvfs(path)
    except FileNotFoundError:
        return None
    used = found.f_blocks - found.f_bfree
    return {"total": (used + found.f_bavail) * found.f_frsize, "free": found.f_bavail * found.f_frsize}


def expiry(printed: str) -> int | None:
    """Return the seconds since the epoch from what ``openssl x509 -enddate`` prints; None for anything else."""
    _before, sign, when = printed.strip().partition("notAfter=")
    try:
        return ssl.cert_time_to_seconds(when) if sign else None
    except ValueError:
        return None


def last_backup(path: str) -> dict[str, Any] | None:
    """Return end (seconds since the epoch), label, kind and success of the last backup; None for none."""
    try:
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
        return {
            "time": datetime.fromisoformat(told["when"]).timestamp(),
            "label": str(told["label"]),
            "kind": str(told["kind"]),
            "ok": told["verified"] is True,
        }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return {"ok": False}


def record(path: str, keys: tuple[str, ...]) -> dict[str, str] | None:
    """Return the texts of a JSON file, empty where it has none; None where there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        told = None
    told = told if isinstance(told, dict) else {}
    return {key: str(told.get(key, "")) for key in keys}


def drained(path: str) -> dict[str, str] | None:
    """Return since when, by what and why the worker is drained; None when it is not."""
    return record(path, ("since", "by", "why"))


def quarantined(canary: str, failure: str) -> dict[str, str] | None:
    """Return when, on which release and why the last canary has failed; None when the worker waits for none."""
    if not os.path.exists(canary):
        return None
    keys = ("since", "release", "why")
    return record(failure, keys) or dict.fromkeys(keys, "")


def debian(path: str = "/etc/debian_version") -> str:
    """Return Debian's version; "" where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)

    def run(*command: str) -> str:
        code, out, error = module.run_command(list(command))
        if code != 0:
            module.fail_json(msg=f"{' '.join(command)} failed: {error.strip() or out.strip()}")
        return str(out)

    listed = run("systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=service", *UNITS)
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    properties = [f"--property={name}" for name in PROPERTIES]
    shown = run("systemctl", "show", "--timestamp=us+utc", *properties, "--", *names) if names else ""
    certificates = {}
    for path in sorted(glob.glob(CERTIFICATES)):
        _code, out, _error = module.run_command(["openssl", "x509", "-noout", "-enddate", "-in", path])
        certificates[path] = expiry(out)
    units = [unit_status(unit) for unit in blocks(shown) if unit.get("LoadState") == ["loaded"]]
    for unit in units:
        if unit["state"] == "inactive" and unit["since"] is None:
            # systemd forgets at a boot, and the journal does not.
            _code, out, _error = module.run_command(
                ["journalctl", "--quiet", "--lines=1", "--output=json", "--unit", unit["name"]]
            )
            unit["since"] = last_entry(out)
    status = {
        "time": time.time(),
        "debian": debian(),
        "release": os.path.basename(os.readlink(CURRENT)) if os.path.islink(CURRENT) else "",
        "units": units,
        "disks": {path: found for path in DISKS if (found := disk(path)) is not None},
        "certificates": certificates,
        "backup": last_backup(BACKUP),
        "drained": drained(DRAINED),
        "quarantined": quarantined(CANARY, CANARY_FAILURE),
    }
    module.exit_json(changed=False, status=status)


if __name__ == "__main__":
    main()
