"""Which variables an inventory may set, and to which values, as tables. Package inventory_check applies them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import playbook
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import LEAST_SECONDS, MOST_SECONDS

AIRFLOW_FROM = (3, 3)
AIRFLOW_BEFORE = (3, 4)
AIRFLOW_RANGE = "3.3 or a later release before 3.4"
SHARE_VARIABLE = "airflow_allow_worker_on_control_plane"

PREFIXES = (
    "airflow_",
    "backup_",
    "certificates_",
    "failover_drill_",
    "firewall_",
    "flower_",
    "haproxy_",
    "local_machines_",
    "log_shipper_",
    "log_store_",
    "postgres_",
    "preflight_",
    "redis_",
    "uninstall_",
)
# Prefixes that roles of other projects use, too. A name that resembles none of the cluster's may belong to such a role.
SHARED_PREFIXES = ("backup_", "certificates_", "firewall_", "haproxy_", "postgres_", "redis_")
# How alike two names are at least, of which one is taken for a misspelling of the other.
MISSPELT = 0.85
_OWN_CERTIFICATES = (
    "the certificates of a cluster are in /etc/airflow/tls: set certificates_host_file for one of your own instead"
)
# Parameters that site.yml itself passes to a role: set in an inventory they would silently do nothing.
PASSED_BY_THE_CLUSTER: Mapping[str, str] = {
    "airflow_workers_removed": "take the hosts out of group airflow_worker instead",
    "backup_restore": f"run {playbook('restore')} instead",
    "backup_restore_to": f"run {playbook('restore')} -e cluster_restore_to=... instead",
    "certificates_ca_name": "set certificates_ca_file for an authority of your own instead",
    "certificates_install_dir": _OWN_CERTIFICATES,
    "certificates_previous_ca_passphrase": f"run {playbook('rotate_secrets')} instead",
    "certificates_trusted_files": "set airflow_database_ca_file and airflow_broker_ca_file instead",
    "firewall_groups": "change the groups of the inventory instead",
    "firewall_services": "set firewall_extra_rules for what else to let in instead",
    "haproxy_check": "set haproxy_server_timeout for slow answers instead",
    "haproxy_login_callback_path": "set haproxy_login_attempts for more or fewer logins instead",
    "haproxy_login_path": "set haproxy_login_attempts for more or fewer logins instead",
    "haproxy_tls_dir": _OWN_CERTIFICATES,
    "haproxy_flower": "set flower_port and airflow_flower_bind instead",
    "haproxy_execution_api_servers": "set airflow_execution_api_instances and airflow_execution_api_first_port instead",
    "haproxy_servers": "set airflow_api_server_instances and airflow_api_server_first_port instead",
    "haproxy_url": "set airflow_web_url instead",
    "log_shipper_socket_group": "set airflow_user instead",
    "log_shipper_port": "set log_store_port instead",
    "log_shipper_stores": "take hosts into group airflow_api_server, or out of it, instead",
    "log_store_clients": "take hosts into the inventory, or out of it, instead",
    "postgres_backups": "set backup_enabled instead",
    "postgres_config_name": "set postgres_settings for further settings instead",
    "postgres_databases": "set airflow_database_password and airflow_results_password, or airflow_database_url and "
    "airflow_result_backend for databases of your own, instead",
    "postgres_max_file_mb": "set postgres_results_max_mb instead",
    "postgres_names": "set airflow_database_host or certificates_extra_names instead",
    "postgres_tls_dir": _OWN_CERTIFICATES,
    "postgres_cluster": "there are always two; set postgres_port and postgres_results_port instead",
    "redis_sysctl_file": "write a file of your own to /etc/sysctl.d instead",
    "redis_tls_dir": _OWN_CERTIFICATES,
    "redis_users": "set airflow_broker_password and flower_broker_password instead",
}
# Facts that the roles and the callback drift set, and results that the roles register. An operation that validates the
# inventory again finds them.
SET_BY_THE_ROLES = frozenset(
    {
        "airflow_drift",
        "airflow_not_deployed",
        "airflow_pinned_release",
        "airflow_process_result",
        "airflow_runtime_lock",
        "airflow_runtime_release",
        "airflow_scheduler_has_slots",
        "airflow_worker_quarantine",
        "airflow_worker_state",
        "backup_dags_copied",
        "backup_repository_copy_dir",
        "backup_restore_source",
        "certificates_current_ca",
        "debian_packages_collected",
        "debian_packages_installed",
        "log_store_files",
        "log_store_is_new",
        "preflight_inventory",
        "systemd_unit_drop_ins",
        "upgrade_pool_slots",
        "upgrade_workers_first",
    }
)
# One host would look for the other at the wrong port, or run another release, if these differed.
SAME_EVERYWHERE = (
    "airflow_version",
    "airflow_user",
    "airflow_executor",
    "airflow_failover_seconds",
    "airflow_failover_tuning",
    "airflow_default_task_retries",
    "airflow_default_task_retry_delay",
    "airflow_dags_source",
    "airflow_worker_batch",
    "airflow_dag_bundles",
    "airflow_plugins_dir",
    "airflow_api_server_first_port",
    "airflow_api_server_instances",
    "airflow_execution_api_first_port",
    "airflow_execution_api_instances",
    # Who trusts one authority does not believe another one.
    "certificates_ca_file",
    "certificates_dir",
    "airflow_runtime_extra_requirements",
    "haproxy_execution_api_port",
    "haproxy_port",
    "haproxy_redirect_port",
    "log_store_dir",
    "log_store_port",
    "airflow_task_logs",
    "airflow_task_logs_connection",
    "postgres_port",
    "postgres_results_port",
    "redis_port",
)
# Consent to a connection without TLS, or to a certificate that nobody verifies.
UNVERIFIED_VARIABLE = "airflow_allow_unverified_services"


@dataclass(frozen=True)
class Between:
    """A whole number in a range."""

    low: int
    high: int
    unit: str = ""

    def problem(self, value: Any) -> str | None:
        """Return what is expected if the value is not in the range."""
        if self.low <= int(value) <= self.high:
            return None
        return f"a whole number from {self.low} to {self.high}{' ' if self.unit else ''}{self.unit}"


@dataclass(frozen=True)
class Matches:
    """Text of a form; of a list, each element."""

    pattern: str
    expected: str
    empty: bool = False

    def problem(self, value: Any) -> str | None:
        """Return what is expected if the value does not have the form."""
        values = value if isinstance(value, list) else [value]
        if not values and not self.empty:
            return f"at least one of: {self.expected}"
        for item in values:
            if str(item) == "" and self.empty:
                continue
            if not re.fullmatch(self.pattern, str(item)):
                return self.expected
        return None


# The services run without root, which ports below 1024 need; HAProxy opens its port before it gives root up.
_PORT = Between(1024, 65535)
_SECONDS = Between(1, 7 * 24 * 3600, "(seconds)")
_MEMORY = Between(16, 10**8, "(MiB)")
_COUNT = Between(1, 100_000)
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\.?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+)"
_ADDRESS = r"\*|localhost|-?[0-9]{1,3}(?:\.[0-9]{1,3}){3}|-?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+"
_BIND = Matches(_ADDRESS, "an IP address to listen on, such as 0.0.0.0")
# Python programs and rsyslog take no wildcard.
_BIND_ADDRESS = Matches(rf"(?!\*)(?:{_ADDRESS})", "an IP address to listen on, such as 0.0.0.0 for all of IPv4")
_SOURCES = Matches(rf"(?:{_HOST})(?:/[0-9]{{1,3}})?", "IP addresses, networks such as 192.0.2.0/24, or host names")
_CALENDAR = Matches(
    r"[A-Za-z0-9*][A-Za-z0-9*.,:/~ _-]*", "a time as systemd's OnCalendar has it, such as Sun *-*-* 02:30:00"
)
_DEBIAN_PACKAGES = Matches(
    r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?(?:=[A-Za-z0-9.+:~*-]+)?",
    "names of Debian packages, such as libmariadb3 or libmariadb3=1:10.11.6-0+deb12u1",
    empty=True,
)
# Directories of the system that software shares. A directory below them may be the cluster's own.
SHARED_DIRECTORIES = frozenset(
    ["/media", "/mnt", "/opt", "/srv", "/var"]
    + [f"/var/{name}" for name in ("backups", "cache", "lib", "local", "log", "mail", "opt", "spool")]
)


@dataclass(frozen=True)
class DataDirectory(Matches):
    """A path for data of the cluster alone, because a run gives the directory another owner and mode.

    :param example: name of a directory.
    """

    example: str = ""

    def problem(self, value: Any) -> str | None:
        """Return what is expected if the path is not one for the cluster's data."""
        if str(value) in SHARED_DIRECTORIES:
            return f"a directory of the cluster's own: other software uses {value}, and a run would change its owner"
        return super().problem(value)


