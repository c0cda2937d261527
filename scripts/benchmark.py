"""Time deployments on local machines: fresh, a second run, the second worker and the fiftieth.

The machines are of this script's own making (prefix acc-bench) and are removed
at the end. Everything is measured in one run, because only the ratios travel:
prints a Markdown table with seconds and with the ratio to the first line.

The fiftieth worker is added to an inventory of fifty of which 47 are no machines:
an addition that asked one of them for anything would fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CONTROL_GROUPS = (
    *("postgres", "redis", "haproxy", "airflow_scheduler", "airflow_api_server"),
    *("airflow_dag_processor", "airflow_triggerer", "flower"),
)


def write_inventory(folder: Path, workers: int) -> None:
    """Write an inventory of one control node and the workers from 1 on; settings are those of the demo."""
    hosts = {"control1": {"ansible_host": "10.77.99.11"}}
    names = [f"worker{number}" for number in range(1, workers + 1)]
    hosts |= {name: {"ansible_host": f"10.77.99.{20 + number}"} for number, name in enumerate(names, 1)}
    children: dict[str, object] = {group: {"hosts": {"control1": {}}} for group in CONTROL_GROUPS}
    children["airflow_worker"] = {"hosts": {name: {} for name in names}}
    children["control_plane"] = {"children": {group: {} for group in CONTROL_GROUPS}}
    airflow = [group for group in (*CONTROL_GROUPS, "airflow_worker") if group.startswith(("airflow", "flower"))]
    children["airflow"] = {"children": {group: {} for group in airflow}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": children}}))


def play(inventory: Path, log: Path, *arguments: str) -> float:
    """Run ansible-playbook and return its wall time in seconds; its output goes to a log."""
    begun = time.monotonic()
    with log.open("a") as file:
        done = subprocess.run(
            [ROOT / ".venv/bin/ansible-playbook", "-i", inventory, *arguments],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"ansible-playbook {' '.join(arguments)} failed; see {log}")
    return time.monotonic() - begun


def main() -> int:
    """Measure and print."""
    work = Path(tempfile.mkdtemp(prefix="airflow-benchmark-"))
    log = work / "ansible.log"
    inventory = work / "inventory"
    (inventory / "group_vars/all").mkdir(parents=True)
    settings = yaml.safe_load((ROOT / "inventory/local/group_vars/all/main.yml").read_text())
    settings |= {
        "local_machines_prefix": "acc-bench",
        "local_machines_subnet": "10.77.99.0/24",
        "local_machines_dir": str(ROOT / ".local/acc-bench"),
        # Every fresh deployment builds the runtime, as the very first one of a site does.
        "airflow_runtime_cache_dir": str(work / "cache"),
    }
    (inventory / "group_vars/all/main.yml").write_text(yaml.safe_dump(settings, width=1000))
    machines = "playbooks/local_machines.yml"
    rows: list[tuple[str, float]] = []
    try:
        for workers in (3, 1):
            write_inventory(inventory, workers)
            shutil.rmtree(work / "cache", ignore_errors=True)
            play(inventory, log, machines, "-e", "local_machines_state=absent")
            play(inventory, log, machines)
            play(inventory, log, "playbooks/secrets.yml", "-e", "airflow_secrets_plaintext=true")
            rows.append((f"fresh deployment, {workers} worker{'s' * (workers > 1)}", play(inventory, log, "site.yml")))
        rows.append(("second run, 1 worker", play(inventory, log, "site.yml")))
        for number in (2, 50):
            write_inventory(inventory, number)
            added = ("--limit", f"worker{number}")
            play(inventory, log, machines, *added)
            rows.append((f"worker{number} added to {number - 1}, --limit", play(inventory, log, "site.yml", *added)))
    finally:
        play(inventory, log, machines, "-e", "local_machines_state=absent")
    print("| operation | seconds | ratio |\n|---|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.0f} | {seconds / rows[0][1]:.2f} |")
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
