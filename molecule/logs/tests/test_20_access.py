"""Who may write to the log store, and who may read there."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Iterator

import pytest
from airflow_client import wait_for
from cluster_inventory import Cluster
from conftest import STORE, send
from faults.machines import Machines

AS_API_SERVER = ("runuser", "--user=airflow-api-server", "--supp-group=airflow-log-store", "--")
# Sends the first frame of RELP, which a log store answers, and prints the beginning of the answer.
CLIENT = """
import socket, ssl, sys

address, name, port, *certificate = sys.argv[1:]
hello = "relp_version=0\\nrelp_software=test\\ncommands=syslog"
context = ssl.create_default_context(cafile="/etc/airflow/tls/ca.pem")
if certificate:
    context.load_cert_chain(*certificate)
with socket.create_connection((address, int(port)), timeout=10) as plain:
    with context.wrap_socket(plain, server_hostname=name) as connection:
        try:
            connection.sendall(f"1 open {len(hello)} {hello}\\n".encode())
            print(connection.recv(100).decode())
        except (ssl.SSLError, ConnectionError):
            pass
"""


@pytest.fixture
def marker() -> str:
    """A text that is in no log yet."""
    return uuid.uuid4().hex


def files_with(machines: Machines, host: str, marker: str) -> list[str]:
    """Return the files on a host that hold a text, below all directories that could be reached."""
    found = machines.run(
        host, "grep", "--recursive", "--files-with-matches", marker, STORE, "/etc", "/tmp", check=False
    )
    return found.split()


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/{marker}",
        "/etc/{marker}",
        "../dag_id=a/run_id=b/task_id=c/attempt=1.log",
        "dag_id=a/run_id=b/task_id=c/../../../../attempt=1.log",
        "dag_id=a/run_id=b/task_id=c/attempt=1.log/../../../../../{marker}",
        "dag_id=a/run_id=b/attempt=1.log",
        "dag_processor/../../{marker}.log",
        "dag_processor/2026-01-01/.hidden.log",
        "{marker}",
    ],
)
def test_a_path_of_another_form_is_dropped(
    cluster: Cluster, machines: Machines, worker: str, store: str, marker: str, path: str
) -> None:
    good = f"dag_id=access/run_id={marker}/task_id=test/attempt=1.log"
    forged = path.format(marker=marker)
    send(machines, worker, f"task\t{forged}\tforged {marker}\ntask\t{good}\tgood {marker}\n")
    # The lines of a host arrive in order: what was before the good one has been processed.
    wait_for(lambda: files_with(machines, store, f"good {marker}"), what="the good line", seconds=20)
    assert files_with(machines, store, f"good {marker}") == [f"{STORE}/tasks/{good}.{cluster.address(worker)}"]
    assert files_with(machines, store, f"forged {marker}") == []


@pytest.fixture
def foreign(machines: Machines, worker: str) -> Iterator[tuple[str, str]]:
    """A certificate of another authority with the name of a worker."""
    directory = machines.run(worker, "mktemp", "--directory").strip()
    key, certificate = f"{directory}/key.pem", f"{directory}/certificate.pem"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
    ]
    names = ("-subj", f"/CN={worker}", "-addext", f"subjectAltName=DNS:{worker}")
    machines.run(worker, *request, "-keyout", key, "-out", certificate, *names)
    yield certificate, key
    machines.run(worker, "rm", "-r", directory)


def answer(machines: Machines, cluster: Cluster, host: str, store: str, *certificate: str) -> str:
    """Return what a log store answers to the first frame of a client; nothing if it ends the connection."""
    port = str(cluster.variables[store].get("log_store_port", 20514))
    return machines.told(host, CLIENT, "python3", "-", cluster.address(store), store, port, *certificate)


def test_a_client_needs_a_certificate_of_the_authority(
    cluster: Cluster, machines: Machines, worker: str, store: str, foreign: tuple[str, str]
) -> None:
    own = ("/etc/airflow/tls/log-shipper.pem", "/etc/airflow/tls/log-shipper.pem.key")
    assert answer(machines, cluster, worker, store, *own).startswith("1 rsp ")
    assert answer(machines, cluster, worker, store, *foreign).strip() == ""
    assert answer(machines, cluster, worker, store).strip() == ""


def test_only_the_api_server_reads_the_log_store(machines: Machines, worker: str, store: str, marker: str) -> None:
    good = f"dag_id=access/run_id={marker}/task_id=test/attempt=1.log"
    send(machines, worker, f"task\t{good}\tgood {marker}\n")
    (path,) = wait_for(lambda: files_with(machines, store, f"good {marker}"), what="the line", seconds=20)
    # Its unit has the group.
    assert marker in machines.run(store, *AS_API_SERVER, "cat", path)
    append = f"echo forged >>{shlex.quote(path)}"
    refused = machines.run(store, *AS_API_SERVER, "sh", "-c", append, check=False, errors=True)
    assert "Permission denied" in refused
    for user in ("airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"):
        for command in (append, f"cat {shlex.quote(path)}"):
            refused = machines.run(
                store, "runuser", f"--user={user}", "--", "sh", "-c", command, check=False, errors=True
            )
            assert "Permission denied" in refused
    assert "forged" not in machines.run(store, "cat", path)