def _data_directory(example: str) -> DataDirectory:
    # Not where PostgreSQL, Airflow or this cluster keep what they write, no part of the system, and no path that the
    # sandbox of the units hides.
    return DataDirectory(
        r"/(?!(?:var/lib/(?:postgresql|airflow)|var/(?:run|lock)|boot|bin|sbin|lib(?:32|64|x32)?|etc|usr|run|tmp|var/tmp"
        r"|home|root|proc|sys|dev|opt/airflow|lost\+found)(?:/|$))"
        r"(?:(?!\.\.?(?:/|$))[^\s/]+/)*(?!\.\.?$)[^\s/]+",
        "an absolute path outside /var/lib/postgresql, /var/lib/airflow, the system's own directories, and /home, "
        "/root, /tmp and /var/tmp, which the sandbox of the units hides",
        example=example,
    )


# The cluster's own Celery clients (ping, drain, canary) know one address.
_NO_SENTINEL = "for Redis Sentinel, that of a TCP proxy or of the managed endpoint that follows the primary"
_HTTP = r"https?://[^\s/]+\S*"
# Scheme, host and port.
_ORIGIN = r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"

MOST_SLOTS = 1000
# Variables that hold environment variables for the code that a user brings.
ENVIRONMENTS = frozenset(
    {
        "airflow_api_server_environment",
        "airflow_dag_processor_environment",
        "airflow_environment",
        "airflow_triggerer_environment",
        "airflow_worker_environment",
    }
)

