"""URLs of databases and brokers, as SQLAlchemy and Celery write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

DEFAULT_PORTS = {"postgresql": 5432, "redis": 6379, "rediss": 6379}
# How each scheme spells that a certificate is verified: option, its values, and the option with the authorities.
TLS_OPTIONS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "postgresql": ("sslmode", ("verify-full", "verify-ca"), "sslrootcert"),
    "rediss": ("ssl_cert_reqs", ("CERT_REQUIRED", "required"), "ssl_ca_certs"),
}


# A host that has lost its power, or that a firewall cuts off, answers nothing. Without these options libpq waits for
# two minutes until a connection is made, and for hours on a connection that was made before. Seconds; a number of
# probes; and for the last one milliseconds.
TIMEOUTS: dict[str, int] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


@dataclass(frozen=True)
class Service:
    """What a URL says. The password appears in no representation."""

    scheme: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Address, database and user, for a person."""
        user = f" as {self.user}" if self.user else ""
        return f"{self.host}:{self.port}/{self.database}{user}"

    @property
    def is_verified(self) -> bool:
        """Whether the connection uses TLS and the certificate of the service is verified."""
        if self.scheme not in TLS_OPTIONS:
            return False
        option, values, _authorities = TLS_OPTIONS[self.scheme]
        return self.options.get(option, values[0]) in values


def parse(url: str) -> Service:
    """Return what a URL says; raises ValueError, which shows no part of the URL, for one without exactly one host."""
    try:
        parts = urlsplit(url[3:] if url.startswith("db+") else url)
    except ValueError:
        raise ValueError("no readable URL") from None
    scheme, options = parts.scheme.split("+")[0], dict(parse_qsl(parts.query))
    if re.search("[,;]", parts.netloc.rpartition("@")[2]):
        raise ValueError("a URL with several hosts")
    if scheme == "postgresql" and "host" in options:
        raise ValueError("a URL with a host or a socket among its options")
    if not parts.hostname:
        raise ValueError("a URL without a host")
    try:
        port = parts.port or DEFAULT_PORTS.get(scheme, 0)
    except ValueError:
        raise ValueError("a URL whose port is not a number from 0 to 65535") from None
    return Service(
        scheme,
        parts.hostname,
        port,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        unquote(parts.path.lstrip("/")),
        options,
    )


def scheme_of(url: str) -> str:
    """Return the scheme of a URL without Celery's prefix and without the driver."""
    return url.partition(":")[0].replace("db+", "").split("+")[0]


def options_of(url: str) -> dict[str, str]:
    """Return the options of a URL."""
    return dict(parse_qsl(url.partition("?")[2]))


def with_options(url: str, added: Mapping[str, str]) -> str:
    """Return a URL with more options."""
    if not added:
        return url
    address, _mark, query = url.partition("?")
    return f"{address}?{'&'.join([query] * bool(query) + [f'{name}={value}' for name, value in added.items()])}"


def with_tls(url: str, ca_file: str) -> str:
    """Return a URL with the options of verified TLS. An option that the URL has stays as it is."""
    scheme = scheme_of(url)
    if scheme not in TLS_OPTIONS:
        return url
    given = options_of(url)
    option, values, authorities = TLS_OPTIONS[scheme]
    added = {option: values[0]} if option not in given else {}
    if given.get(option, values[0]) in values and authorities not in given:
        added[authorities] = ca_file
    return with_options(url, added)


def with_timeouts(url: str) -> str:
    """Return a URL of PostgreSQL with the timeouts of libpq. An option that the URL has stays as it is."""
    if scheme_of(url) != "postgresql":
        return url
    given = options_of(url)
    return with_options(url, {name: str(value) for name, value in TIMEOUTS.items() if name not in given})
