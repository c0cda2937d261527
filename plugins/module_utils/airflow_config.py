"""Which Airflow process reads which setting.

Each process gets a configuration file of its own that holds only what it reads.
So a changed setting changes, and therefore restarts, exactly the processes
that it concerns, and no process holds settings that are none of its business.
"""

from __future__ import annotations

import configparser
import io
import json
from collections.abc import Mapping
from typing import Any

AIRFLOW_PROCESSES = frozenset(
    {"api-server", "execution-api", "scheduler", "dag-processor", "triggerer", "worker", "database"}
)
PROCESSES = AIRFLOW_PROCESSES | {"flower"}
_WITH_DATABASE = AIRFLOW_PROCESSES - {"worker"}
_WITH_CELERY = frozenset({"scheduler", "worker", "database"})

# Sections that only some processes read. A section that is not named here is read by every
# Airflow process: a restart too many is better than a setting that silently does not apply.
SECTION_READERS: Mapping[str, frozenset[str]] = {
    "api": frozenset({"api-server", "execution-api"}),
    "api_auth": frozenset({"api-server", "execution-api", "scheduler"}),
    "celery": _WITH_CELERY,
    "celery_broker_transport_options": frozenset({"scheduler", "worker", "flower"}),
    "celery_result_backend_transport_options": frozenset({"scheduler", "worker"}),
    "dag_processor": frozenset({"dag-processor"}),
    "database": _WITH_DATABASE,
    # The scheduler signs the first token of a task.
    "execution_api": frozenset({"execution-api", "scheduler"}),
    "fab": frozenset({"api-server", "database"}),
    # Our own: the lease of a running task, see airflow_celery_cluster.fence.
    "failover": frozenset({"worker"}),
    "scheduler": frozenset({"scheduler"}),
    "triggerer": frozenset({"triggerer"}),
    "workers": frozenset({"worker"}),
}

# Settings that are read by other processes than the rest of their section.
OPTION_READERS: Mapping[tuple[str, str], frozenset[str]] = {
    # The Execution API would serve below the path of this URL, where no task looks.
    ("api", "base_url"): AIRFLOW_PROCESSES - {"execution-api"},
    # What a task's client of the Execution API believes, and shows of itself.
    ("api", "client_ssl_cert"): frozenset({"worker"}),
    ("api", "client_ssl_key"): frozenset({"worker"}),
    ("api", "client_use_public_certs"): frozenset({"worker"}),
    ("api", "ssl_ca_file"): frozenset({"worker"}),
    ("api", "secret_key"): frozenset({"api-server", "worker", "triggerer"}),
    ("api_auth", "trusted_jwks_url"): frozenset({"api-server", "execution-api"}),
    ("celery", "celery_config_options"): frozenset({"worker"}),
    ("celery", "operation_timeout"): frozenset({"scheduler"}),
    ("celery", "ssl_active"): _WITH_CELERY | {"flower"},
    ("celery", "ssl_cacert"): _WITH_CELERY | {"flower"},
    ("celery", "ssl_cert"): _WITH_CELERY | {"flower"},
    ("celery", "ssl_key"): _WITH_CELERY | {"flower"},
    ("celery", "ssl_mutual_tls"): _WITH_CELERY | {"flower"},
    ("celery", "sync_parallelism"): frozenset({"scheduler"}),
    ("celery", "task_publish_max_retries"): frozenset({"scheduler"}),
    ("celery", "worker_autoscale"): frozenset({"worker"}),
    ("celery", "worker_concurrency"): frozenset({"worker"}),
    ("celery", "worker_prefetch_multiplier"): frozenset({"worker"}),
    ("core", "auth_manager"): frozenset({"api-server", "scheduler", "dag-processor", "triggerer", "database"}),
    ("core", "default_pool_task_slot_count"): frozenset({"database"}),
    ("core", "execution_api_server_url"): frozenset({"scheduler", "worker"}),
    ("core", "max_active_runs_per_dag"): frozenset({"dag-processor", "scheduler", "worker"}),
    ("core", "max_active_tasks_per_dag"): frozenset({"dag-processor", "scheduler", "worker"}),
    ("core", "parallelism"): frozenset({"scheduler"}),
    ("dag_processor", "bundle_refresh_check_interval"): frozenset({"dag-processor"}),
    ("dag_processor", "dag_bundle_config_list"): AIRFLOW_PROCESSES,
    ("dag_processor", "dag_bundle_storage_path"): AIRFLOW_PROCESSES,
    ("dag_processor", "disable_bundle_versioning"): AIRFLOW_PROCESSES,
    # The base class of every DAG bundle reads it, wherever a bundle is opened.
    ("dag_processor", "refresh_interval"): frozenset({"dag-processor", "triggerer", "worker"}),
    ("dag_processor", "stale_bundle_cleanup_age_threshold"): frozenset({"worker"}),
    ("dag_processor", "stale_bundle_cleanup_interval"): frozenset({"worker"}),
    # The age of a heartbeat at which the health check of the API server, and the cluster's status, call a process dead.
    ("dag_processor", "health_check_threshold"): frozenset({"api-server", "dag-processor", "scheduler"}),
    ("triggerer", "triggerer_health_check_threshold"): frozenset({"api-server", "scheduler", "triggerer"}),
    ("logging", "trigger_log_server_port"): frozenset({"api-server", "triggerer"}),
    ("logging", "worker_log_server_port"): frozenset({"api-server", "worker"}),
    # How long the others go without a scheduler's heartbeat before they call it dead.
    ("scheduler", "scheduler_health_check_threshold"): frozenset({"api-server", "scheduler"}),
    # The worker derives from it how long it may go without a heartbeat.
    ("scheduler", "task_instance_heartbeat_timeout"): frozenset({"scheduler", "worker"}),
    # How long a task may wait on the worker for the Execution API: its token is valid for that time.
    ("scheduler", "task_queued_timeout"): frozenset({"scheduler", "worker"}),
    ("triggerer", "default_capacity"): frozenset({"triggerer"}),
}


