"""Requests to the front door, as strangers and people send them."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from email.message import Message
from typing import NamedTuple
from urllib.parse import urlsplit

from cluster_inventory import Cluster
from faults.machines import Machines

TIMEOUT = 30
MIB = 1 << 20
# Makes HAProxy forget who has tried to log in, so that no test depends on the one before.
FORGET = """
import socket
for table in (b"front_door", b"flower_logins"):
    link = socket.socket(socket.AF_UNIX)
    link.connect("/run/haproxy/admin.sock")
    link.sendall(b"clear table " + table + b"\\n")
    assert not link.makefile().read().strip()
"""
# Sends a request from a machine of the cluster; prints status and text.
REQUEST = """
import json, ssl, sys, urllib.error, urllib.request
url, headers = json.load(sys.stdin)
context = ssl.create_default_context(cafile="/etc/airflow/tls/ca.pem")
try:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context, timeout=20) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
"""


class Answer(NamedTuple):
    """What a request was answered."""

    status: int
    headers: Message
    text: str

    def cookies(self) -> dict[str, str]:
        """Return the cookies that the answer sets, name to value with attributes."""
        lines = [line.partition("=") for line in self.headers.get_all("Set-Cookie") or []]
        return {name: value for name, _, value in lines}


def send(
    cluster: Cluster, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
) -> Answer:
    """Send one request to the front door, with the path spelt exactly so."""
    where = urlsplit(cluster.url)
    context = ssl.create_default_context(cafile=cluster.ca_file)
    link = http.client.HTTPSConnection(where.hostname or "", where.port or 443, timeout=TIMEOUT, context=context)
    try:
        link.request(method, path, body, headers or {})
        answer = link.getresponse()
        return Answer(answer.status, answer.msg, answer.read().decode(errors="replace"))
    finally:
        link.close()


def raw(cluster: Cluster, text: bytes, port: int = 443) -> str:
    """Send bytes, and return the head of the answer."""
    plain = socket.create_connection((cluster.address(cluster.first("haproxy")), port), timeout=TIMEOUT)
    context = ssl.create_default_context(cafile=cluster.ca_file)
    host = cluster.address(cluster.first("haproxy"))
    with plain if port == 80 else context.wrap_socket(plain, server_hostname=host) as link:
        link.sendall(text)
        found = b""
        # Not to the end of the connection: HAProxy waits there for the rest of a body.
        while b"\r\n\r\n" not in found and (part := link.recv(65536)):
            found += part
    return found.decode(errors="replace")


def forget_logins(cluster: Cluster) -> None:
    """Make HAProxy forget who has tried to log in."""
    Machines(cluster).run(cluster.first("haproxy"), "python3", "-c", FORGET)


def ask_as_task(cluster: Cluster, bearer: str) -> int:
    """Ask the Execution API for a variable, from a worker; return the status."""
    host = cluster.first("haproxy")
    port = cluster.variables[host]["haproxy_execution_api_port"]
    address = cluster.variables[host]["airflow_address"] or cluster.address(host)
    wanted = [f"https://{address}:{port}/execution/variables/nothing", {"Authorization": f"Bearer {bearer}"}]
    answer = Machines(cluster).told(cluster.workers[0], json.dumps(wanted), "python3", "-c", REQUEST)
    return int(json.loads(answer)[0])
