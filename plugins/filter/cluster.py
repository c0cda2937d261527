"""Filters that the roles share. Each is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from ansible_collections.airflow_celery.cluster.plugins.module_utils.service_urls import with_timeouts, with_tls
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import addresses as of_hosts
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import memory
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.airflow_config import for_process
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import Failover
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.process_environment import keep_for_tasks
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.role_defaults import role_defaults
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.sandbox import sandboxed

HostVars = Mapping[str, Mapping[str, Any]]

# systemd's defaults of DefaultLimitNOFILE. The soft one is enough for everything that does not grow with the load.
BASE_FILES = 1024
HARD_FILES = 524_288


def addresses(hosts: Iterable[str], hostvars: HostVars) -> list[str]:
    """Return how the other hosts of the cluster reach each of the given hosts."""
    return [of_hosts.address(host, hostvars[host]) for host in hosts]


def origins(hosts: Iterable[str], hostvars: HostVars) -> list[str]:
    """Return all names and addresses from which the given hosts connect to others, each once."""
    return list(dict.fromkeys(origin for host in hosts for origin in of_hosts.origins(host, hostvars[host])))


def service_names(host: str, hostvars: HostVars) -> list[str]:
    """Return the names by which clients reach the services of a host."""
    return of_hosts.service_names(host, hostvars[host])


def names_to_resolve(clients: Iterable[str]) -> list[str]:
    """Return the clients of pg_hba.conf that are host names: no keywords, addresses or networks."""
    keywords = ("all", "samehost", "samenet")
    return [name for name in clients if name not in keywords and "/" not in name and not of_hosts.is_ip(name)]


def subject_alt_names(names: Iterable[str]) -> list[str]:
    """Return names and IP addresses as the alternative names of a certificate, each once."""
    return list(dict.fromkeys(f"{'IP' if of_hosts.is_ip(name) else 'DNS'}:{name}" for name in map(str, names)))


def api_servers(
    hosts: Iterable[str], hostvars: HostVars, first_port: int, instances: int, local: bool
) -> list[dict[str, Any]]:
    """Return the API server processes as HAProxy's servers."""
    names = list(hosts)
    reached = ["127.0.0.1"] * len(names) if local else addresses(names, hostvars)
    return [
        {"name": f"{host}-{port}", "address": of_hosts.host_port(address, port), "host": host, "tls": not local}
        for host, address in zip(names, reached, strict=True)
        for port in range(int(first_port), int(first_port) + int(instances))
    ]


def worker_slots(hosts: Iterable[str], hostvars: HostVars) -> int:
    """Return how many tasks the given workers can run at the same time."""
    return sum(_slots_of(hostvars[host]) for host in hosts)


def _of_worker(variables: Mapping[str, Any], name: str) -> Any:
    """Return a variable of a worker, or the default of the role: hostvars have no defaults."""
    return variables.get(name, role_defaults("airflow_worker")[name])


def _slots_of(variables: Mapping[str, Any]) -> int:
    return memory.worker_slots(
        _of_worker(variables, "airflow_worker_concurrency"), _of_worker(variables, "airflow_worker_autoscale")
    )


def slots_without_batch(hosts: Iterable[str], hostvars: HostVars, batch: int | str) -> int:
    """Return how many tasks the workers can run while any one batch of them is unavailable; at least 1.

    :param batch: size of a batch as ``serial`` takes it: a number, or a share such as ``50%``.
    """
    slots = sorted((_slots_of(hostvars[host]) for host in hosts), reverse=True)
    text = str(batch)
    size = int(len(slots) * float(text[:-1]) / 100) if text.endswith("%") else int(text)
    return max(1, sum(slots[max(1, size) :]))


