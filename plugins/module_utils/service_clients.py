"""The least of a PostgreSQL and of a Redis client, for machines on which nothing is installed yet.

The preflight connects as Airflow will, from the hosts that will, before anything is changed on them: they have Python,
and no driver of a database.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.module_utils.service_urls import Service

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
PROTOCOL = 196608


class ServiceError(Exception):
    """The service refused, or speaks another protocol.

    :param code: SQLSTATE of PostgreSQL, first word of an error of Redis, or "".
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def tls_context(service: Service, authorities: str) -> ssl.SSLContext:
    """Return the TLS settings of a connection.

    :param authorities: certificates in PEM form that may sign; "" for those of the system.
    """
    context = ssl.create_default_context(cadata=authorities or None)
    if not service.is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif service.options.get("sslmode") == "verify-ca":
        context.check_hostname = False
    return context


class Connection:
    """A socket that is read to the last byte that was asked for."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._rest = b""

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def read(self, size: int) -> bytes:
        """Return so many bytes."""
        while len(self._rest) < size:
            self._receive()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def read_line(self) -> bytes:
        """Return the bytes before the next line end of a network protocol."""
        while b"\r\n" not in self._rest:
            self._receive()
        line, _end, self._rest = self._rest.partition(b"\r\n")
        return line

    def _receive(self) -> None:
        received = self.socket.recv(65536)
        if not received:
            raise ConnectionResetError("the connection was closed by the other side")
        self._rest += received

    def close(self) -> None:
        """End the connection."""
        self.socket.close()


class Postgres:
    """A session with a PostgreSQL server."""

    def __init__(self, service: Service, authorities: str, timeout: float) -> None:
        self._service = service
        connected = socket.create_connection((service.host, service.port), timeout)
        mode = service.options.get("sslmode", "verify-full")
        if mode != "disable":
            connected.sendall(SSL_REQUEST)
            if connected.recv(1) == b"S":
                connected = tls_context(service, authorities).wrap_socket(connected, server_hostname=service.host)
            elif mode not in ("allow", "prefer"):
                connected.close()
                raise ServiceError("the server does not offer TLS")
        self._connection = Connection(connected)
        texts = ["user", service.user, "database", service.database or service.user, "application_name", "preflight"]
        body = b"".join(text.encode() + b"\0" for text in texts) + b"\0"
        self._connection.send(struct.pack("!ii", len(body) + 8, PROTOCOL) + body)
        self._authenticate()
        while self._receive()[0] != b"Z":
            pass

    def _send(self, kind: bytes, body: bytes) -> None:
        self._connection.send(kind + struct.pack("!i", len(body) + 4) + body)

    def _receive(self) -> tuple[bytes, bytes]:
        kind = self._connection.read(1)
        (size,) = struct.unpack("!i", self._connection.read(4))
        body = self._connection.read(size - 4)
        if kind == b"E":
            fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
            raise ServiceError(fields.get(b"M", "an error without text"), fields.get(b"C", ""))
        return kind, body

    def _challenge(self) -> tuple[int, bytes]:
        kind, body = self._receive()
        if kind != b"R":
            raise ServiceError("an answer that is not of PostgreSQL's protocol")
        return struct.unpack("!i", body[:4])[0], body[4:]

    def _authenticate(self) -> None:
        password = self._service.password.encode()
        method, data = self._challenge()
        if method == 0:
            return
        if method == 3:
            self._send(b"p", password + b"\0")
        elif method == 5:
            inner = hashlib.md5(password + self._service.user.encode()).hexdigest().encode()
            self._send(b"p", b"md5" + hashlib.md5(inner + data[:4]).hexdigest().encode() + b"\0")
        elif method == 10 and b"SCRAM-SHA-256" in data.split(b"\0"):
            self._scram(password)
        else:
            raise ServiceError(f"a method of authentication that this check does not know (code {method})")
        if self._challenge()[0] != 0:
            raise ServiceError("the authentication was not completed")

    def _scram(self, password: bytes) -> None:
        """SCRAM-SHA-256 without channel binding (RFC 7677)."""
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        start = f"n,,{first}".encode()
        self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(start)) + start)
        method, data = self._challenge()
        server_first = data.decode()
        values = dict(part.split("=", 1) for part in server_first.split(","))
        if method != 11 or not values.get("r", "").startswith(nonce):
            raise ServiceError("an answer that is not of SCRAM-SHA-256")
        salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(values["s"]), int(values["i"]))
        last = f"c=biws,r={values['r']}"
        message = f"{first},{server_first},{last}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = bytes(one ^ other for one, other in zip(key, signature))  # noqa: B905
        self._send(b"p", f"{last},p={base64.b64encode(proof).decode()}".encode())
        method, data = self._challenge()
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        if method != 12 or data.decode() != f"v={base64.b64encode(server).decode()}":
            raise ServiceError("the server does not know the password that it asked for")

    def row(self, query: str) -> list[str | None]:
        """Return the first row of a query, as text."""
        self._send(b"Q", query.encode() + b"\0")
        found: list[str | None] = []
        problem: ServiceError | None = None
        while True:
            try:
                kind, body = self._receive()
            except ServiceError as error:
                problem = error
                continue
            if kind == b"D" and not found:
                found = self._columns(body)
            if kind == b"Z":
                if problem:
                    raise problem
                return found

    @staticmethod
    def _columns(body: bytes) -> list[str | None]:
        (count,) = struct.unpack("!h", body[:2])
        place, found = 2, []
        for _field in range(count):
            (size,) = struct.unpack("!i", body[place : place + 4])
            place += 4
            found.append(None if size < 0 else body[place : place + size].decode())
            place += max(size, 0)
        return found

    def close(self) -> None:
        """End the session."""
        self._connection.close()


class Redis:
    """A session with a Redis server."""

    def __init__(self, service: Service, authorities: str, timeout: float) -> None:
        connected = socket.create_connection((service.host, service.port), timeout)
        if service.scheme == "rediss":
            connected = tls_context(service, authorities).wrap_socket(connected, server_hostname=service.host)
        self._connection = Connection(connected)
        if service.password:
            self.call("AUTH", *([service.user] if service.user else []), service.password)
        self.call("PING")
        if service.database not in ("", "0"):
            self.call("SELECT", service.database)

    def call(self, *words: str) -> Any:
        """Return the answer to a command; raises ServiceError for an error."""
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = word.encode()
            parts.append(f"${len(data)}\r\n".encode() + data + b"\r\n")
        self._connection.send(b"".join(parts))
        return self._answer()

    def _answer(self) -> Any:
        line = self._connection.read_line().decode(errors="replace")
        kind, text = line[:1], line[1:]
        if kind == "-":
            raise ServiceError(text, text.split(" ")[0])
        if kind == "+":
            return text
        if kind == ":":
            return int(text)
        if kind == "$":
            return None if int(text) < 0 else self._connection.read(int(text) + 2)[:-2].decode(errors="replace")
        if kind == "*":
            return [self._answer() for _answer in range(int(text))]
        raise ServiceError("an answer that is not of Redis's protocol")

    def close(self) -> None:
        """End the session."""
        self._connection.close()
