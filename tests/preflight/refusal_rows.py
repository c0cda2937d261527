"""The ways to break a sound inventory, and what is said of each. test_refusals.py provokes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .changes import everywhere, lost_secret, members, on, renamed, secret, setting, site_file, without
from .conftest import Draft


@dataclass(frozen=True)
class Row:
    """One way to break an inventory.

    :param batch: rows with the same one share a run.
    :param pieces: what one finding must contain: host or group, variable, value, expectation, remedy.
    """

    batch: str
    name: str
    change: Callable[[Draft], Any]
    pieces: tuple[str, ...]


ALL = "hosts control1, worker1, worker2, worker3: "
ROWS = [
    # Groups
    Row("groups", "empty group", members("redis"), ("group redis", "the group is empty", "add at least one host")),
    Row("groups", "missing group", without("haproxy"), ("group haproxy", "the group is missing", "at least one host")),
    Row(
        "groups",
        "misspelt group",
        renamed("airflow_triggerer", "airflow_trigerer"),
        ("group airflow_triggerer", "missing", "rename group airflow_trigerer to airflow_triggerer"),
    ),
    Row(
        "groups",
        "groups that exclude each other",
        members("flower", "worker1"),
        ("host worker1", "airflow_worker and flower", "host of its own", "airflow_allow_worker_on_control_plane: true"),
    ),
    Row(
        "values",
        "autoscale the wrong way round",
        on("worker1", airflow_worker_autoscale=[2, 16]),
        ("host worker1: airflow_worker_autoscale = [2, 16]", "the most", "such as [16, 2]"),
    ),
    Row(
        "values",
        "environment that the unit sets itself",
        on("worker2", airflow_worker_environment={"AIRFLOW_HOME": "/hunter22"}),
        ("host worker2: airflow_worker_environment = (hidden)", "no AIRFLOW_HOME", "airflow_config"),
    ),
    Row(
        "values",
        "connection in the environment of tasks",
        on("worker3", airflow_worker_environment={"AIRFLOW_CONN_MY_DB": "postgres://hunter22@db"}),
        (
            "host worker3: airflow_worker_environment = (hidden)",
            "no AIRFLOW_CONN_MY_DB",
            "declare the connection in airflow_connections",
        ),
    ),
    Row(
        "values",
        "connection with an unknown field",
        everywhere(airflow_connections={"my_db": {"conn_type": "postgres", "passwrd": "hunter22"}}),
        (ALL + "airflow_connections = (hidden)", "connection my_db", "passwrd"),
    ),
    Row(
        "values",
        "plugins that are not there",
        everywhere(airflow_plugins_dir="plugins"),
        (ALL + "airflow_plugins_dir = 'plugins'", "a directory on the controller", "inventory_dir"),
    ),
    Row(
        "failover",
        "webserver_config.py that loses the key of the sessions",
        site_file("AUTH_TYPE = AUTH_LDAP\nSECRET_KEY = '{{ airflow_admin_user }}-hunter22'\n"),
        ("host control1: airflow_webserver_config = ", "line 2, SECRET_KEY", "airflow_session_secret"),
    ),
    Row(
        "failover",
        "login without its package",
        lambda draft: None,  # the file of the row before
        ("host control1: airflow_webserver_config = ", "line 1, AUTH_TYPE = AUTH_LDAP", "add python-ldap"),
    ),
    Row(
        "config",
        "mail server in a section that tasks do not read",
        setting("smtp", smtp_host="mail.example.org"),
        (
            "airflow_config.smtp.smtp_host = 'mail.example.org'",
            "tasks send mail with a connection",
            "airflow_connections",
        ),
    ),
    Row(
        "variables",
        "webserver_config.py that cannot be rendered",
        site_file("AUTH_LDAP_BIND_PASSWORD = '{{ vault_nobody_defined }}'\n"),
        ("host control1: airflow_webserver_config = ", "vault_nobody_defined", "a template of variables"),
    ),
    Row(
        "values",
        "pool of the deployment",
        everywhere(airflow_pools={"default_pool": {"slots": 3}}),
        (ALL + "airflow_pools", "no pool default_pool", "airflow_default_pool_slots"),
    ),
    Row(
        "values",
        "role of Airflow",
        everywhere(airflow_roles={"Viewer": {"permissions": {"DAGs": ["can_edit"]}}}),
        (ALL + "airflow_roles", "no role Viewer", "another name"),
    ),
    Row(
        "values",
        "variables on a host that does not apply them",
        on("worker1", airflow_variables={"token": "hunter22"}),
        ("host worker1: airflow_variables = (hidden)", "the value of host control1", "group_vars/all"),
    ),
    Row(
        "values",
        "user without a role",
        everywhere(airflow_users={"ann": {"email": "ann@example.org", "password": "hunter22"}}),
        (ALL + "airflow_users = (hidden)", "roles of user ann"),
    ),
    Row(
        "values",
        "environment that changes the connections of the control plane",
        everywhere(airflow_environment={"PGHOST": "hunter22"}),
        ("airflow_environment = (hidden)", "no PGHOST", "set it in airflow_worker_environment"),
    ),
    Row(
        "values",
        "environment that changes what a worker loads",
        on("worker1", airflow_worker_environment={"LD_PRELOAD": "/hunter22.so"}),
        ("host worker1: airflow_worker_environment = (hidden)", "no LD_PRELOAD", "/etc/ld.so.conf.d"),
    ),
    Row(
        "values",
        "proxy that Airflow's client does not know",
        everywhere(airflow_triggerer_environment={"ALL_PROXY": "socks5://hunter22"}),
        ("airflow_triggerer_environment = (hidden)", "an http(s) proxy in ALL_PROXY", "http://proxy.example.org:3128"),
    ),
    Row(
        "queues",
        "no worker for tasks that name no queue",
        everywhere(airflow_worker_queues=["reports"]),
        ("airflow_config.operators.default_queue = 'default'", "reports", "airflow_worker_queues of a worker"),
    ),
    Row(
        "groups",
        "two databases",
        members("postgres", "control1", "control2"),
        ("group postgres: hosts = control1, control2", "one host", "leave one host"),
    ),
    # Names, types, ranges
    Row(
        "values",
        "unknown variable of a host",
        on("worker2", airflow_worker_concurency=8),
        ("host worker2: airflow_worker_concurency = 8", "nearest is airflow_worker_concurrency", "rename it"),
    ),
    Row(
        "values",
        "unknown variable of all",
        everywhere(redis_prot=6379),
        (f"{ALL}redis_prot = 6379", "nearest is redis_port", "rename it to redis_port"),
    ),
    Row(
        "values",
        "misspelt secret",
        everywhere(flower_pasword="hunter22"),
        (f"{ALL}flower_pasword = (hidden)", "rename it to flower_password"),
    ),
    Row(
        "values",
        "parameter of a role",
        everywhere(redis_users=[{"name": "mallory", "passwords": ["hunter22"], "rules": "+@all"}]),
        ("redis_users = (hidden)", "the cluster decides it", "set airflow_broker_password"),
    ),
    Row(
        "values",
        "text for a number",
        on("worker1", airflow_worker_concurrency="many"),
        ("host worker1: airflow_worker_concurrency = 'many'", "a whole number", "set airflow_worker_concurrency"),
    ),
    Row(
        "values",
        "number out of range",
        on("worker3", airflow_worker_concurrency=0),
        ("host worker3: airflow_worker_concurrency = 0", "from 1 to 1000", "set airflow_worker_concurrency"),
    ),
    Row(
        "memory",
        "more than the host has",
        on("control1", airflow_host_memory_mb=4096, postgres_memory_mb=3000, redis_memory_mb=1024),
        (
            "host control1: postgres_memory_mb, redis_memory_mb = 3000, 1024",
            "at most 4096 MiB: 160 (system) + 3000 (postgres_memory_mb) + 1024 (redis_memory_mb)",
            "lower or remove postgres_memory_mb or redis_memory_mb",
        ),
    ),
    Row(
        "values",
        "text for a list",
        on("worker1", airflow_worker_queues="default,reports"),
        ("host worker1: airflow_worker_queues = 'default,reports'", "a list of str"),
    ),
    Row(
        "values",
        "name of a queue",
        on("worker2", airflow_worker_queues=["two words"]),
        ("host worker2: airflow_worker_queues = ['two words']", "names of queues"),
    ),
    Row(
        "values",
        "text for a truth value",
        everywhere(airflow_update_fab_perms="maybe"),
        ("airflow_update_fab_perms = 'maybe'", "true or false"),
    ),
    Row(
        "values",
        "wrong choice",
        everywhere(airflow_dags_source="gti"),
        (f"{ALL}airflow_dags_source = 'gti'", "one of local, git; the nearest is git"),
    ),
    Row(
        "values",
        "empty value",
        everywhere(airflow_admin_user=None),
        ("airflow_admin_user = None", "text, not an empty value"),
    ),
    Row(
        "values",
        "port out of range",
        everywhere(flower_port=70000),
        (f"{ALL}flower_port = 70000", "from 1024 to 65535", "set flower_port"),
    ),
    Row(
        "values",
        "scheme of a URL",
        everywhere(airflow_web_url="airflow.example.org"),
        ("airflow_web_url = 'airflow.example.org'", "an http(s) URL"),
    ),
    Row(
        "forms",
        "path of the URL of the UI",
        everywhere(airflow_web_url="https://portal.example.com/airflow"),
        ("airflow_web_url = 'https://portal.example.com/airflow'", "HAProxy serves the UI at /"),
    ),
    Row(
        "forms",
        "several executors",
        everywhere(airflow_executor="CeleryExecutor,LocalExecutor"),
        ("airflow_executor = 'CeleryExecutor,LocalExecutor'", "CeleryExecutor alone", "not fenced"),
    ),
    Row(
        "forms",
        "a line that airflow.cfg cannot hold",
        everywhere(airflow_config={"email": {"subject_template": "a\n# b"}}),
        ("airflow_config.email.subject_template", "no line after the first that begins with #", "write it on one line"),
    ),
    Row(
        "values",
        "scheme of a URL with a password",
        everywhere(airflow_broker_url="amqp://me:hunter22@mq.example.org"),
        ("airflow_broker_url = (hidden)", "rediss://"),
    ),
    Row(
        "values",
        "executor",
        everywhere(airflow_executor="LocalExecutor"),
        ("airflow_executor = 'LocalExecutor'", "CeleryExecutor"),
    ),
    Row(
        "values",
        "version too new",
        everywhere(airflow_version="3.4.0"),
        (f"{ALL}airflow_version = '3.4.0'", "3.3 or a later release before 3.4", "set airflow_version"),
    ),
    Row(
        "values",
        "undefined variable in a template",
        on("worker2", airflow_address="{{ nowhere }}"),
        ("host worker2: airflow_address", "'nowhere' is undefined", "set airflow_address to a plain value"),
    ),
    Row(
        "values",
        "requirement",
        everywhere(airflow_runtime_extra_requirements=["--pre"]),
        ("airflow_runtime_extra_requirements = ['--pre']", "pip requirements"),
    ),
    Row(
        "values",
        "requirement from a branch",
        on("worker1", airflow_worker_extra_requirements=["acme @ git+https://git.example.org/acme.git@main"]),
        ("host worker1: airflow_worker_extra_requirements", "@COMMIT", "may be something else tomorrow"),
    ),
    Row(
        "values",
        "Debian package",
        everywhere(airflow_runtime_packages=["libmariadb3 libldap2"]),
        ("airflow_runtime_packages = ['libmariadb3 libldap2']", "names of Debian packages"),
    ),
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
        "option of the broker's transport",
        setting("celery_broker_transport_options", visibilty_timeout=1),
        ("visibilty_timeout = 1", "nearest is visibility_timeout", "set variable airflow_visibility_timeout instead"),
    ),
]
SECRET_VALUES = ("hunter22", "bm90IDMyIGJ5dGVz", "another-one-of-worker1")
