"""The benchmark's own machines, their inventory, and Ansible on them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from cluster_inventory import PROJECT, Cluster, ansible_program, default_of

from bench.progress import tell
from bench.shapes import BY_NAME
from bench.stock import API_PORT, REDIS_PORT

PREFIX = "acc-bench"
SUBNET = "10.77.99.0/24"
LOG = PROJECT / "artifacts/bench.log"
DAGS = Path(__file__).parent / "dags"
# The task whose heartbeats are sent.
OTHER_DAGS = (PROJECT / "dags/cluster_check_dag.py",)
MACHINES = "playbooks/local_machines.yml"
CONTROL_GROUPS = (
    *("postgres", "redis", "haproxy", "airflow_scheduler", "airflow_api_server"),
    *("airflow_dag_processor", "airflow_triggerer", "flower"),
)


@dataclass(frozen=True)
class Play:
    """One run of ansible-playbook.

    :param tasks: how many tasks each host had, from the recap.
    """

    seconds: float
    tasks: dict[str, int]


def recap(output: str) -> dict[str, int]:
    """Return how many tasks each host of a run had; skipped ones do not count."""
    lines = output.rpartition("PLAY RECAP")[2]
    return {host: int(count) for host, count in re.findall(r"^(\S+) +: ok=(\d+) ", lines, re.MULTILINE)}


def inventory(workers: int) -> dict[str, object]:
    """Return an inventory of one control node and some workers."""
    # The plan of the memory for fifty-one workers needs more than the demo's 2 GB.
    hosts: dict[str, object] = {"control1": {"ansible_host": "10.77.99.11", "airflow_host_memory_mb": 4096}}
    names = [f"worker{number}" for number in range(1, workers + 1)]
    hosts |= {name: {"ansible_host": f"10.77.99.{20 + number}"} for number, name in enumerate(names, 1)}
    children: dict[str, object] = {group: {"hosts": {"control1": {}}} for group in CONTROL_GROUPS}
    children["airflow_worker"] = {"hosts": {name: {} for name in names}}
    children["control_plane"] = {"children": {group: {} for group in CONTROL_GROUPS}}
    airflow = [group for group in (*CONTROL_GROUPS, "airflow_worker") if group.startswith(("airflow", "flower"))]
    children["airflow"] = {"children": {group: {} for group in airflow}}
    return {"all": {"hosts": hosts, "children": children}}


class Site:
    """Machines of a prefix and a network of their own, with the settings of the demo.

    :param work: a directory of the benchmark, for inventory, DAGs and the runtime that is built.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self.inventory = work / "inventory"
        self.dags = work / "dags"
        self.cache = work / "cache"

    def prepare(self, workers: int) -> None:
        """Write inventory, settings and DAGs."""
        (self.inventory / "group_vars/all").mkdir(parents=True, exist_ok=True)
        settings = yaml.safe_load((PROJECT / "inventory/local/group_vars/all/main.yml").read_text())
        settings |= {
            "local_machines_prefix": PREFIX,
            "local_machines_subnet": SUBNET,
            "local_machines_dir": str(PROJECT / ".local" / PREFIX),
            # A fresh deployment builds the runtime, as the very first one of a site does.
            "airflow_runtime_cache_dir": str(self.cache),
            "airflow_dags_dir": str(self.dags),
            # Stock Airflow, while it takes the place of the cluster.
            "firewall_extra_rules": [
                {
                    "ports": [API_PORT, REDIS_PORT, default_of("postgres_port", "postgres")],
                    "sources": [SUBNET],
                    "comment": "bench",
                }
            ],
        }
        (self.inventory / "group_vars/all/main.yml").write_text(yaml.safe_dump(settings, width=1000))
        shutil.rmtree(self.dags, ignore_errors=True)
        shutil.copytree(DAGS, self.dags, ignore=shutil.ignore_patterns("__pycache__"))
        small = self.dags / "bench_many.py"
        for number in range(BY_NAME["many"].dags):
            shutil.copy(small, self.dags / f"bench_many_{number:02}.py")
        small.unlink()
        for file in OTHER_DAGS:
            shutil.copy(file, self.dags)
        self.write_hosts(workers)

    def write_hosts(self, workers: int) -> None:
        """Change the number of workers in the inventory."""
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(inventory(workers)))

    def play(self, playbook: str, *arguments: str) -> Play:
        """Run a playbook; its output goes to a log. Raises RuntimeError if it fails."""
        tell(f"{' '.join((playbook, *arguments))} ...")
        begun = time.monotonic()
        done = subprocess.run(
            [ansible_program("ansible-playbook"), "-i", str(self.inventory), playbook, *arguments],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            check=False,
        )
        seconds = time.monotonic() - begun
        LOG.parent.mkdir(exist_ok=True)
        with LOG.open("a") as file:
            file.write(done.stdout)
        if done.returncode != 0:
            raise RuntimeError(f"ansible-playbook {playbook} {' '.join(arguments)} failed; see {LOG}")
        tell(f"{playbook}: {seconds:.0f} s")
        return Play(seconds, recap(done.stdout))

    def make_machines(self, *arguments: str) -> None:
        """Make the machines of the inventory that are not there."""
        self.play(MACHINES, *arguments)
        self.play("playbooks/secrets.yml", "-e", "airflow_secrets_plaintext=true")

    def remove_machines(self) -> None:
        """Remove every machine of the benchmark."""
        self.play(MACHINES, "-e", "local_machines_state=absent")

    def begin_anew(self, workers: int) -> None:
        """Replace all machines by fresh ones, and forget the runtime that was built."""
        self.remove_machines()
        shutil.rmtree(self.cache, ignore_errors=True)
        self.write_hosts(workers)
        self.make_machines()

    def locks(self) -> list[Path]:
        """Return the locks of the runtime that were resolved for this inventory."""
        return list(self.inventory.glob("runtime-lock-*.txt"))

    def cluster(self) -> Cluster:
        """Return the cluster as the inventory describes it."""
        return Cluster.read(self.inventory)
