"""This project's cluster as one side of the comparison: its units can be stopped and started again."""

from __future__ import annotations

from airflow_client import AirflowClient
from cluster_inventory import Cluster
from faults.machines import Machines

from bench.progress import step
from bench.shapes import wait_until_healthy

# PostgreSQL with the metadata stays: stock Airflow has a database of its own in it.
PATTERNS = (
    *("airflow-*.service", "airflow-*.timer", "airflow-*.path", "airflow-*.socket"),
    *("haproxy.service", "redis-server.service", "postgresql@*-results.service"),
)
KEPT = "airflow-firewall.service"


def units_to_stop(listed: str) -> list[str]:
    """Return the units of the cluster among those that systemctl lists, without the firewall."""
    return [unit for line in listed.splitlines() if line.strip() and (unit := line.split()[0]) != KEPT]


class Ours:
    """The cluster that the roles deploy."""

    def __init__(self, cluster: Cluster, machines: Machines) -> None:
        self._cluster = cluster
        self._machines = machines
        self._stopped: dict[str, list[str]] = {}

    def client(self) -> AirflowClient:
        """Return a client that speaks as the admin."""
        return self._cluster.client()

    def stop(self) -> None:
        """Stop every unit of the cluster, and remember which these were."""
        with step("our cluster: stop"):
            for host in (*self._cluster.workers, self._cluster.first("control_plane")):
                listed = self._machines.run(
                    host, "systemctl", "list-units", "--plain", "--no-legend", "--state=active", *PATTERNS
                )
                self._stopped.setdefault(host, [])
                self._stopped[host] += [unit for unit in units_to_stop(listed) if unit not in self._stopped[host]]
                if self._stopped[host]:
                    self._machines.run(host, "systemctl", "stop", *self._stopped[host])

    def start(self) -> None:
        """Start the units that were stopped, and wait until all components are healthy."""
        with step("our cluster: start"):
            for host in reversed(list(self._stopped)):
                if self._stopped[host]:
                    self._machines.run(host, "systemctl", "start", *self._stopped[host])
                del self._stopped[host]
            wait_until_healthy(self.client(), "our cluster")
