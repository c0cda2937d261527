#!/usr/bin/python
"""Keep the host's nftables table of the cluster, without shutting the controller out."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: firewall
short_description: Allow the connections of the cluster and drop all others
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Keeps an nftables table of its own with one chain, at the input hook, that drops what no rule accepts. Other tables
    are left alone. What the host sends or forwards is not filtered.
  - New rules are loaded only after a systemd timer was started that puts the previous ones back. The action plugin of
    this name then opens a new SSH connection, and over that one the module is run once more (O(state=confirmed)), which
    stops the timer and makes the rules permanent. Without that second run the host has its previous rules back
    after O(rollback_seconds).
  - The rules are compared with those in the kernel, so that a table that was removed or changed by hand is restored.
  - Names are resolved on the host, before anything is changed.
  - What an earlier run left unconfirmed is rolled back first.
options:
  state:
    description:
      - C(present) keeps the rules. C(absent) removes table, timer and file.
      - C(confirmed) is for the action plugin.
    type: str
    choices: [present, confirmed, absent]
    default: present
  rules:
    description:
      - What the host lets in. Loopback, answers, ICMP and DHCP answers are always accepted.
      - Without it the rules stay as they are, and only the addresses of O(clients) are brought up to date, on a host
        that has the firewall. No way in can be lost by that, so it needs no confirmation.
    type: list
    elements: dict
    suboptions:
      ports:
        description: Ports.
        type: list
        elements: int
        required: true
      protocol:
        description: Transport protocol.
        type: str
        choices: [tcp, udp]
        default: tcp
      clients:
        description: Groups of O(clients) that are let in.
        type: list
        elements: str
        default: []
      sources:
        description: IP addresses, networks and names that are let in. C(0.0.0.0/0) and C(::/0) are everybody.
        type: list
        elements: str
        default: []
      comment:
        description: What it is for.
        type: str
        default: ""
  clients:
    description:
      - For each group, its hosts by their inventory names, and for each host the names and addresses from which it may
        connect.
      - A name that cannot be resolved is an error if the host has no other.
    type: dict
    default: {}
  rollback_seconds:
    description: Seconds after which unconfirmed rules are taken back.
    type: int
    default: 30
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Let workers reach the broker, and everybody SSH
  airflow_celery.cluster.firewall:
    rules:
      - ports: [22]
        sources: ["0.0.0.0/0", "::/0"]
        comment: SSH
      - ports: [6379]
        clients: [airflow_worker]
        comment: redis
    clients:
      airflow_worker:
        worker1: [worker1.internal.example.org, 192.0.2.21]
"""

RETURN = r"""
pending:
  description: Whether the rules are loaded and wait for their confirmation.
  returned: always
  type: bool
removed:
  description: Whether an earlier run's unconfirmed rules were taken back.
  returned: always
  type: bool
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.firewall_table import (
    REMOVE,
    TABLE,
    Unresolved,
    client_networks,
    system_addresses,
    table,
    with_clients,
)

TIMER = "airflow-firewall-rollback"
FILE = "/etc/airflow-firewall.nft"
# Gone after a restart, and so is what waits for a confirmation.
STAGED = "/run/airflow-firewall/staged.nft"
PREVIOUS = "/run/airflow-firewall/previous.nft"


def read(path: str) -> str | None:
    """Return a file's text; None for one that is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