RULES: Mapping[str, Between | Matches] = {
    "airflow_address": Matches(_HOST, "a host name or an IP address, without port and scheme"),
    "airflow_admin_email": Matches(r"[^@\s]+@[^@\s]+", "an e-mail address"),
    "airflow_admin_user": Matches(r"[A-Za-z0-9_.@-]{1,64}", "letters, digits, _ . @ and -, 64 at most"),
    "airflow_api_server_bind": _BIND_ADDRESS,
    "airflow_api_server_first_port": _PORT,
    "airflow_api_server_instances": Between(1, 64),
    "airflow_api_server_workers": Between(1, 64),
    "airflow_broker_url": Matches(
        r"rediss?://\S+", f"a URL such as rediss://user:password@host:6379/0; {_NO_SENTINEL}"
    ),
    "airflow_config_extra_sections": Matches(r"[A-Za-z0-9_.-]+", "names of sections", empty=True),
    "airflow_dag_processor_stop_timeout": _SECONDS,
    "airflow_dags_git_url": Matches(
        r"(?:https?|ssh|git|file)://\S+|[^\s:/]+@[^\s:]+:\S+|/\S+", "the URL of a git repository", empty=True
    ),
    "airflow_dags_git_ref": Matches(r"[^\s~^:?*\[\\-][^\s~^:?*\[\\]*", "a branch, tag or commit"),
    "airflow_dags_git_subdir": Matches(
        r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))\S+", "a directory inside the repository, relative to its root", empty=True
    ),
    "airflow_dags_keep_releases": Between(1, 1000),
    "airflow_dags_refresh_interval": _SECONDS,
    "airflow_database_host": Matches(_HOST, "a host name or an IP address, without port and scheme"),
    "airflow_database_url": Matches(
        r"postgresql(?:\+psycopg2)?://\S+", "a URL such as postgresql+psycopg2://user:password@host:5432/airflow"
    ),
    "airflow_default_pool_slots": _COUNT,
    "airflow_default_task_retries": Between(0, 100),
    "airflow_default_task_retry_delay": Between(1, 600, "(seconds)"),
    "airflow_execution_api_first_port": _PORT,
    "airflow_execution_api_instances": Between(1, 64),
    "airflow_execution_api_url": Matches(
        r"https?://[^\s/@?#]+/execution/?",
        "an http(s) URL with the path /execution/, where HAProxy serves it, without query, fragment and user",
    ),
    "airflow_front_door_sources": _SOURCES,
    # Tasks of another executor have no lease, and its processes do not trust the authority of the Execution API.
    "airflow_executor": Matches(
        "CeleryExecutor",
        "CeleryExecutor alone: tasks of another executor do not reach the Execution API and are not fenced",
    ),
    "airflow_failover_seconds": Between(LEAST_SECONDS, MOST_SECONDS, "(seconds)"),
    "airflow_flower_broker_url": Matches(r"rediss?://\S+", f"a URL such as rediss://host:6379/0; {_NO_SENTINEL}"),
    "airflow_host_control_memory_mb": _MEMORY,
    "airflow_housekeeping_database_days": Between(1, 36_500, "(days)"),
    "airflow_housekeeping_local_log_days": Between(1, 36_500, "(days)"),
    "airflow_housekeeping_local_log_mb": Between(64, 10**8, "(MB)"),
    "airflow_housekeeping_log_days": Between(1, 36_500, "(days)"),
    "airflow_housekeeping_log_mb": Between(64, 10**8, "(MB)"),
    "airflow_housekeeping_schedule": _CALENDAR,
    "airflow_host_memory_mb": _MEMORY,
    "airflow_max_active_runs_per_dag": _COUNT,
    "airflow_max_active_tasks_per_dag": _COUNT,
    "airflow_parallelism": _COUNT,
    "airflow_result_backend": Matches(
        r"db\+postgresql(?:\+psycopg2)?://\S+", "a URL such as db+postgresql+psycopg2://user:password@host:5432/results"
    ),
    "airflow_runtime_build_packages": _DEBIAN_PACKAGES,
    "airflow_runtime_extra_index_urls": Matches(_HTTP, "http(s) URLs", empty=True),
    "airflow_runtime_cache_days": Between(1, 36_500, "(days)"),
    "airflow_runtime_index_url": Matches(_HTTP, "an http(s) URL", empty=True),
    "airflow_runtime_keep_releases": Between(1, 1000),
    "airflow_runtime_packages": _DEBIAN_PACKAGES,
    "airflow_runtime_proxy_url": Matches(_HTTP, "an http(s) URL", empty=True),
    "airflow_scheduler_health_port": _PORT,
    "airflow_scheduler_stop_timeout": _SECONDS,
    "airflow_task_logs": Matches(
        r"store|local|(?:cloudwatch|gs|hdfs|oss|s3|stackdriver|wasb)://\S+",
        "store, or the URL of an object storage such as s3://bucket/prefix, or local where all hosts share the "
        "directory of the logs",
    ),
    "airflow_task_logs_connection": Matches(r"[A-Za-z0-9_.-]{1,200}", "the id of an Airflow connection", empty=True),
    "airflow_triggerer_capacity": _COUNT,
    "airflow_triggerer_stop_timeout": _SECONDS,
    "airflow_user": Matches(
        r"(?!root$)[a-z_][a-z0-9_-]{0,16}", "the name of a system user other than root, 17 characters at most"
    ),
    "airflow_visibility_timeout": Between(60, 10 * 365 * 24 * 3600, "(seconds)"),
    # Airflow would expect the path in front of each request, also of the health checks.
    "airflow_web_url": Matches(
        _ORIGIN + "/?",
        "an http(s) URL of scheme, host and port alone, as https://airflow.example.com: HAProxy serves the UI at /",
    ),
    "airflow_worker_batch": Matches(
        r"[1-9][0-9]*|[1-9][0-9]?%|100%", "how many workers are restarted at a time, such as 2 or 25%"
    ),
    "airflow_worker_build_packages": _DEBIAN_PACKAGES,
    "airflow_worker_concurrency": Between(1, MOST_SLOTS),
    "airflow_worker_hand_over_time": _SECONDS,
    "airflow_worker_memory_max": Matches(
        r"[1-9][0-9]?%|100%|[1-9][0-9]*[KMGT]?|infinity",
        "a share of the memory such as 90%, a size such as 6G, or infinity",
    ),
    "airflow_worker_min_free_mb": Between(1, 1_000_000, "(MiB)"),
    "airflow_worker_packages": _DEBIAN_PACKAGES,
    "airflow_worker_queues": Matches(r"[A-Za-z0-9_.-]+", "names of queues: letters, digits, _ . and -"),
    "airflow_worker_start_timeout": _SECONDS,
    "airflow_worker_stop_timeout": _SECONDS,
    "airflow_worker_watchdog_timeout": Between(8, 3600, "(seconds)"),
    "backup_archive_timeout": Between(10, 86_400, "(seconds)"),
    "backup_diff_schedule": _CALENDAR,
    "backup_fetch_dir": Matches(r"/.+", "an absolute path on the controller, or nothing", empty=True),
    "backup_full_schedule": _CALENDAR,
    "backup_keep_diff": Between(1, 10_000),
    "backup_keep_full": Between(1, 10_000),
    "backup_repository": _data_directory("airflow-backups"),
    "backup_wal_queue_max_mb": Between(64, 10**7, "(MiB)"),
    "certificates_ca_days": Between(1, 36_500, "(days)"),
    "certificates_days": Between(1, 36_500, "(days)"),
    "certificates_extra_names": Matches(_HOST, "host names or IP addresses", empty=True),
    "certificates_renew_days": Between(0, 36_500, "(days)"),
    "airflow_flower_bind": _BIND_ADDRESS,
    "firewall_rollback_seconds": Between(10, 600, "(seconds)"),
    "firewall_ssh_ports": Matches(r"[1-9][0-9]{0,4}", "TCP ports", empty=True),
    "firewall_ssh_sources": _SOURCES,
    "flower_port": _PORT,
    "flower_user": Matches(r"[A-Za-z0-9_.@-]{1,64}", "letters, digits, _ . @ and -, 64 at most"),
    "haproxy_bind": _BIND,
    "haproxy_execution_api_max_body_mb": Between(1, 2048, "(MiB)"),
    "haproxy_execution_api_port": Between(1, 65535),
    "haproxy_login_attempts": Between(1, 100_000),
    "haproxy_max_body_mb": Between(1, 2048, "(MiB)"),
    "haproxy_port": Between(1, 65535),
    "haproxy_redirect_port": Between(1, 65535),
    "haproxy_server_timeout": _SECONDS,
    "log_shipper_port": _PORT,
    "log_shipper_spool_mb": Between(64, 10**6, "(MB)"),
    "log_shipper_unit_spool_mb": Between(64, 10**6, "(MB)"),
    "log_store_bind": _BIND_ADDRESS,
    "log_store_dir": _data_directory("airflow-log-store"),
    "log_store_port": _PORT,
    "postgres_listen_addresses": _BIND,
    "postgres_max_connections": Between(20, 262_143),
    "postgres_memory_mb": _MEMORY,
    "postgres_port": _PORT,
    "postgres_results_max_mb": Between(64, 1023, "(MiB)"),
    "postgres_results_port": _PORT,
    "preflight_connect_timeout": Between(1, 300, "(seconds)"),
    "preflight_max_clock_offset": Between(1, 3600, "(seconds)"),
    "preflight_min_disk_mb": Between(0, 10**9, "(MB)"),
    "preflight_min_memory_mb": Between(0, 10**9, "(MB)"),
    "preflight_min_worker_memory_mb": Between(0, 10**9, "(MB)"),
    "redis_bind": _BIND,
    "redis_maxclients": Between(10, 1_000_000),
    "redis_memory_mb": _MEMORY,
    "redis_port": _PORT,
}
