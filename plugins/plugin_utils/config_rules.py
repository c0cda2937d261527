"""What airflow_config may set, as tables. Package inventory_check applies them."""

from __future__ import annotations

from collections.abc import Mapping

# What the sandbox of the units (plugins/plugin_utils/sandbox.py) hides, and the setting that does so.
HIDDEN_PATHS: Mapping[str, str] = {
    "/home": "ProtectHome",
    "/root": "ProtectHome",
    "/run/user": "ProtectHome",
    "/tmp": "PrivateTmp",
    "/var/tmp": "PrivateTmp",
}
# Options of Airflow that name directories to which processes write.
WRITTEN_OPTIONS = frozenset(
    {
        "dag_processor.dag_bundle_storage_path",
        "logging.base_log_folder",
        "logging.dag_processor_child_process_log_directory",
    }
)

# Settings that more than airflow.cfg depends on, and the variable that reaches all of it.
OWNED_OPTIONS: Mapping[str, str] = {
    "api.base_url": "airflow_web_url",
    "api.host": "airflow_api_server_bind",
    "api.port": "airflow_api_server_first_port",
    "api.secret_key": "airflow_api_secret_key",
    "api.workers": "airflow_api_server_workers",
    "api_auth.jwt_secret": "airflow_jwt_secret",
    "celery.broker_url": "airflow_broker_url",
    "celery.flower_basic_auth": "flower_user and flower_password",
    "celery.flower_host": "airflow_flower_bind",
    "celery.flower_port": "flower_port",
    "celery.result_backend": "airflow_result_backend",
    "celery.worker_autoscale": "airflow_worker_autoscale",
    "celery.worker_concurrency": "airflow_worker_concurrency",
    "celery_broker_transport_options.visibility_timeout": "airflow_visibility_timeout",
    "core.default_pool_task_slot_count": "airflow_default_pool_slots",
    "core.default_task_retries": "airflow_default_task_retries",
    "core.default_task_retry_delay": "airflow_default_task_retry_delay",
    "core.execution_api_server_url": "airflow_execution_api_url",
    "core.executor": "airflow_executor",
    "core.fernet_key": "airflow_fernet_key",
    "core.max_active_runs_per_dag": "airflow_max_active_runs_per_dag",
    "core.max_active_tasks_per_dag": "airflow_max_active_tasks_per_dag",
    "core.parallelism": "airflow_parallelism",
    "core.plugins_folder": "airflow_plugins_dir",
    "database.sql_alchemy_conn": "airflow_database_url",
    "fab.config_file": "airflow_webserver_config",
    "fab.update_fab_perms": "airflow_update_fab_perms",
    "logging.remote_base_log_folder": "airflow_task_logs",
    "logging.remote_log_conn_id": "airflow_task_logs_connection",
    "scheduler.scheduler_health_check_server_port": "airflow_scheduler_health_port",
    "triggerer.capacity": "airflow_triggerer_capacity",
}
# Settings that the cluster has to make itself: what is expected, and the remedy.
FIXED_OPTIONS: Mapping[str, tuple[str, str]] = {
    "celery_broker_transport_options.global_keyprefix": (
        "no prefix: the scheduler removes messages that no task waits for, and looks for them without one",
        "remove it; applications that share a Redis have a database of their own each, as in airflow_broker_url: .../1",
    ),
    "celery.celery_config_options": (
        "airflow_celery_cluster.celery_config.CONFIG, which hides the messages of tasks and loads the fence",
        "put the settings into airflow_config.celery.extra_celery_config",
    ),
    "scheduler.enable_health_check": ("True, with which a deployment waits for the scheduler", "remove it"),
    "scheduler.scheduler_health_check_server_host": (
        "127.0.0.1, where a deployment waits for the scheduler",
        "remove it",
    ),
    "dag_processor.dag_bundle_config_list": (
        "the bundles of the cluster, without which upgrades could not try a worker",
        "put your bundles into airflow_dag_bundles",
    ),
    "celery.flower_url_prefix": ("flower, the path at which HAProxy serves Flower", "remove it"),
}
# Settings with which the logs of tasks would not get to the log store, or not be found there, and what is expected.
STORE_OPTIONS: Mapping[str, str] = {
    "logging.base_log_folder": "the directory of each process, and that of the log store for the API servers",
    "logging.log_filename_template": "Airflow's own form of the path, as the log store takes no other",
    "logging.logging_config_class": "that of the cluster, which sends each line to the log store",
    "logging.task_log_reader": "task, the handler that reads the log store",
}
# The mail of tasks goes through the provider smtp, with a connection. Only a backend of the site's own, which may call
# older functions of Airflow, reads these settings. tests/unit/test_airflow_config.py compares them with the source.
MAIL_BACKEND = "airflow.utils.email.send_email_smtp"
MAIL_SECTION = "smtp"
MAIL_OPTIONS = frozenset({"email.ssl_context"})
# The scheduler would publish the arguments of each task, with the token, to everybody who reads Celery's events.
SENT_EVENTS = "task_send_sent_event"
# Airflow hands these sections to a library as they are, so a name that it does not describe may be right.
# Only what is spelt almost like a known name is a mistake for certain.
OPEN_SECTIONS = frozenset(
    {
        "celery_broker_transport_options",
        "celery_result_backend_transport_options",
        "elasticsearch_configs",
        "opensearch_configs",
        "sentry",
    }
)
