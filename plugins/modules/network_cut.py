#!/usr/bin/python
"""Cut a host off from the network, all but one SSH client, and never for ever."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: network_cut
short_description: Drop all packets of a host except those of one SSH client
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Adds an nftables table of its own that drops everything but loopback and the SSH connections of one client.
    The host's other rules are left alone, and no file is written.
  - Before the cut, a systemd timer is started that deletes the table. The cut ends with that timer at the latest,
    whatever becomes of the controller. A restart of the host ends it, too.
  - What an earlier run left behind is removed first.
options:
  state:
    description: C(present) cuts, C(absent) heals. C(absent) on a host that is not cut off changes nothing.
    type: str
    choices: [present, absent]
    default: present
  ssh_connection:
    description:
      - What sshd put into C(SSH_CONNECTION) for the client that is to keep its way in.
      - Required if O(state=present).
    type: str
  at_most:
    description: Seconds after which the cut ends by itself.
    type: int
    default: 300
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Cut the host off
  airflow_celery.cluster.network_cut:
    ssh_connection: "{{ ssh.stdout }}"
    at_most: 120

- name: Heal it
  airflow_celery.cluster.network_cut:
    state: absent
"""

RETURN = r"""
time:
  description: When it was done, in seconds since the epoch on the host's clock.
  returned: always
  type: float
"""

import os
import time
from ipaddress import ip_address
from typing import Any

from ansible.module_utils.basic import AnsibleModule

TABLE = "airflow_failover_drill"
TIMER = "airflow-failover-drill-heal"


def rules(ssh_connection: str) -> str:
    """Return the table for ``nft -f``.

    :param ssh_connection: ``client-address client-port server-address server-port``, as sshd says it.
    :raises ValueError: if it is something else.
    """
    parts = ssh_connection.split()
    if len(parts) != 4:
        raise ValueError(f"{ssh_connection!r} is not what sshd puts into SSH_CONNECTION")
    client = ip_address(parts[0].partition("%")[0])
    port = int(parts[3])
    mapped = getattr(client, "ipv4_mapped", None)
    client = mapped or client
    family = "ip" if client.version == 4 else "ip6"
    # Without neighbour discovery, which is ICMP, no IPv6 connection survives.
    extra = "" if client.version == 4 else "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; "
    chain = "  chain {hook} {{ type filter hook {hook} priority -10; policy drop; {accept}}}"
    return "\n".join(
        [
            f"table inet {TABLE} {{",
            chain.format(
                hook="input", accept=f"iif lo accept; {extra}{family} saddr {client} tcp dport {port} accept; "
            ),
            chain.format(
                hook="output", accept=f"oif lo accept; {extra}{family} daddr {client} tcp sport {port} accept; "
            ),
            chain.format(hook="forward", accept=""),
            "}",
            "",
        ]
    )


def main() -> None:
    """Cut or heal."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "ssh_connection": {"type": "str"},
            "at_most": {"type": "int", "default": 300},
        },
        required_if=[("state", "present", ("ssh_connection",))],
        supports_check_mode=True,
    )
    # Absolute: the timer's unit has no sbin in its path on every system.
    nft = module.get_bin_path("nft", required=True, opt_dirs=["/usr/sbin", "/sbin"])

    def run(*command: str, data: str | None = None, check: bool = True) -> int:
        code, out, error = module.run_command(list(command), data=data)
        if check and code != 0:
            module.fail_json(msg=f"{' '.join(command)}: {error.strip() or out.strip()}")
        return int(code)

    def there() -> bool:
        return run(nft, "list", "table", "inet", TABLE, check=False) == 0

    def heal() -> bool:
        cut = there()
        if cut and not module.check_mode:
            run(nft, "delete", "table", "inet", TABLE)
        timer = run("systemctl", "--quiet", "is-active", f"{TIMER}.timer", check=False) == 0
        if not module.check_mode:
            if timer:
                run("systemctl", "stop", f"{TIMER}.timer")
            run("systemctl", "reset-failed", f"{TIMER}.timer", f"{TIMER}.service", check=False)
        return cut or timer

    if module.params["state"] == "absent":
        changed = heal()
        module.exit_json(changed=changed, time=time.time())

    try:
        table = rules(module.params["ssh_connection"])
    except ValueError as error:
        module.fail_json(msg=f"{error}: the controller must reach this host by SSH")
    result: dict[str, Any] = {"changed": True}
    if not module.check_mode:
        heal()
        # The switch comes first: from here on nobody is needed to end the cut.
        run(
            *("systemd-run", "--quiet", "--collect", f"--unit={TIMER}", f"--on-active={module.params['at_most']}"),
            *("--timer-property=AccuracySec=1s", "--description=End the cut of the failover drill"),
            *(nft, "delete", "table", "inet", TABLE),
        )
        run("systemctl", "--quiet", "is-active", f"{TIMER}.timer")
        if run(nft, "--check", "-f", "-", data=table, check=False) or run(nft, "-f", "-", data=table, check=False):
            heal()
            module.fail_json(msg=f"nft refuses the table on {os.uname().nodename}; nothing was cut", table=table)
    module.exit_json(**result, time=time.time())


if __name__ == "__main__":
    main()
