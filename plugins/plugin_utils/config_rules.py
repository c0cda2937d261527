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
    "celery.ssl_active": "airflow_broker_url",
    "celery.ssl_cacert": "airflow_broker_ca_file",
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
    "fab.cookie_secure": "airflow_web_url",
    "fab.update_fab_perms": "airflow_update_fab_perms",
    "logging.remote_base_log_folder": "airflow_task_logs",
    "logging.remote_log_conn_id": "airflow_task_logs_connection",
    "scheduler.scheduler_health_check_server_port": "airflow_scheduler_health_port",
    "triggerer.capacity": "airflow_triggerer_capacity",
}
# Settings that the cluster has to make itself: what is expected, and the remedy.
FIXED_OPTIONS: Mapping[str, tuple[str, str]] = {
    "api.ssl_cert": (
        "no value: an API server speaks TLS, with a certificate of its role, if other hosts reach it",
        "remove it; for TLS between HAProxy and the API servers set airflow_api_server_bind",
    ),
    "api.ssl_key": (
        "no value: an API server speaks TLS, with a key of its role, if other hosts reach it",
        "remove it; for TLS between HAProxy and the API servers set airflow_api_server_bind",
    ),
    "celery_broker_transport_options.priority_steps": (
        "no value: Airflow cannot hand over a list, and the status counts the tasks that wait in kombu's own steps",
        "remove it",
    ),
    "celery_broker_transport_options.sep": (
        "no value: workers answer only those who separate names in Redis as they do, and the programs that command "
        "workers use kombu's own separator",
        "remove it",
    ),
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
# Settings with one right value, which the cluster makes itself: the value, why it is right, and the remedy.
_REACHED = "with which the programs that command workers reach them (deployment, drain, canary, watchdog)"
FIXED_VALUES: Mapping[str, tuple[str, str, str]] = {
    "api.client_use_public_certs": (
        "False",
        "False: the Execution API has a certificate of the cluster's authority, which is not a public one",
        "remove it",
    ),
    "api.ssl_ca_file": (
        "/etc/airflow/tls/ca.pem",
        "/etc/airflow/tls/ca.pem, the authority of the Execution API's certificate",
        "remove it; an authority of your own is certificates_ca_file (docs/certificates.md)",
    ),
    "celery.pool": (
        "prefork",
        "prefork: fence, drain and watchdog know the tasks of a worker by their processes",
        "remove it; airflow_worker_concurrency is the number of tasks at a time",
    ),
    "celery.worker_enable_remote_control": ("True", f"True, {_REACHED}", "remove it"),
    "celery_broker_transport_options.fanout_patterns": ("True", f"True, {_REACHED}", "remove it"),
    "celery_broker_transport_options.fanout_prefix": ("True", f"True, {_REACHED}", "remove it"),
    "core.auth_manager": (
        "airflow_celery_cluster.auth_manager.ClusterAuthManager",
        "airflow_celery_cluster.auth_manager.ClusterAuthManager, which ends session and token at a logout",
        "remove it; another way to log in is set in airflow_webserver_config (docs/operations/login.md)",
    ),
    "core.default_impersonation": (
        "",
        "no value: the sandbox of a worker lets no task become another user with sudo (docs/sandbox.md)",
        "remove it",
    ),
    "core.hostname_callable": (
        "airflow_celery_cluster.identity.address",
        "airflow_celery_cluster.identity.address, by which canary and status know the host of a task",
        "remove it; the name is airflow_address",
    ),
    "database.check_migrations": (
        "False",
        "False: migrations are a step of the deployment, and a process must start also between two steps of an upgrade",
        "remove it",
    ),
    "database.sql_alchemy_connect_args_async": (
        "airflow_celery_cluster.database_tls.CONNECT_ARGS",
        "airflow_celery_cluster.database_tls.CONNECT_ARGS, which takes TLS from the URL of the database",
        "put sslmode and sslrootcert into airflow_database_url",
    ),
    "fab.enable_proxy_fix": ("True", "True: HAProxy tells the address of the client in a header", "remove it"),
    "triggerer.queues_enabled": (
        "False",
        "False: the triggerers take triggers without a queue only, and others would wait for ever",
        "remove it",
    ),
}
# Settings of Celery that extra_celery_config must not have, because the cluster or another setting decides them: why,
# and the remedy. tests/unit/test_inventory_configuration.py compares them with celery_config.py.
_OWN_URL = "Airflow would use it instead of the URL of the variable"
CELERY_SETTINGS: Mapping[str, tuple[str, str]] = {
    "broker_read_url": (_OWN_URL, "set airflow_broker_url instead"),
    "broker_transport_options": (
        "it replaces all options of the connection",
        "set airflow_config.celery_broker_transport_options instead",
    ),
    "broker_url": (_OWN_URL, "set airflow_broker_url instead"),
    "broker_use_ssl": ("TLS of the broker follows from its URL", "set airflow_broker_url instead"),
    "broker_write_url": (_OWN_URL, "set airflow_broker_url instead"),
    "control_exchange": ("workers would not hear the programs that command them", "remove it"),
    "database_engine_options": (
        "it replaces the options that keep results over a restart of PostgreSQL",
        "set airflow_config.celery.result_backend_sqlalchemy_engine_options instead",
    ),
    "event_exchange": ("Flower would hear no worker", "remove it"),
    "result_backend": (_OWN_URL, "set airflow_result_backend instead"),
    "task_default_exchange": ("it is the default queue", "set airflow_config.operators.default_queue instead"),
    "task_default_queue": ("tasks name their queue", "set airflow_config.operators.default_queue instead"),
    "worker_concurrency": ("memory and slots are computed from the variable", "set airflow_worker_concurrency instead"),
    "worker_enable_remote_control": ("deployment, drain, canary and watchdog command workers", "remove it"),
    "worker_pool": ("fence, drain and watchdog know the tasks of a worker by their processes", "remove it"),
    "worker_send_task_events": ("the cluster sets it, and overwrites what is here", "remove it"),
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
