"""Debian packages and Python packages of the hosts: the same on all hosts of a pool, and nothing left of a build."""

from __future__ import annotations

from collections.abc import Callable

from cluster_inventory import Cluster
from testinfra.host import Host

Connect = Callable[[str], Host]


def debian_packages(host: Host) -> set[str]:
    """Return the installed Debian packages with their versions."""
    shown = host.check_output("dpkg-query --show --showformat='${db:Status-Abbrev}${binary:Package}=${Version}\n'")
    return {line.split()[1] for line in shown.splitlines() if line.startswith("ii")}


def test_the_workers_have_the_same_debian_packages(cluster: Cluster, connect: Connect) -> None:
    """One of them has built the runtime: what that needed must not decide what tasks can do there."""
    first, *others = cluster.workers
    expected = debian_packages(connect(first))
    assert others
    for worker in others:
        found = debian_packages(connect(worker))
        assert found == expected, f"{worker}: {sorted(found ^ expected)}"


def test_a_task_can_make_a_virtual_environment_on_every_worker(worker: str, connect: Connect) -> None:
    """With the worker's own user and interpreter, as Airflow's virtualenv operators do."""
    environment = "/tmp/test-venv"
    connect(worker).check_output(
        f"runuser -u airflow-worker -- /opt/airflow/current/bin/python -m venv --clear {environment}"
        f" && {environment}/bin/pip --version && rm -rf {environment}"
    )