def readers(section: str, option: str) -> frozenset[str]:
    """Return the processes that read a setting.

    :param section: section of ``airflow.cfg``, in lower case.
    :param option: its option, in lower case.
    """
    return OPTION_READERS.get((section, option)) or SECTION_READERS.get(section, AIRFLOW_PROCESSES)


def text_of(value: Any) -> str:
    """Return a value as Airflow is to read it.

    Mappings and lists become JSON, truth values Airflow's ``True`` and
    ``False``. Line breaks at the end, as a YAML block has one, are left out.
    """
    if value is None:
        return ""
    if isinstance(value, Mapping | list):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value).rstrip("\n")


def render_value(value: Any) -> str:
    """Return a value as ``airflow.cfg`` spells it.

    A percent sign is doubled because the file is interpolated, and further
    lines are indented because they would be options of their own otherwise.
    """
    return text_of(value).replace("%", "%%").replace("\n", "\n    ")


def is_readable(option: str, value: Any) -> bool:
    """Return whether Airflow reads this value of this option from ``airflow.cfg`` as it is.

    The file has no way to write some values: ``configparser`` strips lines and drops those that begin with # or ;.
    """
    parser = configparser.ConfigParser()
    # As Airflow's parser: the case of options is kept.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        written = f"[section]\n{option} = {render_value(value)}\n".encode()
        parser.read_file(io.TextIOWrapper(io.BytesIO(written), encoding="utf-8"))
        return dict(parser.items("section")) == {option: text_of(value)}
    except (configparser.Error, UnicodeError):
        return False


def for_process(config: Mapping[str, Mapping[str, Any]], process: str) -> dict[str, dict[str, str]]:
    """Return what one process reads of a configuration, rendered and sorted.

    :param config: ``{section: {option: value}}``.
    :param process: one of ``PROCESSES``; ValueError for any other name.
    """
    if process not in PROCESSES:
        raise ValueError(f"unknown process {process!r}; expected one of {', '.join(sorted(PROCESSES))}")
    chosen: dict[str, dict[str, str]] = {}
    for section in sorted(config):
        options = {
            option: render_value(config[section][option])
            for option in sorted(config[section])
            if process in readers(section.lower(), option.lower())
        }
        if options:
            chosen[section] = options
    return chosen
