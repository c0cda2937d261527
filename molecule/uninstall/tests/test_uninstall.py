"""The cluster is removed, deployed again with its data, and removed with its data: the machines are as fresh ones."""

from __future__ import annotations

import re

import pytest
from cluster_inventory import Cluster
from faults.harness import DAG
from faults.machines import Machines
from faults.operation import Playbooks

UNINSTALL = "playbooks/uninstall.yml"
CONFIRM = ("-e", "cluster_confirm=inventory")
ALL = ("-e", "cluster_uninstall_data=yes", "-e", "cluster_uninstall_packages=yes")
# What packages leave behind when they are purged, and what a machine writes by itself. Package e2fsprogs comes as a
# dependency, and Debian does not remove it again.
VOLATILE = (
    r"/etc/(default/locale|locale\.conf)",
    r"/etc/(cron\.d|e2scrub\.conf|mke2fs\.conf|.*/e2scrub_[a-z_]*(\.timer|\.service)?)",
    r"/var/lib/haproxy(/.*)?",
    r"(user|group) (postgres|ssl-cert)",
    r"unit (e2scrub|session-).*",
    r"/root/\.ansible(_async|/.*)?",
    r"/etc/(ld\.so\.cache|machine-id|hostname|hosts|resolv\.conf|mtab|\.pwd\.lock|(passwd|group|shadow|gshadow|sub[ug]id)-?)",
    r"/etc/(alternatives|ssh|ssl/certs|rc[0-9S]\.d|python3(\.\d+)?|perl)(/.*)?",
    r"/var/lib/(apt|dpkg|systemd|ucf|private|python|dbus|pam)(/.*)?",
    r"/var/cache/(apt|debconf|ldconfig|man|private)(/.*)?",
)
STATE = """
find /etc /opt /usr/local /srv /var/lib /var/cache /root -xdev | sort
getent passwd | cut -d: -f1 | sed 's/^/user /' | sort
getent group | cut -d: -f1 | sed 's/^/group /' | sort
systemctl list-unit-files --no-legend --no-pager | awk '{print "unit " $1, $2}' | sort
ss -Hltn | awk '{print "port " $4}' | sort -u
if command -v nft >/dev/null; then nft list tables; fi
"""

pytestmark = pytest.mark.long


def state(machines: Machines, name: str) -> set[str]:
    """Return files, users, groups, units, ports and firewall tables of a machine."""
    lines = machines.shell(name, STATE).splitlines()
    return {line for line in lines if not any(re.fullmatch(pattern, line) for pattern in VOLATILE)}


def test_without_confirmation_nothing_is_touched(cluster: Cluster, playbooks: Playbooks) -> None:
    done = playbooks.run(UNINSTALL, *ALL).must_fail("-e cluster_confirm=inventory")
    assert done.changed == 0
    assert "REMOVE THE DATA" in done.text
    playbooks.run(UNINSTALL, "-e", "cluster_confirm=other").must_fail("other is not the name of this cluster")
    assert "Healthy." in playbooks.run("playbooks/status.yml").must_succeed().output


def test_the_data_stays_and_the_cluster_comes_back(cluster: Cluster, machines: Machines, playbooks: Playbooks) -> None:
    control = cluster.first("postgres")
    client = cluster.client()
    client.wait_for_dag(DAG, seconds=120)
    client.pause(DAG, False)
    run_id = client.trigger(DAG, {"tasks": 2, "seconds": 1})
    assert client.wait_for_run(DAG, run_id, seconds=120).state == "success"

    # The worst moment: the units are gone, and nothing else.
    playbooks.kill_at(r"Absent \| Remove the users", UNINSTALL, *CONFIRM)
    playbooks.run(UNINSTALL, *CONFIRM).must_succeed()
    assert playbooks.run(UNINSTALL, *CONFIRM).must_succeed().changed == 0
    for name in (control, *cluster.workers):
        left = machines.shell(
            name,
            """systemctl list-units --no-legend --plain 'airflow*' 'postgresql@*' redis-server.service haproxy.service
            getent passwd | grep ^airflow || true
            find /etc /opt /usr/local -name '*airflow*' -not -name airflow.conf.uninstalled
            ss -Hltn | awk '{print $4}' | grep -v ':22$' | grep -v '^127.0.0.11:' || true""",
        )
        assert left == "", name
        assert "airflow" not in machines.shell(name, "command -v nft >/dev/null && nft list tables || true")
    assert machines.shell(control, "ls -d /var/lib/postgresql/*/main /var/lib/pgbackrest/backup").strip()
    assert machines.shell(cluster.workers[0], "ls /var/lib/airflow/logs").strip()

    playbooks.run("site.yml").must_succeed()
    assert playbooks.run("site.yml").must_succeed().changed == 0
    client = cluster.client()
    assert machines.shell(control, "cat /etc/postgresql/*/*/start.conf").split() == ["auto", "auto"]
    # The runs of before are in the database, and new ones run.
    assert client.call("GET", f"/dags/{DAG}/dagRuns/{run_id}")["state"] == "success"
    again = client.trigger(DAG, {"tasks": 2, "seconds": 1})
    assert client.wait_for_run(DAG, again, seconds=120).state == "success"


def test_one_host_alone(cluster: Cluster, machines: Machines, playbooks: Playbooks) -> None:
    worker = cluster.workers[-1]
    playbooks.run(UNINSTALL, *CONFIRM, "--limit", worker).must_succeed()
    assert machines.shell(worker, "getent passwd | grep ^airflow || true") == ""
    assert machines.run(cluster.workers[0], "systemctl", "is-active", "airflow-worker").strip() == "active"


def purge(machines: Machines, names: list[str], report: str) -> None:
    """Remove the packages that the report names, as it says, and without what other packages suggest only."""
    settings = "-o APT::AutoRemove::SuggestsImportant=false -o APT::AutoRemove::RecommendsImportant=false"
    [*commands] = re.findall(r"apt-get purge ([a-z0-9. -]+) && apt-get autoremove", report)
    assert commands
    packages = " ".join(sorted({package for command in commands for package in command.split()}))
    for name in names:
        machines.shell(name, f"apt-get purge -qq -y {packages} && apt-get autoremove {settings} -qq -y --purge")


def test_nothing_is_left_but_what_a_fresh_machine_has(
    cluster: Cluster, machines: Machines, playbooks: Playbooks
) -> None:
    playbooks.run("playbooks/local_machines.yml", "--limit", "fresh1").must_succeed()
    fresh, names = state(machines, "fresh1"), [cluster.first("postgres"), *cluster.workers]
    purge(machines, names, playbooks.run(UNINSTALL, *CONFIRM, *ALL).must_succeed().text)
    for name in names:
        found = state(machines, name)
        assert (sorted(found - fresh), sorted(fresh - found)) == ([], []), name

    # The packages first, and the data later
    playbooks.run("site.yml").must_succeed()
    playbooks.run(UNINSTALL, *CONFIRM, "-e", "cluster_uninstall_packages=yes").must_succeed()
    kept = "ls -d /var/lib/postgresql/*/main /var/lib/redis/appendonlydir /var/lib/pgbackrest/backup"
    assert len(machines.shell(names[0], kept).split()) == 3
    done = playbooks.run(UNINSTALL, *CONFIRM, *ALL).must_succeed()
    assert playbooks.run(UNINSTALL, *CONFIRM, *ALL).must_succeed().changed == 0
    purge(machines, names, done.text)
    for name in names:
        found = state(machines, name)
        assert (sorted(found - fresh), sorted(fresh - found)) == ([], []), name
