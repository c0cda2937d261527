"""What each machine will be asked, from a sound inventory."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import certificate_check as tls
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.backups import repository_of
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.certificates import CA_DIR, CA_FILE
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.external import (
    connections,
    services_of,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    Host,
    Inventory,
    is_true,
    text_of,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.network import listening

# What every host writes to.
DISK_PATHS = ("/opt", "/var/lib")


def endpoint_of(host: Host, endpoint: topology.Endpoint, inventory: Inventory) -> tuple[str, int] | None:
    """Return address and port of a service as a host will connect to it, or None if its URL does not say."""
    if endpoint.url and endpoint.url in host.names:
        try:
            parts = urlsplit(str(host.get(endpoint.url)).removeprefix("db+"))
            port = parts.port or topology.DEFAULT_PORTS.get(parts.scheme.split("+")[0])
        except ValueError:
            return None
        return (parts.hostname, port) if parts.hostname and port else None
    port = host.number(endpoint.port)
    servers = inventory.members(endpoint.group)
    if port is None or not servers:
        return None
    if endpoint.group == "postgres" and "airflow_database_host" in host.names:
        return str(host.get("airflow_database_host")), port
    return servers[0].address, port


def binds_of(inventory: Inventory, host: Host) -> Iterator[tuple[str, list[str], bool]]:
    """Return variables of a host that name addresses to listen on: name, addresses, whether for HAProxy alone."""
    for variable, bind in topology.BINDS.items():
        if bind.group in host.groups and variable in host.names and inventory.sound(host, variable):
            value = host.get(variable)
            listens = [str(one) for one in (value if isinstance(value, list) else [value])]
            yield variable, listens, bind.loopback and listens == ["127.0.0.1"]


def components_of(host: Host) -> list[str]:
    """Return the components that a host gets."""
    found = [name for group, names in topology.COMPONENTS.items() if group in host.groups for name in names]
    backups = is_true(host.get("backup_enabled", True))
    return [name for name in found if name != "backup" or backups]


def authority_keys(inventory: Inventory) -> list[str] | None:
    """Return digests of the public keys of the authorities that the controller has; none before the first run.

    None if there is a key that cannot be opened, which is a finding of check_certificates.
    """
    hosts = inventory.cluster
    path = next((text_of(host, CA_FILE) for host in hosts if text_of(host, CA_FILE)), "")
    directory = next((text_of(host, CA_DIR) for host in hosts if text_of(host, CA_DIR)), "")
    with contextlib.suppress(FileNotFoundError):
        authorities = tls.load_certificates(inventory.read(path or f"{directory}/ca.pem"))
        return sorted({tls.key_digest(one.public_key()) for one in authorities})
    with contextlib.suppress(FileNotFoundError):
        data = inventory.read(f"{directory}/ca.key")
        # The certificate is being renewed.
        for host in hosts:
            previous = host.get("airflow_secrets_previous", {})
            for source in (
                host.get("certificates_ca_passphrase", ""),
                dict(previous).get("certificates_ca_passphrase", ""),
            ):
                with contextlib.suppress(tls.Unusable):
                    return [tls.key_digest(tls.load_key(data, str(source)).public_key())]
        return None
    return []


def debian_packages(host: Host) -> Iterator[dict[str, str]]:
    """Yield the Debian packages that the inventory adds to a host, with the variables that name them."""
    for variable, group in topology.PACKAGE_LISTS.items():
        packages = host.get(variable, []) if group in host.groups else []
        for name in packages if isinstance(packages, list) else []:
            yield {"name": str(name), "variable": variable}


def machine_plans(inventory: Inventory, play_hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return for each host of the play what its own machine is asked: ports to hold, services and names to reach."""
    by_address = {host.address: host.name for host in inventory.cluster}
    in_play = set(play_hosts)
    peers: dict[str, list[dict[str, str]]] = defaultdict(list)
    for host in inventory.members("airflow_api_server"):
        peers["haproxy"].append({"address": host.address, "host": host.name})
    authorities = authority_keys(inventory)
    broker = next(one for one in topology.ENDPOINTS if one.url == "airflow_broker_url")
    targets = [endpoint_of(host, broker, inventory) for host in inventory.cluster]
    brokers = sorted({target[0] for target in targets if target})
    plans = {}
    held = connections(inventory)
    for host in inventory.cluster:
        if host.name not in in_play:
            continue
        log_store = text_of(host, "log_store_dir") if "airflow_api_server" in host.groups else ""
        endpoints: dict[tuple[str, int], dict[str, Any]] = {}
        for endpoint in topology.ENDPOINTS:
            target = endpoint_of(host, endpoint, inventory) if host.groups & endpoint.clients else None
            if target is None or by_address.get(target[0]) == host.name:
                continue
            server = by_address.get(target[0], "")
            entry = {"address": target[0], "port": target[1], "variable": endpoint.url or endpoint.port, "host": server}
            filtered = bool(server) and is_true(inventory.hosts[server].get("firewall_enabled", True))
            endpoints.setdefault(target, entry | {"filtered": filtered})
        names = {
            peer["address"]: peer
            for group in ("haproxy",)
            if group in host.groups
            for peer in peers[group]
            if peer["host"] != host.name
        }
        plans[host.name] = {
            "control_plane": bool(host.groups & set(topology.CONTROL_GROUPS)),
            "ports": [
                {"port": port, "variable": variable, "units": units}
                for port, variable, units in listening(inventory, host)
            ],
            "endpoints": list(endpoints.values()),
            "names": list(names.values()),
            "services": services_of(inventory, host, held),
            "firewall": is_true(host.get("firewall_enabled", True)),
            "components": components_of(host),
            "binds": [
                {"variable": variable, "addresses": listens, "reached": "" if local else host.address}
                for variable, listens, local in binds_of(inventory, host)
            ],
            "disk_paths": [*DISK_PATHS, *filter(None, [log_store])],
            "account": text_of(host, "airflow_user") if "airflow" in host.groups else "",
            "repository": repository_of(host) if "postgres" in host.groups else "",
            "log_store": log_store,
            "identity": {
                "authorities": authorities,
                "authority_variable": CA_FILE if text_of(host, CA_FILE) else CA_DIR,
                "authority_path": text_of(host, CA_FILE) or text_of(host, CA_DIR),
                "repository": repository_of(host),
                "brokers": brokers,
            },
            "packages": list(debian_packages(host)),
            "airflow_version": str(host.get("airflow_version", "")) if "airflow" in host.groups else "",
        }
    return plans
