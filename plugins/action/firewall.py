"""Run the module of this name, and confirm new rules over a new connection. See plugins/modules/firewall.py."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

SHUT_OUT = (
    "With the new rules this controller could not open a new SSH connection within {seconds} s. {now} "
    "Nothing was made permanent. Let the controller in: see firewall_ssh_sources, and firewall_ssh_ports "
    "if sshd listens on another port than ansible_port."
)
BACK = "The host has taken them back by itself and has its previous rules."
GONE = "The host takes them back by itself, and did not answer for another {seconds} s: look at its console."
# Beyond the time of the rollback itself: a timer's accuracy, a login.
SPARE = 30


class ActionModule(ActionBase):
    """All of it in one task: on a large cluster the time of the rollback would pass between two."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        old = self._ssh_connection()
        seconds = int(self._task.args.get("rollback_seconds", 30))
        deadline = time.monotonic() + seconds
        result.update(self._execute_module(task_vars=task_vars))
        if result.get("failed") or result.get("unreachable") or not result.get("pending"):
            return result
        confirmed: dict[str, Any] = {}
        while not confirmed and time.monotonic() < deadline:
            try:
                self._connection.reset()
                new = self._ssh_connection()
                if old and new == old:
                    # A connection that was open before is let in by any rules, and proves nothing.
                    time.sleep(0.2)
                    continue
                confirmed = self._execute_module(module_args={"state": "confirmed"}, task_vars=task_vars)
            except AnsibleConnectionFailure:
                continue
        if not confirmed or confirmed.get("rolled_back"):
            return result | self._shut_out(seconds)
        if confirmed.get("failed"):
            return result | confirmed
        return result | {"pending": False}

    def _ssh_connection(self) -> str:
        """Return what sshd calls the connection; "" where it is none of SSH."""
        answer = self._low_level_execute_command("printenv SSH_CONNECTION || true", sudoable=False)
        return str(answer.get("stdout", "")).strip()

    def _shut_out(self, seconds: int) -> dict[str, Any]:
        """Wait until the host is back, and return the failure."""
        deadline = time.monotonic() + seconds + SPARE
        now = GONE.format(seconds=seconds + SPARE)
        while time.monotonic() < deadline:
            try:
                self._connection.reset()
                self._ssh_connection()
            except AnsibleConnectionFailure:
                continue
            now = BACK
            break
        return {"failed": True, "changed": False, "pending": False, "msg": SHUT_OUT.format(seconds=seconds, now=now)}
