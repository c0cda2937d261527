"""The ways to break the groups, names and values of a sound inventory, and what is said of each."""

from __future__ import annotations

from .changes import everywhere, members, on, renamed, setting, site_file, without
from .refusal_row import ALL, Row

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
        "values",
        "no time for tasks to end when a worker stops",
        on("worker3", airflow_worker_stop_timeout=15),
        ("host worker3: airflow_worker_hand_over_time = 15", "less than airflow_worker_stop_timeout", "or airflow_wor"),
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
        "memory of processes",
        "more triggers than the memory of a triggerer",
        on("control1", airflow_host_memory_mb=4096, airflow_triggerer_capacity=100_000),
        (
            "host control1: airflow_triggerer_capacity = 100000",
            "the triggerer may use",
            "lower airflow_triggerer_capacity",
        ),
    ),
    Row(
        "memory of processes",
        "more processes of the DAG processor than its memory",
        on("control1", airflow_host_memory_mb=4096, airflow_config={"dag_processor": {"parsing_processes": 200}}),
        ("host control1: airflow_config.dag_processor.parsing_processes = 200", "170 without them and 35 for each"),
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
        "addresses",
        "a broker behind sentinels",
        everywhere(airflow_broker_url="sentinel://:hunter22@one:26379;sentinel://:hunter22@two:26379"),
        ("airflow_broker_url = (hidden)", "for Redis Sentinel, that of a TCP proxy or of the managed endpoint"),
    ),
    Row(
        "addresses",
        "a database with two hosts",
        everywhere(airflow_database_url="postgresql+psycopg2://airflow:hunter22@db1:5432,db2:5432/airflow"),
        ("airflow_database_url = (hidden), a URL with several hosts", "one host and its port", "a TCP proxy"),
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
        "wildcard for a Python program",
        everywhere(airflow_flower_bind="*"),
        ("airflow_flower_bind = '*'", "an IP address to listen on, such as 0.0.0.0"),
    ),
    Row(
        "values",
        "Debian package",
        everywhere(airflow_runtime_packages=["libmariadb3 libldap2"]),
        ("airflow_runtime_packages = ['libmariadb3 libldap2']", "names of Debian packages"),
    ),
    Row(
        "values",
        "directory that the system shares, for the logs",
        everywhere(log_store_dir="/srv"),
        (ALL + "log_store_dir = '/srv'", "other software uses /srv", "such as /srv/airflow-log-store"),
    ),
    Row(
        "values",
        "directory that the system shares, for the backups",
        on("control1", backup_repository="/var/backups"),
        ("host control1: backup_repository = '/var/backups'", "other software uses", "/var/backups/airflow-backups"),
    ),
]
