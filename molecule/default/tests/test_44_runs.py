"""How a person may run site.yml: with passwords for SSH and sudo, and for one part of the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_inventory import Cluster
from conftest import Play, restarted
from test_40_operations import Starts, extra

# They take minutes each, and nothing in them depends on the release of Debian.
pytestmark = [pytest.mark.long, pytest.mark.same_everywhere]

LOGIN = "deployer"
PASSWORD = "Login-4711"


@pytest.fixture(scope="module", autouse=True)
def deployed(play: Play) -> None:
    """The cluster as its inventory describes it: the tests before have left other settings."""
    play().must_succeed()


@pytest.fixture
def password_login(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """The options of a login that every machine lets in with a password, and whose sudo asks for one.

    The SSH server is restarted, because the ``kill -HUP`` of its unit fails in the Turkish locale of the machines.
    """
    cluster.command(
        "all",
        "sh",
        "-ec",
        f"useradd --create-home --groups sudo --shell /bin/bash {LOGIN}; echo '{LOGIN}:{PASSWORD}' | chpasswd; "
        "echo 'PasswordAuthentication yes' > /etc/ssh/sshd_config.d/00-password.conf; systemctl restart ssh",
    )
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    yield (
        *extra(ansible_user=LOGIN),
        *("--connection-password-file", str(file), "--become-password-file", str(file)),
    )
    cluster.command(
        "all",
        "sh",
        "-ec",
        "rm /etc/ssh/sshd_config.d/00-password.conf; systemctl restart ssh; "
        # Connections that Ansible keeps open are processes of the login.
        f"pkill --signal KILL --uid {LOGIN} || true; userdel --remove --force {LOGIN}",
    )


def test_passwords_for_ssh_and_sudo_are_enough(
    cluster: Cluster, play: Play, starts: Starts, password_login: tuple[str, ...]
) -> None:
    before = starts()
    done = play(*password_login).must_succeed()
    assert set(done.hosts) == set(cluster.groups["all"])
    assert restarted(before, starts()) == set()
    for lines in cluster.command("all", "journalctl", "--unit=ssh", "--since=-1h", "--output=cat").values():
        assert any(line.startswith(f"Accepted password for {LOGIN} ") for line in lines), lines[-20:]


def test_a_run_of_one_part_leaves_the_others_alone(cluster: Cluster, play: Play, starts: Starts) -> None:
    # Neither changes the memory plan, which the parts of a host share.
    changed = extra(airflow_worker_watchdog_timeout=61, airflow_triggerer_environment={"SAMPLE": "1"})
    before = starts()
    play("--tags", "airflow_worker", *changed).must_succeed()
    assert restarted(before, starts()) == {f"{worker}:airflow-worker-watchdog" for worker in cluster.workers}
    # What has no new settings yet is drift.
    triggerers = cluster.groups["airflow_triggerer"]
    pending = play("--check", *changed).must_succeed()
    assert {host for host, numbers in pending.hosts.items() if numbers["changed"]} == set(triggerers)
    before = starts()
    play("--tags", "airflow_triggerer", *changed).must_succeed()
    assert restarted(before, starts()) == {f"{host}:airflow-triggerer" for host in triggerers}
    assert play("--check", *changed).must_succeed().count("changed") == 0
    play().must_succeed()
