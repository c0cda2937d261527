"""Switches, cables and disks of local machines (podman containers with systemd).

Everything is worked from outside: a machine without network needs no SSH to be healed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from typing import Literal

from airflow_client import wait_for
from cluster_inventory import Cluster

Direction = Literal["both", "incoming", "outgoing"]
LOGS = "/var/lib/airflow/logs"


class Machines:
    """The local machines of a cluster. Each method names its host as the inventory does."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.prefix: str = cluster.variables[cluster.first("control_plane")]["local_machines_prefix"]
        if not self.prefix:
            raise RuntimeError("faults are injected into local machines only; this inventory has others")

    @property
    def names(self) -> list[str]:
        """Every machine of the cluster."""
        return self._cluster.groups["all"]

    @staticmethod
    def _root(*command: str, check: bool = True, errors: bool = False, text: str | None = None) -> str:
        full = [*([] if os.geteuid() == 0 else ["sudo"]), *command]
        done = subprocess.run(full, capture_output=True, text=True, check=False, input=text)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(full)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout + (done.stderr if errors else "")

    def _podman(self, verb: str, name: str, *arguments: str) -> str:
        return self._root("podman", verb, *arguments, f"{self.prefix}-{name}")

    def run(self, name: str, *command: str, check: bool = True, errors: bool = False) -> str:
        """Run a command as root on a machine, whatever its network does; return what it printed.

        :param errors: whether that includes what it wrote to stderr.
        """
        return self._root("podman", "exec", f"{self.prefix}-{name}", *command, check=check, errors=errors)

    def told(self, name: str, text: str, *command: str) -> str:
        """Run a command as root on a machine that reads a text: what it is told stands in no command line."""
        return self._root("podman", "exec", "--interactive", f"{self.prefix}-{name}", *command, text=text)

    def shell(self, name: str, script: str, check: bool = True) -> str:
        """Run a shell script as root on a machine."""
        return self.run(name, "sh", "-euc", script, check=check)

    # --- Power --------------------------------------------------------------------------------------------------------
    def power_off(self, *names: str) -> None:
        """Cut the power of machines at the same moment: nothing gets a chance to say good-bye."""
        self._root("podman", "kill", *(f"{self.prefix}-{name}" for name in names))

    def power_on(self, *names: str) -> None:
        """Start machines, and wait until each has started its units."""
        self._root("podman", "start", *(f"{self.prefix}-{name}" for name in names))
        for name in names:
            self.wait_until_up(name)

    def reboot(self, *names: str) -> None:
        """Shut machines down in order and start them: units are stopped first."""
        for name in names:
            self._podman("stop", name, "--time", "120")
        self.power_on(*names)

    def is_on(self, name: str) -> bool:
        """Return whether a machine is on, booted or not."""
        return self._podman("inspect", name, "--format", "{{.State.Running}}").strip() == "true"

    def wait_until_up(self, name: str, seconds: float = 120) -> None:
        """Wait until a machine has booted."""

        def up() -> bool:
            return self.run(name, "systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

        wait_for(up, what=f"{name} up", seconds=seconds)

    def freeze(self, name: str) -> None:
        """Stop time for a machine: every process, all at once."""
        self._podman("pause", name)

    def thaw(self, name: str) -> None:
        """Let a frozen machine go on."""
        self._podman("unpause", name)

    # --- Network ------------------------------------------------------------------------------------------------------
    def pull_cable(self, name: str) -> None:
        """Take the network interface away."""
        self._root("podman", "network", "disconnect", self.prefix, f"{self.prefix}-{name}")

    def plug_cable(self, name: str) -> None:
        """Give the network interface back, with its addresses and its name (as role local_machines makes them)."""
        address = self._cluster.address(name)
        mac_address = "02:ac:" + ":".join(f"{int(part):02x}" for part in address.split("."))
        options = ["--ip", address, "--mac-address", mac_address, "--alias", name]
        self._root("podman", "network", "connect", *options, self.prefix, f"{self.prefix}-{name}")

    def drop(self, name: str, direction: Direction = "both") -> None:
        """Lose every packet of a machine silently: connections hang where a cut cable would end them."""
        hooks = {"both": ("input", "output"), "incoming": ("input",), "outgoing": ("output",)}[direction]
        chains = [
            f"add chain inet fault {hook} {{ type filter hook {hook} priority 0; }}; "
            f"add rule inet fault {hook} {'iif' if hook == 'input' else 'oif'} != lo drop"
            for hook in hooks
        ]
        # The machine's own program: that of the host, if older, falls over the rules of the machine's firewall.
        self.run(name, "nft", "; ".join(["add table inet fault", *chains]))

    def undrop(self, name: str) -> None:
        """Let packets through again."""
        self.run(name, "nft", "delete table inet fault")

    # --- Services -----------------------------------------------------------------------------------------------------
    def kill_unit(self, name: str, *units: str) -> None:
        """Kill the main process of units with SIGKILL."""
        self.run(name, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", *units)

    def signal_unit(self, name: str, number: str, unit: str) -> None:
        """Send a signal to the main process of a unit."""
        self.run(name, "systemctl", "kill", "--kill-whom=main", f"--signal={number}", unit)

    def restart_unit(self, name: str, *units: str) -> None:
        """Restart units as a person does, without waiting for the end of it."""
        self.run(name, "systemctl", "restart", "--no-block", *units)

    def main_process(self, name: str, unit: str) -> int:
        """Return the id of a unit's main process."""
        return int(self.run(name, "systemctl", "show", "--property=MainPID", "--value", unit))

    def unit_of(self, name: str, pattern: str) -> str:
        """Return the one active unit that matches a pattern."""
        listed = self.run(name, "systemctl", "list-units", "--plain", "--no-legend", "--state=active", pattern)
        return listed.split()[0]

    def silent_workers(self, name: str, workers: Sequence[str]) -> list[str]:
        """Ping Celery workers as the scheduler of a host; return those that do not answer within 3 s.

        Raises ConnectionError when the broker could not be asked at all: that says nothing of the workers.
        """
        # As the scheduler: the broker lets Flower watch workers only, not hand a lost message back, as a ping may.
        said = self.run(
            name,
            *("/usr/local/sbin/airflow-run", "scheduler", "airflow_celery_cluster.worker_ping", "--timeout=3"),
            *(f"celery@{worker}" for worker in workers),
            errors=True,
            check=False,
        )
        silent = [worker for worker in workers if re.search(rf"celery@{re.escape(worker)}\b", said)]
        if said.strip() and not (silent and said.rstrip().endswith("no answer")):
            raise ConnectionError(f"{name} could not ping the workers: {said.strip()}")
        return silent

    # --- Disk ---------------------------------------------------------------------------------------------------------
    def fill_log_disk(self, name: str) -> None:
        """Give the logs a small file system of their own, and fill it to the last byte."""
        self.shell(
            name,
            f"mount -t tmpfs -o size=24m,mode=0755 tmpfs {LOGS}; chown airflow-worker:airflow {LOGS}; "
            f"dd if=/dev/zero of={LOGS}/full bs=64k 2>/dev/null || true",
        )

    def empty_log_disk(self, name: str) -> None:
        """Take the small file system away."""
        self.run(name, "umount", "--lazy", LOGS)

    # --- Memory -------------------------------------------------------------------------------------------------------
    def limit_memory(self, name: str, limit: str) -> None:
        """Change the size of a machine's memory; ``0`` for no limit."""
        self._podman("update", name, "--memory", limit)

    # --- Clock --------------------------------------------------------------------------------------------------------
    def clock_offset(self, name: str, unit: str, seconds: int) -> None:
        """Move the wall clock that one unit sees; it must have been prepared with ``prepare_clock``."""
        self.shell(
            name,
            f"echo '{seconds:+d}' >/run/fault-clock-{unit}.tmp; mv /run/fault-clock-{unit}.tmp /run/fault-clock-{unit}",
        )

    def prepare_clock(self, name: str, unit: str) -> None:
        """Have a unit's processes read their wall clock through libfaketime, whose offset is read from a file.

        Raises RuntimeError on Debian 12: with its libfaketime, every ``time.sleep`` of a Python program fails (EINVAL).
        """
        if 'VERSION_ID="12"' in self.run(name, "cat", "/etc/os-release"):
            raise RuntimeError("Debian 12 has no libfaketime that works with Python: run the clock jumps on Debian 13")
        self.shell(
            name,
            "dpkg -s libfaketime >/dev/null 2>&1 || { apt-get update; apt-get -y install libfaketime; } >/dev/null; "
            f"echo +0 >/run/fault-clock-{unit}; mkdir -p /run/systemd/system/{unit}.service.d; "
            f"library=$(ls /usr/lib/*/faketime/libfaketime.so.1); "
            f"printf '[Service]\\nEnvironment=LD_PRELOAD=%s FAKETIME_TIMESTAMP_FILE=/run/fault-clock-{unit} "
            f'FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_CACHE_DURATION=1\\n\' "$library" '
            f">/run/systemd/system/{unit}.service.d/fault-clock.conf; "
            f"systemctl daemon-reload; systemctl restart {unit}",
        )

    def restore_clock(self, name: str, unit: str) -> None:
        """Give a unit the machine's own clock again."""
        self.shell(
            name,
            f"rm -rf /run/systemd/system/{unit}.service.d/fault-clock.conf /run/fault-clock-{unit}; "
            f"systemctl daemon-reload; systemctl restart {unit}",
        )

    # --- Ledger -------------------------------------------------------------------------------------------------------
    def ledger(self, run_id: str, hosts: Sequence[str]) -> list[str]:
        """Return the lines that the tasks of a DAG run wrote on these machines; a machine that is off adds none."""
        lines: list[str] = []
        for name in hosts:
            text = self.run(name, "cat", f"/var/lib/airflow/ledger/{run_id}.jsonl", check=False)
            lines += text.splitlines()
        return lines
