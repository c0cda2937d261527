#!/usr/bin/python
"""Start a systemd unit at boot and now, and restart it when it runs with old files."""

from __future__ import annotations

import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: unit
short_description: Keep a systemd unit running with the files it has now
version_added: 0.1.0
author: The airflow-celery-cluster maintainers
description:
  - Enables and starts a unit, and restarts or reloads it when one of its files is newer than its last start or reload.
  - A handler restarts a unit when a task of the same run changed a file. When that run is broken off before that,
    the next run sees no change and the unit goes on with old settings. This module compares what is on the machine
    instead, so a run that was broken off at any point is finished by running it again.
options:
  name:
    description:
      - Name of the unit, with or without C(.service).
      - Of a timer, systemd reads the unit that it starts anew as well, if its file has changed.
    type: str
    required: true
  files:
    description: Files that the unit reads when it starts. The unit file itself is always one of them.
    type: list
    elements: path
    default: []
  reload_files:
    description: Files for which a reload is enough.
    type: list
    elements: path
    default: []
  health_url:
    description:
      - URL that answers 200 when the service is healthy. The module returns when it does.
      - Without it, the module returns as soon as systemd calls the unit active.
    type: str
  health_ca_file:
    description: PEM file with the authorities that may sign the certificate of an C(https) O(health_url).
    type: path
  health_timeout:
    description:
      - Seconds to wait for O(health_url). A unit that keeps falling over fails earlier, with the end of its journal.
    type: int
    default: 120
  hold_file:
    description:
      - While this file exists the unit is neither started, restarted nor reloaded, and nobody waits for O(health_url).
        It is enabled.
    type: path
  instances:
    description:
      - All wanted instances of the template that O(name) is an instance of. Other instances are stopped and disabled.
      - Without it, other instances are left alone.
    type: list
    elements: str
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Run the scheduler
  airflow_celery.cluster.unit:
    name: airflow-scheduler
    files:
      - /etc/airflow/scheduler/airflow.cfg
    health_url: http://127.0.0.1:8974/health
"""

RETURN = r"""
actions:
  description: What was done, of C(enable), C(start), C(restart), C(reload) and C(disable) with another instance.
  returned: always
  type: list
  elements: str
newer:
  description: Files that were newer than the last start or reload.
  returned: always
  type: list
  elements: str
held:
  description: Whether O(hold_file) exists.
  returned: always
  type: bool
"""

PROPERTIES = ("ActiveState", "NRestarts", "UnitFileState", "StateChangeTimestamp", "NeedDaemonReload", "FragmentPath")
# Of a timer: the unit that it starts, which systemd keeps as it was read.
STARTS = "Unit"
# So often a unit may fall over while it is waited for: its database may be a moment later than itself.
FALLS_ALLOWED = 2


def seconds_of(timestamp: str) -> float | None:
    """Return seconds since the epoch of what systemd prints with ``--timestamp=us+utc``; None for none."""
    if not timestamp or timestamp == "n/a":
        return None
    return datetime.strptime(timestamp.removesuffix(" UTC") + " +0000", "%a %Y-%m-%d %H:%M:%S.%f %z").timestamp()


def newer_files(files: list[str], since: float | None) -> list[str]:
    """Return which of the files changed after a point in time; a missing file never did."""
    if since is None:
        return []
    return [path for path in files if os.path.exists(path) and os.stat(path).st_mtime > since]


def plan(
    state: dict[str, str], files: list[str], reload_files: list[str], held: bool = False
) -> tuple[list[str], list[str]]:
    """Return what to do and because of which files, from the unit's properties.

    :param held: whether the unit is to stay as it is, running or not.
    """
    actions = []
    # A template instance's own state is "enabled"; a static or generated unit can't be enabled.
    if state["UnitFileState"] in ("disabled", "enabled-runtime", ""):
        actions.append("enable")
    if held:
        return actions, []
    if state["ActiveState"] not in ("active", "reloading", "activating"):
        return [*actions, "start"], []
    since = seconds_of(state["StateChangeTimestamp"])
    newer = newer_files([*files, state["FragmentPath"]], since)
    if newer:
        return [*actions, "restart"], newer
    newer = newer_files(reload_files, since)
    return [*actions, *(["reload"] if newer else [])], newer


def reads_drop_ins(actions: list[str], files: list[str]) -> bool:
    """Return whether systemd must read the unit's drop-ins again before the actions.

    systemd does not report NeedDaemonReload for the first drop-in of a unit: it remembers that there was no directory.
    """
    return bool({"start", "restart"} & set(actions)) and any(path.startswith("/etc/systemd/") for path in files)


def unwanted_instances(name: str, wanted: list[str], listed: str) -> list[str]:
    """Return the other instances of a unit's template that are not wanted.

    :param name: an instance, as ``airflow-api-server@8081``.
    :param wanted: all wanted instances, as ``8081``.
    :param listed: what ``systemctl list-units --all --plain --no-legend`` prints for the template.
    """
    template = name.partition("@")[0]
    keep = {f"{template}@{instance}.service" for instance in wanted}
    return sorted({line.split()[0] for line in listed.splitlines() if line.strip()} - keep)


def without_health_checks(journal: str, health_url: str) -> list[str]:
    """Return the lines of a journal that are not the service's record of a request to the health URL."""
    path = urllib.parse.urlsplit(health_url).path
    return [line for line in journal.splitlines() if not path or path not in line]


