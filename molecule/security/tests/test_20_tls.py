"""Nothing is readable on the wire, and nobody else can pretend to be the cluster."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cluster_inventory import Cluster
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TIMEOUT = 10
# What a client of PostgreSQL says before TLS: length and code of an SSLRequest.
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
# The same for a connection without TLS: protocol 3.0, user and database.
STARTUP = b"user\0airflow\0database\0airflow\0\0"


# From where a service is reached: the firewall lets nobody else in.
CLIENTS = {
    "broker": "airflow_worker",
    "Execution API": "airflow_worker",
    "database": "airflow_scheduler",
    "results": "airflow_worker",
}


def connect(cluster: Cluster, name: str) -> socket.socket:
    """Open a TCP connection to a service; through SSH from one of its clients, unless everybody may come."""
    address, port = service(cluster, name)
    if name not in CLIENTS:
        return socket.create_connection((address, port), timeout=TIMEOUT)
    client = cluster.first(CLIENTS[name])
    variables = cluster.variables[client]
    ours, theirs = socket.socketpair()
    subprocess.Popen(
        [
            *(
                "ssh",
                "-T",
                "-i",
                variables["ansible_ssh_private_key_file"],
                *variables["ansible_ssh_common_args"].split(),
            ),
            *("-W", f"{address}:{port}", f"{variables['ansible_user']}@{cluster.address(client)}"),
        ],
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
        stderr=subprocess.DEVNULL,
    )
    theirs.close()
    ours.settimeout(TIMEOUT)
    return ours


def service(cluster: Cluster, name: str) -> tuple[str, int]:
    """Return address and port of a service with TLS."""
    group, variable = {
        "front door": ("haproxy", "haproxy_port"),
        "Execution API": ("haproxy", "haproxy_execution_api_port"),
        "broker": ("redis", "redis_port"),
        "database": ("postgres", "postgres_port"),
        "results": ("postgres", "postgres_results_port"),
    }[name]
    host = cluster.first(group)
    return cluster.address(host), int(cluster.variables[host][variable])


SERVICES = ("front door", "Execution API", "broker", "database", "results")


def shake_hands(cluster: Cluster, name: str, context: ssl.SSLContext, server_name: str | None = None) -> ssl.SSLSocket:
    """Open a TLS connection to a service, as its own clients do."""
    address, _ = service(cluster, name)
    plain = connect(cluster, name)
    try:
        if name in ("database", "results"):
            plain.sendall(SSL_REQUEST)
            assert plain.recv(1) == b"S"
        return context.wrap_socket(plain, server_hostname=server_name or address)
    except BaseException:
        plain.close()
        raise


def trusting(ca_file: Path) -> ssl.SSLContext:
    """Return the context of a client that believes one authority."""
    return ssl.create_default_context(cafile=ca_file)


@pytest.fixture
def another_ca(tmp_path: Path) -> Path:
    """An authority that has nothing to do with the cluster, of the same name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Airflow cluster CA")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "another-ca.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("name", SERVICES)
def test_a_client_that_verifies_is_served(cluster: Cluster, name: str) -> None:
    with shake_hands(cluster, name, trusting(cluster.ca_file)) as connection:
        assert connection.version() in ("TLSv1.2", "TLSv1.3")
        certificate = connection.getpeercert()
    assert certificate
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    assert ends - time.time() > 30 * 24 * 3600


@pytest.mark.parametrize("name", SERVICES)
def test_another_authority_is_not_believed(cluster: Cluster, name: str, another_ca: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|self.signed|signature failure"):
        shake_hands(cluster, name, trusting(another_ca))


@pytest.mark.parametrize("name", SERVICES)
def test_another_host_is_not_believed(cluster: Cluster, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname mismatch"):
        shake_hands(cluster, name, trusting(cluster.ca_file), "worker1.elsewhere.example")


@pytest.mark.parametrize("name", SERVICES)
def test_old_tls_is_refused(cluster: Cluster, name: str) -> None:
    context = trusting(cluster.ca_file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shake_hands(cluster, name, context)


def test_the_broker_answers_nobody_without_tls(cluster: Cluster) -> None:
    with connect(cluster, "broker") as connection:
        connection.sendall(b"PING\r\n")
        try:
            answer = connection.recv(100)
        except ConnectionError:
            answer = b""
    assert b"PONG" not in answer
    assert b"NOAUTH" not in answer


@pytest.mark.parametrize("name", ["database", "results"])
def test_the_databases_answer_nobody_without_tls(cluster: Cluster, name: str) -> None:
    message = (196608).to_bytes(4, "big") + STARTUP
    with connect(cluster, name) as connection:
        connection.sendall((len(message) + 4).to_bytes(4, "big") + message)
        answer = connection.recv(1000)
    # An error, and no question for a password.
    assert answer[:1] == b"E"
    assert b"no pg_hba.conf entry" in answer
    assert b"no encryption" in answer
