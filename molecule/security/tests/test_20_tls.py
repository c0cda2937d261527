"""Nothing is readable on the wire, and nobody else can pretend to be the cluster."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow_client import ApiError, wait_for
from airflow_client import http as request
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
CLIENTS = {"broker": "airflow_worker", "database": "airflow_scheduler", "results": "airflow_worker"}


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
        "broker": ("redis", "redis_port"),
        "database": ("postgres", "postgres_port"),
        "results": ("postgres", "postgres_results_port"),
    }[name]
    host = cluster.first(group)
    return cluster.address(host), int(cluster.variables[host][variable])


SERVICES = ("front door", "broker", "database", "results")


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


def test_http_is_sent_to_https(cluster: Cluster) -> None:
    host = cluster.first("haproxy")
    connection = http.client.HTTPConnection(cluster.address(host), 80, timeout=TIMEOUT)
    connection.request("GET", "/dags?tag=x")
    answer = connection.getresponse()
    assert answer.status == 308
    assert answer.headers["Location"] == f"{cluster.url}/dags?tag=x"
    connection.close()


@pytest.mark.parametrize("path", ["/", "/api/v2/version", "/execution/health", "/flower/healthcheck"])
def test_browsers_are_told_to_come_back_with_tls_only(cluster: Cluster, path: str) -> None:
    address, port = service(cluster, "front door")
    connection = http.client.HTTPSConnection(address, port, timeout=TIMEOUT, context=trusting(cluster.ca_file))
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status < 500
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]
    connection.close()


def guess_token(cluster: Cluster) -> int:
    """Try a wrong password; return the status."""
    body = {"username": cluster.admin[0], "password": "a guess"}
    return request("POST", f"{cluster.url}/auth/token", body=body, ca_file=cluster.ca_file)[0]


def guess_form(cluster: Cluster) -> int:
    """Try a wrong password in the form of a browser; return the status."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{cluster.url}/auth/login/"
    return request("POST", url, headers=headers, ca_file=cluster.ca_file)[0]


def guess_flower(cluster: Cluster) -> int:
    """Try a wrong password at Flower; return the status."""
    headers = {"Authorization": "Basic " + b64encode(b"flower:a guess").decode()}
    return request("GET", f"{cluster.flower_url}/api/workers", headers=headers, ca_file=cluster.ca_file)[0]


def test_who_guesses_passwords_is_slowed_and_nobody_else_is(cluster: Cluster) -> None:
    client = cluster.client()
    assert client.version()  # logged in before
    # In turn: none of them is refused unless the others count, too.
    guesses = (guess_token, guess_form, guess_flower)
    answers = [guess(cluster) for _ in range(10) for guess in guesses]
    first = answers.index(429)
    assert 20 <= first <= 22
    # From the first refusal on, all but the few that become free again while the minute goes on.
    assert answers[first:].count(429) >= len(answers[first:]) - 3
    # What needs no login goes on from the same address, and so does who has one.
    assert client.health()
    assert client.version()
    # A minute later the right password is welcome: what was refused in between has not counted.
    wait_for(lambda: cluster.client().version(), what="the next login", seconds=90, interval=2, transient=(ApiError,))
