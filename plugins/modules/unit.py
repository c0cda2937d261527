#!/usr/bin/python
"""Start a systemd unit at boot and now, and restart it when it runs with old files."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: unit
short_description: Ensure a systemd unit runs with its current files
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Enables and starts a unit, and restarts or reloads it when one of its files is newer than its last start or reload.
  - A handler restarts a unit when a task of the same run changed a file. When that run is interrupted before that,
    the next run sees no change and the unit goes on with old settings. This module compares what is on the machine
    instead, so running it again finishes a run that was interrupted at any point.
  - >-
    A wait that is not over after a few seconds is shown with its limit, and again every half minute: of a worker that
    stops, with its running tasks. The action plugin asks the host anew each time, so a connection that is lost
    meanwhile ends nothing.
options:
  name:
    description:
      - Name of the unit, with or without C(.service).
      - Of a timer, systemd reads the unit that it starts anew as well, if its file has changed.
    type: str
    required: true
  state:
    description: With V(stopped), the unit is stopped and does not start at boot. What runs in it has its time to end.
    type: str
    choices: [started, stopped]
    default: started
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
  follow:
    description: What was begun, and how far it is. Then nothing is begun. The action plugin sets it.
    type: dict
  seconds:
    description: How long this look at the host may take. The action plugin sets it.
    type: float
    default: 5
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Ensure the scheduler is running
  airflow_celery.cluster.unit:
    name: airflow-scheduler
    files:
      - /etc/airflow/scheduler/airflow.cfg
    health_url: http://127.0.0.1:8974/health
"""

