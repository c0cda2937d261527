"""The ways to break the addresses, the secrets and the settings of a sound inventory, and what is said of each."""

from __future__ import annotations

from .changes import everywhere, lost_secret, on, secret, setting
from .refusal_row import ALL, Row

ROWS = [
    # Addresses and ports
    Row(
        "network",
        "two ports on one host",
        everywhere(flower_port=8081),
        ("host control1: ", "= 8081", "a port of its own", "airflow_api_server_first_port", "to another port"),
    ),
    Row(
        "network",
        "a port that only one host knows",
        on("control1", redis_port=6380),
        ("host control1: redis_port = 6380", "one value for the whole cluster", "group_vars/all"),
    ),
    Row(
        "network",
        "one machine twice",
        on("worker3", ansible_host="192.0.2.22"),
        ("host worker3: ansible_host = 192.0.2.22", "as of host worker2", "a machine of its own"),
    ),
    Row(
        "network",
        "loopback as an address",
        on("worker1", airflow_address="127.0.0.1"),
        ("host worker1: airflow_address = '127.0.0.1'", "other hosts reach this one"),
    ),
    Row(
        "network",
        "a broker that hides",
        everywhere(redis_bind=["127.0.0.1"]),
        ("host control1: redis_bind = ['127.0.0.1']", "worker1", "set redis_bind to 0.0.0.0"),
    ),
    Row(
        "network",
        "a git source without URL",
        everywhere(airflow_dags_source="git"),
        ("airflow_dags_git_url = not set", "airflow_dags_source is git"),
    ),
    Row(
        "DAGs",
        "bundles without those of the cluster",
        everywhere(airflow_config={"dag_processor": {"dag_bundle_config_list": [{"name": "mine"}]}}),
        ("airflow_config.dag_processor.dag_bundle_config_list", "upgrades", "airflow_dag_bundles"),
    ),
    Row(
        "DAGs",
        "a bundle that takes the name of the cluster's",
        everywhere(airflow_dag_bundles=[{"name": "cluster", "url": "https://git.example.org/x.git"}]),
        ("airflow_dag_bundles[0].name = 'cluster'", "are the cluster's"),
    ),
    Row(
        "DAGs",
        "a password in the URL of a repository",
        everywhere(airflow_dags_source="git", airflow_dags_git_url="https://robot:hunter22@git.example.org/x.git"),
        ("airflow_dags_git_url = 'https://(hidden)@", "airflow.cfg", "airflow_dags_git_credentials"),
    ),
    Row(
        "config",
        "a bundle without the provider of its class",
        everywhere(
            airflow_dag_bundles=[{"name": "s3", "classpath": "airflow.providers.amazon.aws.bundles.s3.S3DagBundle"}]
        ),
        (
            f"{ALL}airflow_dag_bundles[0].classpath = 'airflow.providers.amazon.aws.bundles.s3.S3DagBundle'",
            "add apache-airflow-providers-amazon to airflow_runtime_extra_requirements",
        ),
    ),
    # Secrets
    Row(
        "secrets",
        "missing secret",
        lost_secret("airflow_jwt_secret"),
        ("host control1: airflow_jwt_secret = not set", "run ansible-playbook -i ", "playbooks/secrets.yml"),
    ),
    Row(
        "secrets",
        "invalid Fernet key",
        secret("airflow_fernet_key", "bm90IDMyIGJ5dGVz"),
        ("host control1: airflow_fernet_key = (hidden)", "32 random bytes as URL-safe base64", "playbooks/secrets.yml"),
    ),
    Row(
        "secrets",
        "weak password",
        secret("airflow_admin_password", "password"),
        ("host control1: airflow_admin_password = (hidden)", "nobody guesses first"),
    ),
    Row(
        "secrets",
        "secret that differs",
        on("worker1", airflow_broker_password="another-one-of-worker1"),
        ("host worker1: airflow_broker_password = (hidden)", "one value for the whole cluster"),
    ),
    # airflow_config
    Row(
        "config",
        "a setting without its package",
        setting("metrics", statsd_on=True, statsd_host="192.0.2.9"),
        (f"{ALL}airflow_config.metrics.statsd_on = True needs statsd", "add apache-airflow[statsd] to"),
    ),
    Row(
        "config",
        "a class without its provider",
        setting("secrets", backend="airflow.providers.hashicorp.secrets.vault.VaultBackend"),
        ("airflow_config.secrets.backend = airflow.providers.hashicorp", "add apache-airflow-providers-hashicorp to"),
    ),
    Row(
        "config",
        "a place of large XComs without its provider",
        setting("common.io", xcom_objectstorage_path="s3://bucket/xcom"),
        (
            f"{ALL}airflow_config.common.io.xcom_objectstorage_path = s3:// needs ",
            "apache-airflow-providers-amazon, s3fs",
            "add apache-airflow-providers-amazon[s3fs] to",
        ),
    ),
    Row(
        "config",
        "misspelt section",
        setting("loging", remote_logging=True),
        (f"{ALL}airflow_config.loging = a section with remote_logging", "nearest is logging", "rename it to logging"),
    ),
    Row(
        "config",
        "misspelt option",
        setting("core", dagbag_import_timout=60),
        ("airflow_config.core.dagbag_import_timout = 60", "nearest is dagbag_import_timeout", "rename it"),
    ),
    Row(
        "config",
        "option of another section",
        setting("core", smtp_port=25),
        ("airflow_config.core.smtp_port = 25", "one of section smtp", "move it to section smtp"),
    ),
    Row(
        "config",
        "option with a variable of its own",
        setting("core", parallelism=64),
        ("airflow_config.core.parallelism = 64", "set variable airflow_parallelism instead"),
    ),
    Row(
        "config",
        "secret with a variable of its own",
        setting("api_auth", jwt_secret="hunter22"),
        ("airflow_config.api_auth.jwt_secret = (hidden)", "set variable airflow_jwt_secret instead"),
    ),
    Row(
        "config",
        "heartbeat timeout below the fence",
        setting("scheduler", task_instance_heartbeat_timeout=12),
        (
            f"{ALL}airflow_config.scheduler.task_instance_heartbeat_timeout = 12",
            "8.5 (SIGTERM) + 5 (SIGKILL) + 1.5 (margin) = 15",
        ),
    ),
    Row(
        "config",
        "detection that breaks the promise",
        setting("scheduler", task_instance_heartbeat_timeout_detection_interval=10),
        ("detection_interval = 10", "more than airflow_failover_seconds 20", "set airflow_failover_seconds:"),
    ),
    Row(
        "config",
        "heartbeats that do not fit into a lease",
        setting("workers", min_heartbeat_interval=5),
        ("airflow_config.workers.min_heartbeat_interval = 5", "3 heartbeats x 5 = 15 s", "airflow_failover_seconds"),
    ),
    Row(
        "failover",
        "more slots than the Execution APIs can hear",
        everywhere(airflow_execution_api_instances=1, airflow_worker_concurrency=500),
        (
            "group airflow: airflow_failover_seconds = 20",
            "heartbeats per second",
            "raise airflow_execution_api_instances",
        ),
    ),
    Row(
        "connections",
        "more slots than connections that HAProxy takes",
        everywhere(airflow_execution_api_instances=8, airflow_worker_concurrency=1000),
        (
            "group airflow_worker: airflow_worker_concurrency = 3000 slots in all",
            "at most 2900 slots",
            "a second cluster",
        ),
    ),
    Row(
        "connections",
        "fewer connections than the clients of PostgreSQL hold",
        on("control1", postgres_max_connections=40),
        ("host control1: postgres_max_connections = 40", "metadata database", "remove it"),
    ),
    Row(
        "without tuning",
        "address of the UI where HAProxy does not listen",
        on("control1", ansible_host="2001:db8::1", airflow_address="192.0.2.11"),
        ("airflow_web_url = 'https://[2001:db8::1]'", "0.0.0.0", "haproxy_bind: '::' for both"),
    ),
    Row(
        "without tuning",
        "heartbeats that miss the renewal of a token",
        lambda draft: (
            draft.everywhere.update(airflow_failover_tuning=False),
            setting("workers", min_heartbeat_interval=230)(draft),
        ),
        (f"{ALL}airflow_config.workers.min_heartbeat_interval = 230", "120 s of a token of 600 s", "a smaller number"),
    ),
    Row(
        "too soon",
        "failover in less time than a retry takes",
        everywhere(airflow_failover_seconds=12, airflow_default_task_retry_delay=10),
        ("airflow_failover_seconds = 12", "10 (retry delay)", "or a shorter airflow_default_task_retry_delay"),
    ),
    Row(
        "config",
        "name of an older Airflow",
        setting("webserver", page_size=50),
        ("airflow_config.webserver.page_size = 50", "as Airflow calls it today", "instead"),
    ),
    Row(
        "config",
        "prefix of the names in Redis",
        setting("celery_broker_transport_options", global_keyprefix="a_"),
        (
            "airflow_config.celery_broker_transport_options.global_keyprefix = (hidden)",
            "no prefix",
            "database of their own",
        ),
    ),
    Row(
        "config",
        "option of the broker's transport",
        setting("celery_broker_transport_options", visibilty_timeout=1),
        ("visibilty_timeout = 1", "nearest is visibility_timeout", "set variable airflow_visibility_timeout instead"),
    ),
    Row(
        "config",
        "a pool of threads",
        setting("celery", pool="threads"),
        (f"{ALL}airflow_config.celery.pool = 'threads'", "prefork", "airflow_worker_concurrency"),
    ),
    Row(
        "config",
        "a pool of threads, as Celery calls it",
        setting("celery", extra_celery_config={"worker_pool": "threads"}),
        ("airflow_config.celery.extra_celery_config.worker_pool = 'threads'", "by their processes", "remove it"),
    ),
    Row(
        "config",
        "workers that nobody commands",
        setting("celery", worker_enable_remote_control=False),
        ("airflow_config.celery.worker_enable_remote_control = False", "True, with which", "remove it"),
    ),
    Row(
        "config",
        "triggers of a queue",
        setting("triggerer", queues_enabled=True),
        ("airflow_config.triggerer.queues_enabled = True", "would wait for ever", "remove it"),
    ),
    Row(
        "config",
        "tasks of another user",
        setting("core", default_impersonation="etl"),
        ("airflow_config.core.default_impersonation = 'etl'", "no value", "docs/sandbox.md", "remove it"),
    ),
    Row(
        "config",
        "the auth manager of the documentation of FAB",
        setting("core", auth_manager="airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"),
        ("airflow_config.core.auth_manager = (hidden)", "ClusterAuthManager", "airflow_webserver_config"),
    ),
    Row(
        "config",
        "a certificate of an API server",
        setting("api", ssl_cert="/etc/ssl/certs/x.pem"),
        ("airflow_config.api.ssl_cert = '/etc/ssl/certs/x.pem'", "no value", "airflow_api_server_bind"),
    ),
    Row(
        "config",
        "public authorities for the Execution API",
        setting("api", client_use_public_certs=True),
        ("airflow_config.api.client_use_public_certs = True", "cluster's authority", "remove it"),
    ),
    Row(
        "config",
        "channels that only workers know",
        setting("celery_broker_transport_options", fanout_prefix="/x."),
        ("airflow_config.celery_broker_transport_options.fanout_prefix = '/x.'", "True, with which", "remove it"),
    ),
    Row(
        "config",
        "a word for a number",
        setting("scheduler", max_tis_per_query="many"),
        (f"{ALL}airflow_config.scheduler.max_tis_per_query = 'many'", "an integer, as Airflow", "or remove it"),
    ),
    Row(
        "config",
        "an option without a value",
        setting("core", dagbag_import_timeout=None),
        ("airflow_config.core.dagbag_import_timeout = null", "a number, as Airflow", "or remove it"),
    ),
    Row(
        "sandbox",
        "a repository that the sandbox hides",
        everywhere(airflow_dags_source="git", airflow_dags_git_url="file:///home/git/dags.git"),
        (f"{ALL}airflow_dags_git_url = 'file:///home/git/dags.git'", "outside /home", "name another directory"),
    ),
    Row(
        "sandbox",
        "a bundle that the sandbox hides",
        everywhere(
            airflow_dag_bundles=[
                {
                    "name": "etl",
                    "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                    "kwargs": {"path": "/root/dags"},
                }
            ]
        ),
        ("airflow_dag_bundles[0].kwargs.path = '/root/dags'", "outside /root", "ProtectHome: false in airflow_sandbox"),
    ),
    Row(
        "sandbox",
        "a file of a secrets backend that the sandbox hides",
        setting("secrets", backend_kwargs={"variables_file_path": "/home/ops/v.json"}),
        ("airflow_config.secrets.backend_kwargs.variables_file_path = '/home/ops/v.json'", "outside /home"),
    ),
    Row(
        "dags",
        "DAGs beside the inventory",
        everywhere(airflow_dags_dir="{{ inventory_dir }}/.."),
        (f"{ALL}airflow_dags_dir", "the inventory with its secrets", "a directory of their own"),
    ),
    Row(
        "dags",
        "backups among the stored logs",
        everywhere(backup_repository="/srv/airflow-logs/backups", log_store_dir="/srv/airflow-logs"),
        ("backup_repository = '/srv/airflow-logs/backups'", "apart from log_store_dir (/srv/airflow-logs)"),
    ),
]
