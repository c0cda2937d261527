"""Which groups a cluster has, what their hosts run, and who connects to whom, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WORKER_GROUP = "airflow_worker"
CONTROL_GROUPS = (
    "postgres",
    "redis",
    "haproxy",
    "airflow_scheduler",
    "airflow_api_server",
    "airflow_dag_processor",
    "airflow_triggerer",
    "flower",
)
PROCESS_GROUPS = (*CONTROL_GROUPS, WORKER_GROUP)
PARENT_GROUPS: Mapping[str, tuple[str, ...]] = {
    "control_plane": CONTROL_GROUPS,
    "airflow": (
        "airflow_scheduler",
        "airflow_api_server",
        "airflow_dag_processor",
        "airflow_triggerer",
        "flower",
        WORKER_GROUP,
    ),
}
# A second host would get a database or broker of its own that nobody uses.
SINGLE_HOST_GROUPS = ("postgres", "redis")


@dataclass(frozen=True)
class Listener:
    """A TCP port that a group's process listens on.

    :param variable: variable with the (first) port.
    :param count: variable with the number of ports in a row; "" for one.
    :param units: systemd units that may hold it, as patterns; ``{port}`` stands for the port.
    """

    group: str
    variable: str
    units: tuple[str, ...]
    count: str = ""


LISTENERS = (
    Listener("postgres", "postgres_port", ("postgresql@*-main.service",)),
    Listener("postgres", "postgres_results_port", ("postgresql@*-results.service",)),
    Listener("redis", "redis_port", ("redis-server.service",)),
    Listener("haproxy", "haproxy_port", ("haproxy.service",)),
    Listener("haproxy", "haproxy_redirect_port", ("haproxy.service",)),
    Listener("haproxy", "haproxy_execution_api_port", ("haproxy.service",)),
    Listener(
        "airflow_api_server",
        "airflow_api_server_first_port",
        ("airflow-api-server@{port}.service",),
        "airflow_api_server_instances",
    ),
    Listener(
        "airflow_api_server",
        "airflow_execution_api_first_port",
        ("airflow-execution-api@{port}.service",),
        "airflow_execution_api_instances",
    ),
    Listener("airflow_api_server", "log_store_port", ("airflow-log-store.service",)),
    Listener("airflow_scheduler", "airflow_scheduler_health_port", ("airflow-scheduler.service",)),
    Listener("flower", "flower_port", ("airflow-flower.service",)),
)


@dataclass(frozen=True)
class Endpoint:
    """A service that a group's hosts connect to.

    :param url: variable with its URL, which wins if it is set; "" for none.
    :param group: group whose first host is the service otherwise.
    :param port: variable with its port.
    :param clients: groups whose hosts connect.
    """

    url: str
    group: str
    port: str
    clients: frozenset[str]


_METADATA_CLIENTS = frozenset({"airflow_scheduler", "airflow_api_server", "airflow_dag_processor", "airflow_triggerer"})
ENDPOINTS = (
    Endpoint("airflow_database_url", "postgres", "postgres_port", _METADATA_CLIENTS),
    Endpoint(
        "airflow_result_backend",
        "postgres",
        "postgres_results_port",
        frozenset({"airflow_scheduler", "airflow_worker"}),
    ),
    Endpoint("airflow_broker_url", "redis", "redis_port", frozenset({"airflow_scheduler", "airflow_worker", "flower"})),
    Endpoint("airflow_execution_api_url", "haproxy", "haproxy_execution_api_port", frozenset({"airflow_worker"})),
    # Each host sends its logs.
    Endpoint("", "airflow_api_server", "log_store_port", frozenset({"control_plane", WORKER_GROUP})),
)


@dataclass(frozen=True)
class External:
    """What replaces a group: the service is not one of the cluster's hosts.

    :param urls: variables with the URLs of the service, all of which are set then.
    :param parts: what the service is for.
    :param ca_file: variable with the authorities of the service.
    """

    urls: tuple[str, ...]
    parts: tuple[str, ...]
    ca_file: str


EXTERNAL: Mapping[str, External] = {
    "postgres": External(
        ("airflow_database_url", "airflow_result_backend"), ("metadata", "results"), "airflow_database_ca_file"
    ),
    "redis": External(("airflow_broker_url",), ("broker", "flower"), "airflow_broker_ca_file"),
}
# Groups whose hosts connect with the URL of a variable, and what for.
CLIENTS: Mapping[str, frozenset[str]] = {
    **{endpoint.url: endpoint.clients for endpoint in ENDPOINTS if endpoint.group in EXTERNAL},
    "airflow_broker_url": frozenset({"airflow_scheduler", "airflow_worker"}),
    "airflow_flower_broker_url": frozenset({"flower"}),
}
PARTS: Mapping[str, str] = {
    "airflow_database_url": "metadata",
    "airflow_result_backend": "results",
    "airflow_broker_url": "broker",
    "airflow_flower_broker_url": "flower",
}
DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379, "postgresql": 5432}

# Variables that name Debian packages, and the group whose hosts get them.
PACKAGE_LISTS: Mapping[str, str] = {
    "airflow_runtime_packages": "airflow",
    "airflow_runtime_build_packages": "airflow",
    "airflow_worker_packages": WORKER_GROUP,
    "airflow_worker_build_packages": WORKER_GROUP,
}

# Components of a host, as host_state has them, by the groups that bring them.
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "postgres": ("postgres", "backup"),
    "redis": ("redis",),
    "haproxy": ("haproxy",),
    "airflow": ("airflow",),
}


@dataclass(frozen=True)
class Bind:
    """Where a process listens, and who connects to it.

    :param loopback: whether HAProxy on the same host connects to 127.0.0.1. Other clients use the host's address.
    :param dual: whether the IPv6 wildcard is a listener for IPv4, too.
    """

    group: str
    clients: frozenset[str]
    loopback: bool = False
    dual: bool = False


BINDS: Mapping[str, Bind] = {
    "postgres_listen_addresses": Bind("postgres", _METADATA_CLIENTS | {"airflow_worker"}),
    "redis_bind": Bind("redis", frozenset({"airflow_scheduler", "airflow_worker", "flower"})),
    "haproxy_bind": Bind("haproxy", frozenset({"airflow_worker"}), dual=True),
    "airflow_api_server_bind": Bind("airflow_api_server", frozenset({"haproxy"}), loopback=True),
    "airflow_flower_bind": Bind("flower", frozenset({"haproxy"}), loopback=True),
    "log_store_bind": Bind("airflow_api_server", frozenset({"control_plane", WORKER_GROUP})),
}