def worker_batches(
    hosts: Iterable[str], everybody: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], batch: int | str = ""
) -> list[list[str]]:
    """Return the given workers in batches of which none takes all workers of a queue out of service, if it has two.

    :param everybody: all workers of the cluster.
    :param batch: most workers at a time, as ``serial`` takes it: a number, or a share such as ``50%``, of all and of
        each queue's. Without it, the variable ``airflow_worker_batch`` of the workers.
    """
    names = list(everybody)
    queues = {name: _queues_of(hostvars[name]) for name in names}
    text = str(batch or _of_worker(hostvars[names[0]] if names else {}, "airflow_worker_batch"))

    def most(number: int, spare: int) -> int:
        size = int(number * float(text[:-1]) / 100) if text.endswith("%") else min(int(text), number - spare)
        return max(1, size)

    limits = Counter(queue for name in names for queue in queues[name])
    rest = list(hosts)
    batches = []
    while rest:
        taken: list[str] = []
        used: Counter[str] = Counter()
        for name in rest:
            if len(taken) < most(len(names), 0) and all(used[one] < most(limits[one], 1) for one in queues[name]):
                taken.append(name)
                used.update(queues[name])
        batches.append(taken)
        rest = [name for name in rest if name not in taken]
    return batches


def _queues_of(variables: Mapping[str, Any]) -> set[str]:
    return {str(queue) for queue in _of_worker(variables, "airflow_worker_queues")}


def environment_file(variables: Mapping[str, Any]) -> str:
    """Return the lines of a systemd ``EnvironmentFile`` for these variables."""
    lines = []
    for name in sorted(variables):
        value = str(variables[name])
        for special in ("\\", '"', "$", "`"):
            value = value.replace(special, "\\" + special)
        lines.append(f'{name}="{value}"')
    return "\n".join(lines) + "\n"


def unit_settings(settings: Mapping[str, Any]) -> str:
    """Return the lines of a systemd unit for these settings.

    True and False become ``yes`` and ``no``, a list one line for each of its values, and None leaves the setting out.
    """
    lines = []
    for name, value in settings.items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        lines += [f"{name}={({True: 'yes', False: 'no'}[one]) if isinstance(one, bool) else one}" for one in values]
    return "".join(line + "\n" for line in lines)


def open_files(items: int, each: int) -> str:
    """Return the soft and the hard limit of open file descriptors for so many items, as ``LimitNOFILE`` takes them.

    Tasks may raise their own limit up to the hard one, so it stays at systemd's default.
    """
    soft = BASE_FILES + int(items) * int(each)
    return f"{soft}:{max(soft, HARD_FILES)}"


def failover_config(seconds: int, retry_delay: int) -> dict[str, dict[str, Any]]:
    """Return the settings that keep the promise of running a lost worker's tasks elsewhere within some seconds."""
    return Failover(int(seconds), int(retry_delay)).config()


def url_quote(text: str) -> str:
    """Return text for the user or password part of a URL: every reserved character is quoted."""
    return quote(str(text), safe="")


def utc_time(text: str) -> str:
    """Return a time of ISO 8601 form in UTC, in one form that sorts as time does; "" for what is none.

    Without an offset it is UTC already. A day alone is no time: it is what Ansible leaves of ``-e name="day time"``.
    """
    try:
        found = datetime.fromisoformat(str(text).strip().replace("Z", "+00:00"))
    except ValueError:
        return ""
    if ":" not in str(text):
        return ""
    known = found if found.tzinfo else found.replace(tzinfo=UTC)
    return known.astimezone(UTC).isoformat(timespec="microseconds")


class FilterModule:
    """The collection's filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "addresses": addresses,
            "api_servers": api_servers,
            "environment_file": environment_file,
            "slots_without_batch": slots_without_batch,
            "unit_settings": unit_settings,
            "failover_config": failover_config,
            "for_process": for_process,
            "host_port": of_hosts.host_port,
            "local_address": of_hosts.local_address,
            "names_to_resolve": names_to_resolve,
            "keep_for_tasks": keep_for_tasks,
            "networks": of_hosts.networks,
            "open_files": open_files,
            "origins": origins,
            "sandboxed": sandboxed,
            "service_names": service_names,
            "subject_alt_names": subject_alt_names,
            "url_quote": url_quote,
            "url_with_timeouts": with_timeouts,
            "url_with_tls": with_tls,
            "utc_time": utc_time,
            "worker_batches": worker_batches,
            "worker_slots": worker_slots,
        }
