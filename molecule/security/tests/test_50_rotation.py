"""New secrets for a cluster at work: no task notices, the old ones are refused, an interrupted rotation continues."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
from pathlib import Path

import pytest
import yaml
from airflow_client import AirflowClient, ApiError, http, wait_for
from cluster_inventory import PROJECT, SECRETS, Cluster, ansible_program
from conftest import find_secrets, strays
from cryptography import x509
from faults import ledger
from faults.load import LOAD, Load
from faults.machines import Machines

pytestmark = pytest.mark.long

SHOWN = "not a secret of the cluster itself"


def rotate(cluster: Cluster, log: Path) -> subprocess.Popen[bytes]:
    """Start a rotation of all secrets that says all that Ansible can say."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [
                *(ansible_program("ansible-playbook"), *cluster.options, "playbooks/rotate_secrets.yml"),
                # Longer than a certificate is valid: each run of site.yml renews them all.
                *("-e", "cluster_rotate=all", "-e", "certificates_renew_days=400", "--diff", "-vvv"),
            ],
            cwd=PROJECT,
            env=os.environ | {"ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def secrets_of(cluster: Cluster) -> dict[str, str]:
    """Return all secrets by name."""
    return {name: cluster.password(name) for name in SECRETS}


def file_of(cluster: Cluster) -> dict[str, object]:
    """Return what the secrets file holds."""
    loaded = yaml.safe_load((cluster.inventories[0] / "group_vars/all/secrets.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def certificates(cluster: Cluster) -> dict[str, str]:
    """Return the serial number of the certificate of each service of the control node."""
    machines, control = Machines(cluster), cluster.first("haproxy")
    shown = machines.shell(
        control,
        "for name in haproxy postgres redis; do "
        "echo $name $(openssl x509 -noout -serial -in /etc/airflow/tls/$name.pem); done",
    )
    return dict(line.split(" ", 1) for line in shown.splitlines())


@pytest.fixture(scope="module")
def rotated(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], Cluster, Load, str, str]:
    """All secrets before, the cluster after, what ran meanwhile, what Ansible said, and a token from before."""
    machines, control = Machines(cluster), cluster.first("airflow_scheduler")
    machines.run(control, "airflow", "variables", "set", "rotation", SHOWN)
    connection = ("airflow", "connections", "add", "rotation", "--conn-type", "http", "--conn-password", SHOWN)
    machines.run(control, "airflow", "connections", "delete", "rotation", check=False)
    machines.run(control, *connection)
    client = cluster.client()
    # Else it would not begin one, but finish that one.
    assert "airflow_secrets_previous" not in file_of(cluster)
    before, token = secrets_of(cluster) | certificates(cluster), client.token()
    log = tmp_path_factory.mktemp("rotation") / "log"
    with Load(cluster) as load:
        # The controller dies when some have moved to the new secrets, and some have not.
        process = rotate(cluster, log)
        try:
            wait_for(
                lambda: "airflow_secrets_previous" in file_of(cluster) or process.poll() is not None,
                what="the switch",
                seconds=900,
            )
            first = log.stat().st_size
            wait_for(
                lambda: (
                    b"TASK [airflow_celery.cluster.airflow : Process | Ensure the unit is running: scheduler]"
                    in log.read_bytes()[first:]
                    or process.poll() is not None
                ),
                what="the scheduler's turn",
                seconds=600,
            )
            assert process.poll() is None, log.read_text()[-5000:]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output = log.read_text()
        process = rotate(cluster, log)
        assert process.wait(timeout=1800) == 0, log.read_text()[-5000:]
        output += log.read_text()
    return before, Cluster.read(*cluster.inventories), load, output, token


Rotated = tuple[dict[str, str], Cluster, Load, str, str]


def test_no_task_was_lost_or_ran_twice_or_failed(rotated: Rotated) -> None:
    _, cluster, load, _, _ = rotated
    assert len(load.runs) > 10
    assert set(load.runs.values()) == {"success"}
    machines = Machines(cluster)
    for run_id in load.runs:
        found = ledger.read(machines.ledger(run_id, cluster.workers))
        assert ledger.lost(found, [f"load[{number}]" for number in range(LOAD["tasks"])]) == []
        assert ledger.overlapping(found) == []


def test_every_secret_is_new_and_none_is_left_over(rotated: Rotated) -> None:
    before, cluster, _, output, _ = rotated
    after = secrets_of(cluster)
    # A repository of backups keeps its passphrase.
    assert [name for name in SECRETS if before[name] == after[name]] == ["backup_passphrase"]
    assert {"airflow_secrets_next", "airflow_secrets_previous"} & file_of(cluster).keys() == set()
    assert "A rotation was interrupted; this run finishes it" in output


def test_neither_old_nor_new_secrets_were_printed(rotated: Rotated) -> None:
    before, cluster, _, output, _ = rotated
    assert "airflow-run" in output  # it says a lot
    after = secrets_of(cluster)
    assert [name for name in SECRETS if before[name] in output or after[name] in output] == []


def test_old_and_new_secrets_are_where_they_are_kept(rotated: Rotated) -> None:
    before, cluster, _, _, _ = rotated
    old = {f"old {name}": before[name] for name in SECRETS}
    assert strays(find_secrets(cluster, old | secrets_of(cluster))) == set()


def test_what_was_encrypted_is_still_readable(rotated: Rotated) -> None:
    cluster = rotated[1]
    machines, control = Machines(cluster), cluster.first("airflow_scheduler")
    assert SHOWN in machines.run(control, "airflow", "variables", "get", "rotation")
    assert SHOWN in machines.run(control, "airflow", "connections", "get", "rotation", "-o", "yaml")


def test_the_old_secrets_are_refused(rotated: Rotated) -> None:
    before, now, _, _, token = rotated
    machines, control = Machines(now), now.first("postgres")
    # The token from before, and the logins from before
    for bearer, expected in ((token, 403), (now.client().token(), 200)):
        headers = {"Authorization": f"Bearer {bearer}"}
        status, _ = http("GET", f"{now.url}/api/v2/dags", headers=headers, ca_file=now.ca_file)
        assert status == expected
    with pytest.raises(ApiError) as refused:
        AirflowClient(now.url, "admin", before["airflow_admin_password"], now.ca_file).token()
    assert refused.value.status == 401
    for url, login in (
        (f"{now.flower_url}/api/workers", ("flower", before["flower_password"])),
        (f"{now.flower_url}/api/workers", now.flower_login),
    ):
        status, _ = http("GET", url, login=login, ca_file=now.ca_file)
        assert status == (200 if login == now.flower_login else 401)
    for user, name in (("airflow", "airflow_broker_password"), ("flower", "flower_broker_password")):
        for password, answer in ((before[name], "WRONGPASS"), (now.password(name), "PONG")):
            said = machines.shell(
                control,
                f"printf 'AUTH {user} {password}\\nPING\\n' | "
                "redis-cli --tls --cacert /etc/airflow/tls/ca.pem 2>&1 || true",
            )
            assert answer in said
    program = (
        "import sys, psycopg2; user, password, name, port = sys.stdin.read().split(); "
        "psycopg2.connect(host='127.0.0.1', user=user, password=password, dbname=name, port=port)"
    )
    for users, database, port, name in (
        (("airflow", "airflow_b"), "airflow", 5432, "airflow_database_password"),
        (("celery", "celery_b"), "celery_results", 5433, "airflow_results_password"),
    ):
        worked = {
            (user, which)
            for user in users
            for which, password in (("old", before[name]), ("new", now.password(name)))
            if "connected"
            in machines.shell(
                control,
                f"echo '{user} {password} {database} {port}' | "
                f'/opt/airflow/current/bin/python -c "{program}" && echo connected || true',
            )
        }
        assert len(worked) == 1, worked
        assert {which for _, which in worked} == {"new"}


def test_certificates_were_renewed_and_are_served(rotated: Rotated) -> None:
    before, cluster, _, _, _ = rotated
    now = certificates(cluster)
    assert [name for name, serial in now.items() if serial == before[name]] == []
    served = ssl.get_server_certificate((cluster.address(cluster.first("haproxy")), 443))
    serial = x509.load_pem_x509_certificate(served.encode()).serial_number
    assert int(now["haproxy"].removeprefix("serial="), 16) == serial


def test_the_authority_opens_with_the_new_passphrase_only(rotated: Rotated) -> None:
    before, cluster, _, _, _ = rotated
    key = cluster.ca_file.with_name("ca.key")

    def opens(passphrase: str) -> bool:
        command = ["openssl", "pkey", "-in", str(key), "-noout", "-passin", "env:PASSPHRASE"]
        return (
            subprocess.run(
                command, env=os.environ | {"PASSPHRASE": passphrase}, capture_output=True, check=False
            ).returncode
            == 0
        )

    assert opens(cluster.password("certificates_ca_passphrase"))
    assert not opens(before["certificates_ca_passphrase"])


def test_a_part_of_the_cluster_is_refused(cluster: Cluster) -> None:
    text = file_of(cluster)
    answer = subprocess.run(
        [
            *(ansible_program("ansible-playbook"), *cluster.options, "playbooks/rotate_secrets.yml"),
            *("-e", "cluster_rotate=all", "--limit", cluster.workers[0]),
        ],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_CONFIG": "ansible.cfg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode != 0
    assert "Nothing was touched" in " ".join(answer.stdout.split())
    assert file_of(cluster) == text
