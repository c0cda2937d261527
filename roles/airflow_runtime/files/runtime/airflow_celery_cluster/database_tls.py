"""TLS of the asynchronous connections to the metadata database, as the synchronous ones have it.

libpq reads ``sslmode`` and ``sslrootcert`` from the connection's URL. asyncpg, which Airflow uses beside it, is given
its settings as arguments; this makes them from the same URL, so that there is one place to say them.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow.configuration import conf


def connect_args(url: str) -> dict[str, Any]:
    """Return asyncpg's arguments for a SQLAlchemy URL."""
    query = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    mode = query.get("sslmode", "prefer")
    if mode not in ("verify-full", "verify-ca"):
        return {"ssl": mode}
    context = ssl.create_default_context(cafile=query.get("sslrootcert"))
    context.check_hostname = mode == "verify-full"
    return {"ssl": context}


# Airflow's [database] sql_alchemy_connect_args_async
CONNECT_ARGS: dict[str, Any] = connect_args(conf.get("database", "sql_alchemy_conn"))