def answers(url: str, ca_file: str | None = None) -> bool:
    """Return whether a URL answers 200 now. No proxy: it is this host that is asked."""
    context = ssl.create_default_context(cafile=ca_file)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "reload_files": {"type": "list", "elements": "path", "default": []},
            "health_url": {"type": "str"},
            "health_ca_file": {"type": "path"},
            "health_timeout": {"type": "int", "default": 120},
            "hold_file": {"type": "path"},
            "instances": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    name: str = module.params["name"]

    def fail(message: str) -> None:
        _, journal, _ = module.run_command(["journalctl", "--no-pager", "--lines=1000", f"--unit={name}"])
        module.fail_json(msg=message, journal=without_health_checks(journal, module.params["health_url"] or "")[-40:])

    def systemctl(*arguments: str) -> str:
        code, out, error = module.run_command(["systemctl", *arguments])
        if code != 0:
            fail(f"systemctl {' '.join(arguments)} failed: {error.strip() or out.strip()}")
        return str(out)

    def wait_until_healthy(url: str, seconds: int) -> None:
        deadline = time.monotonic() + seconds
        falls_before = int(show()["NRestarts"])
        while not answers(url, module.params["health_ca_file"]):
            state = show()
            falls = int(state["NRestarts"]) - falls_before
            if state["ActiveState"] == "failed" or falls > FALLS_ALLOWED:
                fail(f"{name} does not stay up ({falls} restarts); the end of its journal follows")
            if time.monotonic() > deadline:
                fail(f"{name} runs, but {url} did not answer 200 within {seconds} s; the end of its journal follows")
            time.sleep(0.25)  # paces the asking; what is waited for is the answer

    def show() -> dict[str, str]:
        properties = (*PROPERTIES, STARTS)
        out = systemctl("show", "--timestamp=us+utc", *(f"--property={item}" for item in properties), name)
        shown = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        if shown.get(STARTS):
            stale = systemctl("show", "--property=NeedDaemonReload", "--value", shown[STARTS]).strip()
            shown["NeedDaemonReload"] = "yes" if stale == "yes" else shown["NeedDaemonReload"]
        return shown

    state = show()
    if state["NeedDaemonReload"] == "yes" and not module.check_mode:
        systemctl("daemon-reload")
        state = show()
    if not state["FragmentPath"] and not module.check_mode:
        systemctl("daemon-reload")
        state = show()
        if not state["FragmentPath"]:
            module.fail_json(msg=f"there is no unit {name} on this host")

    held = bool(module.params["hold_file"]) and os.path.exists(module.params["hold_file"])
    actions, newer = plan(state, module.params["files"], module.params["reload_files"], held)
    unwanted = []
    if module.params["instances"]:
        listed = systemctl("list-units", "--all", "--plain", "--no-legend", f"{name.partition('@')[0]}@*.service")
        unwanted = unwanted_instances(name, module.params["instances"], listed)
    told = [*actions, *(f"disable {unit}" for unit in unwanted)]
    result: dict[str, Any] = {"changed": bool(told), "actions": told, "newer": newer, "held": held}
    if not module.check_mode:
        if reads_drop_ins(actions, module.params["files"]):
            systemctl("daemon-reload")
        for action in actions:
            systemctl(action, name)
        if module.params["health_url"] and not held:
            wait_until_healthy(module.params["health_url"], module.params["health_timeout"])
        # Last: a wanted instance is healthy by now.
        for unit in unwanted:
            systemctl("disable", "--now", unit)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