class Firewall:
    """The table on this host, the file that it is loaded from at boot, and the timer that takes it back."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        # Absolute: the timer's unit has no sbin in its path on every system.
        self.nft: str = module.get_bin_path("nft", opt_dirs=["/usr/sbin", "/sbin"]) or ""

    def run(self, *command: str, data: str | None = None, check: bool = True) -> tuple[int, str]:
        """Run a program; return its status and what it printed. A failure ends the module unless ``check`` is false."""
        code, out, error = self.module.run_command(list(command), data=data)
        if check and code != 0:
            self.module.fail_json(msg=f"{' '.join(command)}: {error.strip() or out.strip()}")
        return int(code), str(out)

    def loaded(self) -> str:
        """Return the table as the kernel has it; "" for none."""
        if not self.nft:
            return ""
        code, out = self.run(self.nft, "-s", "list", "table", "inet", TABLE, check=False)
        return out if code == 0 else ""

    def listed(self, text: str) -> str:
        """Return a table as the kernel would have it: it is loaded where there is no network, and listed there."""
        command = f"{self.nft} -f - && {self.nft} -s list table inet {TABLE}"
        code, out, error = self.module.run_command(["unshare", "--net", "sh", "-c", command], data=text)
        if code != 0:
            self.module.fail_json(msg=f"nft refuses the rules, and nothing was changed: {error.strip()}", table=text)
        return str(out)

    def armed(self) -> bool:
        """Return whether rules wait for their confirmation."""
        return self.run("systemctl", "--quiet", "is-active", f"{TIMER}.timer", check=False)[0] == 0

    def disarm(self) -> None:
        """Stop the timer, and forget it."""
        if self.armed():
            self.run("systemctl", "stop", f"{TIMER}.timer")
        self.run("systemctl", "reset-failed", f"{TIMER}.timer", f"{TIMER}.service", check=False)

    def roll_back(self) -> bool:
        """Take back what an earlier run left unconfirmed; return whether there was something."""
        if not self.armed():
            return False
        if not self.module.check_mode:
            self.run(self.nft, "-f", PREVIOUS)
            self.disarm()
        return True

    def stage(self, text: str, seconds: int) -> None:
        """Load rules that go away by themselves unless they are confirmed."""
        os.makedirs(os.path.dirname(STAGED), mode=0o700, exist_ok=True)
        self.write(STAGED, text)
        self.write(PREVIOUS, REMOVE + self.loaded())
        for path in (STAGED, PREVIOUS):
            self.run(self.nft, "--check", "-f", path)
        # The switch comes first: from here on nobody is needed to open the way back in.
        self.run(
            *("systemd-run", "--quiet", "--collect", f"--unit={TIMER}", f"--on-active={seconds}"),
            *("--timer-property=AccuracySec=1s", "--description=Take back unconfirmed rules of the firewall"),
            *(self.nft, "-f", PREVIOUS),
        )
        self.run("systemctl", "--quiet", "is-active", f"{TIMER}.timer")
        if self.run(self.nft, "-f", STAGED, check=False)[0] != 0:
            self.disarm()
            self.module.fail_json(msg="nft refuses the rules, and nothing was changed", table=text)

    def confirm(self) -> None:
        """Keep what was staged."""
        text = read(STAGED)
        if text is None or not self.armed():
            self.module.fail_json(msg="the new rules were taken back before they were confirmed", rolled_back=True)
        self.disarm()
        # It may have fired just before it was stopped.
        if self.loaded() != self.listed(str(text)):
            self.module.fail_json(msg="the new rules were taken back before they were confirmed", rolled_back=True)
        self.write(FILE, str(text))
        os.unlink(STAGED)

    def write(self, path: str, text: str) -> None:
        """Write a file for root alone; a reader sees the old one or the new one."""
        handle, temporary = tempfile.mkstemp(dir=self.module.tmpdir)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o600)
        self.module.atomic_move(temporary, path)


def main() -> None:
    """Keep, confirm or remove the rules."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "confirmed", "absent"], "default": "present"},
            "rules": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "ports": {"type": "list", "elements": "int", "required": True},
                    "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
                    "clients": {"type": "list", "elements": "str", "default": []},
                    "sources": {"type": "list", "elements": "str", "default": []},
                    "comment": {"type": "str", "default": ""},
                },
            },
            "clients": {"type": "dict", "default": {}},
            "rollback_seconds": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    params = module.params
    firewall = Firewall(module)

    if params["state"] == "confirmed":
        firewall.confirm()
        module.exit_json(changed=True, pending=False, removed=False)

    removed = firewall.roll_back()

    if params["state"] == "absent":
        loaded, written = firewall.loaded(), os.path.exists(FILE)
        if not module.check_mode:
            if loaded:
                firewall.run(firewall.nft, "delete", "table", "inet", TABLE)
            if written:
                os.unlink(FILE)
        module.exit_json(changed=bool(removed or loaded or written), pending=False, removed=removed)

    before = read(FILE)
    if params["rules"] is None and before is None:
        module.exit_json(changed=removed, pending=False, removed=removed)
    try:
        sets = {}
        for group, hosts in params["clients"].items():
            sets[group], unresolved = client_networks(hosts, system_addresses)
            for problem in unresolved:
                module.warn(f"{problem}. It is let in from its other addresses only.")
        if params["rules"] is None:
            text = with_clients(str(before), sets)
        else:
            strangers = {group for rule in params["rules"] for group in rule["clients"]} - sets.keys()
            if strangers:
                module.fail_json(msg=f"rules name groups that clients does not have: {', '.join(sorted(strangers))}")
            text = table(params["rules"], sets, system_addresses)
    except Unresolved as error:
        module.fail_json(msg=f"{error}. Nothing was changed.")

    diff = {"before": before or "", "after": text, "before_header": FILE, "after_header": FILE}
    if not firewall.nft:
        if module.check_mode:
            module.exit_json(changed=True, pending=False, removed=removed, diff=diff)
        module.fail_json(msg="there is no nft on this host: install nftables")
    load = firewall.loaded() != firewall.listed(text)
    pending = load and params["rules"] is not None
    if not module.check_mode:
        if pending:
            firewall.stage(text, params["rollback_seconds"])
        else:
            if load:
                firewall.run(firewall.nft, "-f", "-", data=text)
            if text != before:
                firewall.write(FILE, text)
    module.exit_json(
        changed=removed or load or text != before,
        pending=pending and not module.check_mode,
        removed=removed,
        diff=diff,
    )


if __name__ == "__main__":
    main()
