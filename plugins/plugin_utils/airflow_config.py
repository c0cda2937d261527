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
_WITH_BROKER = _WITH_CELERY | {"flower"}
_WITH_TOKENS = frozenset({"api-server", "execution-api", "scheduler"})
# They import DAG files, or run task code, triggers and callbacks. "database" is the airflow command.
_WITH_DAG_CODE = frozenset({"scheduler", "dag-processor", "triggerer", "worker", "database"})
# They show the state of the jobs, or have a job.
_WITH_JOBS = frozenset({"api-server", "scheduler", "dag-processor", "triggerer", "database"})

# Sections that only some processes read. Every Airflow process reads any other section: an unnecessary restart
# is better than a setting without effect. tests/unit/test_airflow_config.py compares the tables with Airflow's source.
SECTION_READERS: Mapping[str, frozenset[str]] = {
    "api": frozenset({"api-server", "execution-api", "database"}),
    # The scheduler signs the first token of a task.
    "api_auth": _WITH_TOKENS,
    "celery": _WITH_CELERY,
    "celery_broker_transport_options": frozenset({"scheduler", "worker", "flower"}),
    "celery_result_backend_transport_options": frozenset({"scheduler", "worker"}),
    "dag_processor": frozenset({"dag-processor", "database"}),
    "database": _WITH_DATABASE,
    # DAG processor and triggerer have an Execution API of their own inside the process.
    "execution_api": _WITH_DATABASE,
    # The DAG processor writes the permissions of each DAG.
    "fab": frozenset({"api-server", "dag-processor", "database"}),
    # The lease of a running task, see airflow_celery_cluster.fence.
    "failover": frozenset({"worker"}),
    "scheduler": frozenset({"scheduler", "database"}),
    # Where lines of logs are sent, see airflow_celery_cluster.task_logs.
    "task_logs": frozenset({"dag-processor", "triggerer", "worker"}),
    "triggerer": frozenset({"triggerer", "database"}),
    "workers": _WITH_DAG_CODE,
}

# Settings that are read by other processes than the rest of their section.
OPTION_READERS: Mapping[tuple[str, str], frozenset[str]] = {
    # The Execution API would serve below the path of this URL, where no task looks.
    ("api", "base_url"): AIRFLOW_PROCESSES - {"execution-api"},
    # TLS of a task's client of the Execution API. Other processes with such a client call it inside the process.
    ("api", "client_ssl_cert"): frozenset({"worker"}),
    ("api", "client_ssl_key"): frozenset({"worker"}),
    ("api", "client_use_public_certs"): frozenset({"worker"}),
    ("api", "ssl_ca_file"): frozenset({"worker"}),
    ("api", "ssl_cert"): frozenset({"api-server", "execution-api", "worker", "database"}),
    # A secret.
    ("api", "secret_key"): frozenset({"api-server"}),
    ("api_auth", "trusted_jwks_url"): frozenset({"api-server", "execution-api"}),
    # What the cluster adds to a worker and to the executor of a scheduler.
    ("celery", "celery_config_options"): frozenset({"scheduler", "worker"}),
    ("celery", "ssl_active"): _WITH_BROKER,
    ("celery", "ssl_cacert"): _WITH_BROKER,
    ("celery", "ssl_cert"): _WITH_BROKER,
    ("celery", "ssl_key"): _WITH_BROKER,
    ("celery", "ssl_mutual_tls"): _WITH_BROKER,
    ("celery", "sync_parallelism"): frozenset({"scheduler", "database"}),
    ("celery", "task_publish_max_retries"): frozenset({"scheduler", "database"}),
    ("core", "auth_manager"): _WITH_JOBS,
    ("core", "default_pool_task_slot_count"): frozenset({"database"}),
    ("core", "execution_api_server_url"): frozenset({"scheduler", "worker", "database"}),
    ("core", "parallelism"): frozenset({"scheduler", "database"}),
    # Every process that opens a bundle reads these.
    ("dag_processor", "dag_bundle_config_list"): AIRFLOW_PROCESSES,
    ("dag_processor", "dag_bundle_storage_path"): AIRFLOW_PROCESSES,
    ("dag_processor", "disable_bundle_versioning"): AIRFLOW_PROCESSES,
    ("dag_processor", "refresh_interval"): AIRFLOW_PROCESSES,
    ("dag_processor", "stale_bundle_cleanup_age_threshold"): AIRFLOW_PROCESSES,
    ("dag_processor", "stale_bundle_cleanup_interval"): AIRFLOW_PROCESSES,
    ("dag_processor", "stale_bundle_cleanup_min_versions"): AIRFLOW_PROCESSES,
    ("dag_processor", "health_check_threshold"): _WITH_JOBS,
    ("scheduler", "allowed_run_id_pattern"): _WITH_DATABASE,
    ("scheduler", "catchup_by_default"): AIRFLOW_PROCESSES,
    ("scheduler", "create_cron_data_intervals"): AIRFLOW_PROCESSES,
    # Airflow describes the option, and 3.3.2 does not read it. It belongs to the option before.
    ("scheduler", "create_delta_data_intervals"): AIRFLOW_PROCESSES,
    ("scheduler", "job_heartbeat_sec"): _WITH_JOBS,
    ("scheduler", "parsing_cleanup_interval"): frozenset({"scheduler", "dag-processor", "database"}),
    ("scheduler", "partition_mapper_max_downstream_keys"): _WITH_DATABASE,
    ("scheduler", "scheduler_health_check_threshold"): _WITH_JOBS,
    ("scheduler", "scheduler_heartbeat_sec"): _WITH_JOBS,
    # The worker derives from it how long a task may go without a heartbeat.
    ("scheduler", "task_instance_heartbeat_timeout"): _WITH_DAG_CODE,
    # The worker derives from it how long a task may wait for the Execution API.
    ("scheduler", "task_queued_timeout"): frozenset({"scheduler", "worker", "database"}),
    ("scheduler", "use_row_level_locking"): _WITH_DATABASE,
    ("triggerer", "queues_enabled"): AIRFLOW_PROCESSES,
    ("triggerer", "triggerer_health_check_threshold"): _WITH_JOBS,
    # A secret. The processes that run DAG code as clients of the Execution API look up connections there.
    ("workers", "secrets_backend"): frozenset({"dag-processor", "triggerer", "worker"}),
    ("workers", "secrets_backend_kwargs"): frozenset({"dag-processor", "triggerer", "worker"}),
}


# The words that Airflow reads as truth values, whatever their case.
BOOLEANS: Mapping[bool, frozenset[str]] = {
    True: frozenset({"t", "true", "1"}),
    False: frozenset({"f", "false", "0"}),
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