RETURN = r"""
actions:
  description: >-
    What was done, of C(enable), C(start), C(restart), C(reload), C(disable), C(stop), and C(disable) with another
    instance.
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

import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.systemd_times import seconds_of
from ansible_collections.airflow_celery.cluster.plugins.module_utils.worker_processes import processes, task_processes

PROPERTIES = (
    "ActiveState",
    "FragmentPath",
    "Job",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "Result",
    "StateChangeTimestamp",
    "SubState",
    "TimeoutStartUSec",
    "TimeoutStopUSec",
    "UnitFileState",
)
# Of a timer: the unit that it starts, which systemd keeps as it was read.
STARTS = "Unit"
# Restarts that are tolerated while the module waits for a unit: its database may become available a moment later.
MAX_RESTARTS = 2
RUNNING = ("active", "reloading")
STOPPED = ("inactive", "failed")
# The units of a time span as systemd prints it.
SPANS = {"w": 604_800, "d": 86_400, "h": 3600, "min": 60, "s": 1, "ms": 0.001, "us": 0.000_001}
WORKER = "airflow-worker"


def span_of(text: str) -> float | None:
    """Return the seconds of what systemd prints as a time span, as ``1min 30s``; None for no limit."""
    parts = re.findall(r"([0-9.]+)\s*([a-z]+)", text)
    if not parts or any(unit not in SPANS for _number, unit in parts):
        return None
    return sum(float(number) * SPANS[unit] for number, unit in parts)


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
    if state["ActiveState"] not in (*RUNNING, "activating"):
        return [*actions, "start"], []
    since = seconds_of(state["StateChangeTimestamp"])
    newer = newer_files([*files, state["FragmentPath"]], since)
    if newer:
        return [*actions, "restart"], newer
    newer = newer_files(reload_files, since)
    return [*actions, *(["reload"] if newer else [])], newer


def plan_stop(state: dict[str, str]) -> list[str]:
    """Return what to do so that a unit is stopped and stays so."""
    actions = ["disable"] if state["UnitFileState"] in ("enabled", "enabled-runtime") else []
    return [*actions, *([] if state["ActiveState"] in STOPPED else ["stop"])]


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


def stage_of(state: dict[str, str], begun: bool, wants_health: bool) -> str:
    """Return what a unit is waited for: to ``stop``, to ``start``, to be ``healthy``; "" for nothing, or ``failed``.

    :param begun: whether a start or a restart was asked for.
    """
    # The job of a restart has two parts, and the first one ends when all processes have.
    if state.get("Job"):
        return "stop" if state["ActiveState"] == "deactivating" else "start"
    if wants_health:
        return "healthy"
    return "failed" if begun and state["ActiveState"] not in RUNNING else ""


def limit_of(state: dict[str, str], stage: str, health_timeout: int) -> float | None:
    """Return the seconds that a stage may take; None for no limit."""
    if stage == "healthy":
        return float(health_timeout)
    return span_of(state.get("TimeoutStopUSec" if stage == "stop" else "TimeoutStartUSec", ""))


def running_tasks(name: str, state: dict[str, str]) -> tuple[int, float]:
    """Return how many tasks the unit runs, and for how many seconds the oldest has run; nothing for other units."""
    if name.removesuffix(".service") != WORKER:
        return 0, 0.0
    found = task_processes(int(state.get("MainPID") or 0), processes())
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    return len(found), max((now - process.started for process in found), default=0.0)


def main() -> None:
    """Begin what is to do, or look how far it is."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "files": {"type": "list", "elements": "path", "default": []},
            "reload_files": {"type": "list", "elements": "path", "default": []},
            "health_url": {"type": "str"},
            "health_ca_file": {"type": "path"},
            "health_timeout": {"type": "int", "default": 120},
            "hold_file": {"type": "path"},
            "instances": {"type": "list", "elements": "str"},
            "follow": {"type": "dict"},
            "seconds": {"type": "float", "default": 5.0},
        },
        supports_check_mode=True,
    )
    name: str = module.params["name"]

    def fail(message: str) -> None:
        _code, journal, _error = module.run_command(["journalctl", "--no-pager", "--lines=1000", f"--unit={name}"])
        module.fail_json(msg=message, journal=without_health_checks(journal, module.params["health_url"] or "")[-40:])

    def systemctl(*arguments: str) -> str:
        code, out, error = module.run_command(["systemctl", *arguments])
        if code != 0:
            fail(f"systemctl {' '.join(arguments)} failed: {error.strip() or out.strip()}")
        return str(out)

    def show() -> dict[str, str]:
        properties = (*PROPERTIES, STARTS)
        out = systemctl("show", "--timestamp=us+utc", *(f"--property={item}" for item in properties), name)
        shown = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        if shown.get(STARTS):
            stale = systemctl("show", "--property=NeedDaemonReload", "--value", shown[STARTS]).strip()
            shown["NeedDaemonReload"] = "yes" if stale == "yes" else shown["NeedDaemonReload"]
        return shown

    def begin() -> dict[str, Any]:
        """Do what takes no time, and have systemd begin the rest."""
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
        if module.params["state"] == "stopped":
            actions, newer = plan_stop(state), []
        unwanted = []
        if module.params["instances"]:
            listed = systemctl("list-units", "--all", "--plain", "--no-legend", f"{name.partition('@')[0]}@*.service")
            unwanted = unwanted_instances(name, module.params["instances"], listed)
        told = [*actions, *(f"disable {unit}" for unit in unwanted)]
        if not module.check_mode:
            if reads_drop_ins(actions, module.params["files"]):
                systemctl("daemon-reload")
            for action in actions:
                systemctl(*(["--no-block"] if action in ("start", "restart", "stop") else []), action, name)
        return {
            "result": {"changed": bool(told), "actions": told, "newer": newer, "held": held},
            "begun": bool({"start", "restart"} & set(actions)),
            "unwanted": unwanted,
            # Of the wait for the health URL, which goes on in the next look: seconds, and restarts before it.
            "waited": 0.0,
            "restarts": None,
        }

    def look(follow: dict[str, Any]) -> str:
        """Return what is still waited for when the seconds of this look are over; "" when all is done."""
        began = time.monotonic()
        waited = float(follow["waited"])
        asked: float | None = None
        url = module.params["health_url"] if not follow["result"]["held"] else None
        while True:
            state = show()
            stage = stage_of(state, bool(follow["begun"]), bool(url))
            if stage == "failed":
                fail(f"{name} does not run: it is {state['ActiveState']} ({state['SubState']}, {state['Result']})")
            if stage == "healthy":
                asked = asked or time.monotonic()
                follow["restarts"] = int(state["NRestarts"]) if follow["restarts"] is None else follow["restarts"]
                if answers(url or "", module.params["health_ca_file"]):
                    return ""
                falls = int(state["NRestarts"]) - int(follow["restarts"])
                if state["ActiveState"] == "failed" or falls > MAX_RESTARTS:
                    fail(f"{name} does not stay up ({falls} restarts); the end of its journal follows")
                follow["waited"] = waited + time.monotonic() - asked
                if follow["waited"] > module.params["health_timeout"]:
                    seconds = module.params["health_timeout"]
                    fail(
                        f"{name} runs, but {url} did not answer 200 within {seconds} s; the end of its journal follows"
                    )
            elif not stage:
                return ""
            if time.monotonic() - began > module.params["seconds"]:
                tasks, oldest = running_tasks(name, state) if stage == "stop" else (0, 0.0)
                follow |= {
                    "tasks": tasks,
                    "oldest": oldest,
                    "limit": limit_of(state, stage, module.params["health_timeout"]),
                }
                return stage
            time.sleep(0.25)  # paces the asking; what is waited for is the unit

    follow = module.params["follow"] or begin()
    stage = "" if module.check_mode else look(follow)
    if stage:
        module.exit_json(**follow["result"], follow=follow | {"stage": stage})
    # Last: a wanted instance is healthy by now.
    for unit in [] if module.check_mode else follow["unwanted"]:
        systemctl("disable", "--now", unit)
    module.exit_json(**follow["result"])


if __name__ == "__main__":
    main()
