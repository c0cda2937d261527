"""Each host is as its groups say: units, addresses, files, secrets, versions."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable

import pytest
from airflow_client import AirflowClient, http
from cluster_inventory import Cluster
from conftest import PROJECT
from testinfra.host import Host

Connect = Callable[[str], Host]

# Group -> its units; (host's own port, address it must listen on) is in LISTENERS.
UNITS = {
    "airflow_api_server": ["airflow-api-server@8081", "airflow-execution-api@8091", "airflow-execution-api@8092"],
    "airflow_dag_processor": ["airflow-dag-processor"],
    "airflow_scheduler": ["airflow-scheduler"],
    "airflow_triggerer": ["airflow-triggerer"],
    "airflow_worker": ["airflow-worker", "airflow-worker-watchdog"],
    "flower": ["airflow-flower"],
    "haproxy": ["haproxy"],
    "postgres": ["postgresql@{postgres}-main", "postgresql@{postgres}-results"],
    "redis": ["redis-server"],
}
# On every host, and on those of the API servers.
LOG_SHIPPER, LOG_STORE = "airflow-log-shipper", "airflow-log-store"
# What timers start; it does not run all the time.
TIMED = {
    "airflow_scheduler": {"airflow-db-clean", "airflow-log-clean"},
    "airflow_worker": {"airflow-log-clean"},
    "postgres": {"airflow-backup@full", "airflow-backup@diff"},
}
# "*" is any address of the host, "lo" the loopback only.
LISTENERS = {
    "airflow_api_server": {(8081, "lo"), (8091, "lo"), (8092, "lo"), (20514, "*")},
    "airflow_dag_processor": set(),
    "airflow_scheduler": {(8974, "lo")},
    "airflow_triggerer": set(),
    "airflow_worker": set(),
    "flower": {(5555, "lo")},
    "haproxy": {(80, "*"), (443, "*"), (9443, "*")},
    "postgres": {(5432, "*"), (5433, "*")},
    "redis": {(6379, "*")},
}
# Process -> the secrets it may hold, by the name of the setting, as in the table of "who needs what".
SECRETS_OF = {
    "api-server": {
        "DATABASE__SQL_ALCHEMY_CONN",
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC",
        "CORE__FERNET_KEY",
        "API_AUTH__JWT_SECRET",
        "API__SECRET_KEY",
        "CLUSTER_SESSION_SECRET",
    },
    "execution-api": {
        "DATABASE__SQL_ALCHEMY_CONN",
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC",
        "CORE__FERNET_KEY",
        "API_AUTH__JWT_SECRET",
    },
    "dag-processor": {"DATABASE__SQL_ALCHEMY_CONN", "DATABASE__SQL_ALCHEMY_CONN_ASYNC", "CORE__FERNET_KEY"},
    "flower": {"CELERY__BROKER_URL", "CELERY__FLOWER_BASIC_AUTH"},
    "scheduler": {
        "DATABASE__SQL_ALCHEMY_CONN",
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC",
        "CORE__FERNET_KEY",
        "API_AUTH__JWT_SECRET",
        "CELERY__BROKER_URL",
        "CELERY__RESULT_BACKEND",
    },
    "triggerer": {
        "DATABASE__SQL_ALCHEMY_CONN",
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC",
        "CORE__FERNET_KEY",
    },
    "worker": {"CELERY__BROKER_URL", "CELERY__RESULT_BACKEND"},
    "worker-watchdog": {"CELERY__BROKER_URL"},
}
DISTRIBUTION = {"12": {"postgres": "15", "redis": "7.0"}, "13": {"postgres": "17", "redis": "8.0"}}


def debian(host: Host) -> dict[str, str]:
    """Return the versions that this host's release of Debian carries."""
    return DISTRIBUTION[host.system_info.release.split(".")[0]]


def groups_of(cluster: Cluster, name: str) -> list[str]:
    """Return the groups of a host that mean a process of their own."""
    return [group for group in UNITS if name in cluster.groups.get(group, [])]


def log_units(cluster: Cluster, name: str) -> set[str]:
    """Return the units of a host that send logs and keep logs."""
    return {LOG_SHIPPER} | ({LOG_STORE} if "airflow_api_server" in groups_of(cluster, name) else set())


def instances_of(cluster: Cluster, name: str) -> set[str]:
    return {unit[8:] for group in groups_of(cluster, name) for unit in UNITS[group] if unit.startswith("airflow-")}


def processes_of(cluster: Cluster, name: str) -> set[str]:
    """Return the Airflow processes of a host."""
    return {instance.split("@")[0] for instance in instances_of(cluster, name)}


def properties(host: Host, unit: str) -> dict[str, str]:
    """Return what systemd knows of a unit."""
    lines = host.check_output(f"systemctl show {unit}").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_units_run_now_and_after_a_boot(cluster: Cluster, connect: Connect, name: str) -> None:
    host = connect(name)
    units = {unit for group in groups_of(cluster, name) for unit in UNITS[group]} | log_units(cluster, name)
    for unit in units:
        shown = properties(host, unit.format(**debian(host)))
        assert (shown["ActiveState"], shown["SubState"]) == ("active", "running"), unit
        assert shown["UnitFileState"] in ("enabled", "enabled-runtime"), unit
        assert shown["NRestarts"] == "0", f"{unit} has crashed"
    assert host.run("systemctl list-units --failed --plain --no-legend").stdout.strip() == ""


def test_a_strict_umask_hides_nothing_from_airflow(connect: Connect, name: str) -> None:
    host = connect(name)
    # molecule/default/create.yml
    assert host.check_output("umask") == "0077"
    assert host.check_output("find -L /opt/airflow/dags/current /opt/airflow/plugins/current ! -perm -o=r") == ""


def test_nothing_has_the_locale_of_the_host(cluster: Cluster, connect: Connect) -> None:
    for name in cluster.groups["airflow"]:
        # molecule/default/create.yml
        assert connect(name).check_output("echo $LANG $LC_NUMERIC") == "tr_TR.UTF-8 tr_TR.UTF-8"
    # A worker has the same template, and writes its title over its environment.
    for group in ("airflow_dag_processor", "airflow_scheduler", "airflow_triggerer"):
        host = connect(cluster.first(group))
        process = properties(host, UNITS[group][0])["MainPID"]
        environment = host.check_output(f"tr '\\0' '\\n' < /proc/{process}/environ")
        found = dict(re.findall(r"^(LANG\w*|LC_\w+)=(.+)$", environment, re.MULTILINE))
        assert found == {"LANG": "C.UTF-8"}, group
    host = connect(cluster.first("postgres"))
    query = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database"
    for line in host.check_output("pg_lsclusters --no-header").splitlines():
        shown = host.check_output(f"runuser -u postgres -- psql -p {line.split()[2]} -At -c '{query}'")
        assert set(shown.splitlines()) == {"UTF8|C.UTF-8|C.UTF-8"}


def test_no_airflow_unit_of_another_group_is_there(cluster: Cluster, connect: Connect, name: str) -> None:
    listed = connect(name).check_output("systemctl list-units --all --plain --no-legend 'airflow-*.service'")
    found = {line.split()[0].removesuffix(".service") for line in listed.splitlines()}
    expected = {u for group in groups_of(cluster, name) for u in UNITS[group] if u.startswith("airflow-")}
    timed = set().union(*(TIMED.get(group, set()) for group in groups_of(cluster, name)))
    assert found == expected | timed | log_units(cluster, name) | {"airflow-firewall"}


def test_no_second_rsyslog_writes_what_the_journal_has(connect: Connect, name: str) -> None:
    host = connect(name)
    assert properties(host, "rsyslog.service")["UnitFileState"] == "masked"
    assert not host.file("/var/log/syslog").exists


def test_airflow_units_survive_and_drain(cluster: Cluster, connect: Connect, name: str) -> None:
    host = connect(name)
    for process in processes_of(cluster, name):
        unit = {"api-server": "airflow-api-server@8081", "execution-api": "airflow-execution-api@8091"}.get(
            process, f"airflow-{process}"
        )
        shown = properties(host, unit)
        assert shown["KillMode"] == "mixed"
        # A late heartbeat ends a task; a late page does not.
        assert shown["CPUWeight"] == {"api-server": "50", "execution-api": "400"}.get(process, shown["CPUWeight"])
        assert shown["Restart"] == "always"
        assert shown["User"] == ("airflow-worker" if process == "worker-watchdog" else f"airflow-{process}")
        assert shown["Group"] == "airflow"
        assert re.search(r"path=/opt/airflow/releases/[^/ ]+/bin/python ", shown["ExecStart"]), shown["ExecStart"]
        assert "/bin/sh" not in shown["ExecStart"]
        assert "bash" not in shown["ExecStart"]
        # systemd never stops restarting: a broker that is unavailable for an hour must not leave a failed unit.
        assert shown["StartLimitIntervalUSec"] == "0"
        command = host.check_output(f"tr '\\0' ' ' < /proc/{shown['MainPID']}/cmdline")
        # Celery and gunicorn rename their processes; a shell in between would keep its own name.
        assert not re.match(r"(/usr)?/bin/(ba|da)?sh ", command)
    for process, size, each in (("triggerer", "capacity", 1), ("worker", "concurrency", 5)):
        if process in processes_of(cluster, name):
            shown = properties(host, f"airflow-{process}")
            count = re.search(rf" --{size} (\d+)", shown["ExecStart"])
            limits = host.file(f"/proc/{shown['MainPID']}/limits").content_string
            limit = re.search(r"^Max open files +(\d+)", limits, re.MULTILINE)
            assert count is not None
            assert limit is not None
            assert int(limit[1]) >= 1024 + each * int(count[1]), process
    if "worker" in processes_of(cluster, name):
        stop = properties(host, "airflow-worker")["TimeoutStopUSec"]
        assert re.search(r"\d+(h|min)", stop), f"a worker has only {stop} to finish its tasks"


def test_listens_where_it_should_and_nowhere_else(cluster: Cluster, connect: Connect, name: str) -> None:
    lines = connect(name).check_output("ss --no-header --listening --tcp --numeric").splitlines()
    found = set()
    for line in lines:
        address, _, port = line.split()[3].rpartition(":")
        address = address.strip("[]").split("%")[0]
        loopback = address.startswith("127.") or address == "::1"
        found.add((int(port), "lo" if loopback else "*"))
    expected = {(22, "*")}.union(*(LISTENERS[group] for group in groups_of(cluster, name)))
    assert found == expected


def test_configuration_is_readable_and_secrets_are_roots(
    cluster: Cluster, connect: Connect, secrets: dict[str, str], name: str
) -> None:
    host = connect(name)
    assert host.file("/etc/airflow/secrets").mode == 0o700
    for instance in instances_of(cluster, name):
        process = instance.split("@")[0]
        if process != "worker-watchdog":  # it is no part of Airflow, and reads none of its settings
            config = host.file(f"/etc/airflow/{instance}/airflow.cfg")
            assert (config.user, config.group, config.mode) == (f"airflow-{process}", "root", 0o400)
            assert not [secret for secret, value in secrets.items() if value in config.content_string]
        secret_file = host.file(f"/etc/airflow/secrets/{instance}.env")
        assert (secret_file.user, secret_file.group, secret_file.mode) == ("root", "root", 0o600)
        held = set(re.findall(r"^AIRFLOW_(?:_)?(\w+)=", secret_file.content_string, re.MULTILINE))
        assert held == SECRETS_OF[process]
    if name in cluster.workers:
        # What the pool gives its tasks has a file of its own, and nothing here.
        expected = {*instances_of(cluster, name), "worker-environment"}
        assert set(host.check_output("ls /etc/airflow/secrets").split()) == {f"{name}.env" for name in expected}
        assert "=" not in host.file("/etc/airflow/secrets/worker-environment.env").content_string


def test_airflow_users_cannot_log_in(cluster: Cluster, connect: Connect, name: str) -> None:
    host = connect(name)
    homes = {f"airflow-{process}": f"/var/lib/airflow/{process}" for process in processes_of(cluster, name)}
    homes.pop("airflow-worker-watchdog", None)  # the worker's user
    for account, home in (homes | {"airflow": "/var/lib/airflow"}).items():
        user = host.user(account)
        assert user.exists, account
        assert user.group == "airflow"
        assert user.shell == "/usr/sbin/nologin"
        assert user.home == home
        assert user.uid < 1000


def test_nobody_but_root_can_change_what_airflow_runs(connect: Connect, name: str) -> None:
    found = connect(name).check_output(
        # A process may own what only it may read, as /etc is read-only to it.
        r"find /opt/airflow /etc/airflow -xdev \( -not -user root -not -path '/etc/airflow/*/airflow.cfg'"
        r" -not -path '/etc/airflow/tls/*.key' -not -path '/etc/airflow/*/jwks.json'"
        r" -not -path '/etc/airflow/*/webserver_config.py'"
        r" -o -perm /022 \) -not -type l -print -quit"
    )
    assert found == ""


def places_of(host: Host, secret: str) -> set[str]:
    """Return every file and process of a host that holds a secret."""
    # As a pattern that does not match itself, or the search would find its own command line.
    pattern = f"[{secret[0]}]{re.escape(secret[1:])}"
    where = "/etc /home /opt /root /run /srv /tmp /usr/local /var /proc/[0-9]*/environ /proc/[0-9]*/cmdline"
    found = host.run(f"grep --recursive --devices=skip --files-with-matches --no-messages --regexp='{pattern}' {where}")
    return set(found.stdout.split())


def test_a_worker_holds_no_key_to_the_metadata(connect: Connect, secrets: dict[str, str], worker: str) -> None:
    host = connect(worker)
    # Finds what it looks for, where it is: otherwise "nothing found" would mean nothing. A process is no such place:
    # Celery writes its title over its own environment in /proc.
    assert "/etc/airflow/secrets/worker.env" in places_of(host, secrets["airflow_broker_password"])
    forbidden = set(secrets) - {
        "airflow_broker_password",
        "airflow_results_password",
    }
    assert {name: found for name in forbidden if (found := places_of(host, secrets[name]))} == {}


def test_a_worker_is_refused_by_the_metadata_database(cluster: Cluster, connect: Connect, worker: str) -> None:
    def try_to_connect(user: str, database: str, port: int) -> str:
        program = (
            "import os, re, psycopg2; psycopg2.connect("
            f"host='{cluster.address(cluster.first('postgres'))}', port={port}, user='{user}', dbname='{database}', "
            "sslmode='verify-full', sslrootcert='/etc/airflow/tls/ca.pem', connect_timeout=10, "
            # Where it is kept: sudo logs the command line.
            "password=re.search('celery:(.*?)@', open('/etc/airflow/secrets/worker.env').read())[1]); "
            "print('connected')"
        )
        answer = connect(worker).run(f'/opt/airflow/current/bin/python -c "{program}" 2>&1')
        return str(answer.stdout.strip().splitlines()[-1])

    variables = cluster.variables[cluster.first("postgres")]
    main, results = int(variables["postgres_port"]), int(variables["postgres_results_port"])
    assert try_to_connect("celery", "celery_results", results) == "connected"
    # The firewall does not let it in, whatever password it has.
    assert "timeout expired" in try_to_connect("airflow", "airflow", main)
    assert "no pg_hba.conf entry" in try_to_connect("celery", "airflow", results)


def test_databases_belong_to_two_roles(cluster: Cluster, connect: Connect) -> None:
    host = connect(cluster.first("postgres"))
    variables = cluster.variables[cluster.first("postgres")]
    for port, owner, others, database in (
        (variables["postgres_port"], "airflow", set(), "airflow"),
        (variables["postgres_results_port"], "celery_owner", {"celery", "celery_results_data"}, "celery_results"),
    ):

        def query(statement: str, port: object = port) -> list[str]:
            return host.check_output(f'runuser -u postgres -- psql -p {port} -At -c "{statement}"').splitlines()

        found = query("select datname, pg_get_userbyid(datdba) from pg_database where not datistemplate")
        assert set(found) == {f"{database}|{owner}", "postgres|postgres"}
        assert query(f"select has_database_privilege('{owner}', '{database}', 'CONNECT')") == ["t"]
        assert query(f"select has_database_privilege('public', '{database}', 'CONNECT')") == ["f"]
        # No role but the owner and the logins, and these without powers.
        roles = "select rolname from pg_roles where rolname !~ '^pg_' and rolname <> 'postgres'"
        assert set(query(roles)) == {owner} | others
        assert query(roles + " and (rolsuper or rolcreatedb or rolcreaterole)") == []


def redis_cli(user: str, command: str) -> str:
    """Return a command line that speaks to Redis as one of its users, with the password from where the host has it."""
    file = f"/etc/airflow/secrets/{'scheduler' if user == 'airflow' else user}.env"
    password = f"$(sed -n 's|.*rediss://{user}:\\([^@]*\\)@.*|\\1|p' {file})"
    login = f"REDISCLI_AUTH={password} redis-cli --no-auth-warning --user {user}"
    return f"{login} --tls --cacert /etc/airflow/tls/ca.pem -h 127.0.0.1 {command}"


def test_the_release_of_the_dags_is_whole_and_readable(cluster: Cluster, connect: Connect) -> None:
    for name in (*cluster.workers, cluster.first("airflow_dag_processor")):
        host = connect(name)
        assert host.file("/opt/airflow/dags/current/.airflowignore").is_file
        modes = "-type d ! -perm 0755 -o -type f ! -perm 0644 ! -perm 0755 -o -type l"
        assert host.check_output(f"find /opt/airflow/dags/current/ {modes}") == ""
        # The DAG processor imports a file at once if the file is newer than its last import.
        assert host.check_output("find /opt/airflow/dags/current/ ! -newer /etc/machine-id") == ""


def test_redis_keeps_what_it_is_given(cluster: Cluster, connect: Connect) -> None:
    host = connect(cluster.first("redis"))
    assert host.check_output(redis_cli("airflow", "ping")) == "PONG"
    assert host.file("/var/lib/redis/appendonlydir").is_directory
    assert host.file("/etc/redis/redis.conf").contains("^maxmemory-policy noeviction$")
    for path in ("/etc/redis/redis.conf", "/etc/redis/users.acl"):
        assert host.file(path).mode == 0o640


def test_redis_lets_nobody_do_more_than_they_need(cluster: Cluster, connect: Connect) -> None:
    host = connect(cluster.first("redis"))
    plain = host.run("redis-cli -h 127.0.0.1 ping")
    assert plain.rc != 0 or "PONG" not in plain.stdout
    assert "NOAUTH" in host.run("redis-cli --tls --cacert /etc/airflow/tls/ca.pem -h 127.0.0.1 ping").stdout
    for user in ("airflow", "flower"):
        for command in (
            "config get dir",
            "flushall",
            "keys '*'",
            "acl list",
            "debug sleep 0",
            "shutdown",
            "replicaof a 1",
        ):
            answer = host.run(redis_cli(user, command)).stdout
            assert "NOPERM" in answer or "DEBUG command not allowed" in answer, f"{user}: {command}"
    for command in ("lpush default x", "rpop default", "get unacked", "publish other x", "set x y"):
        assert "NOPERM" in host.run(redis_cli("flower", command)).stdout, command
    assert host.check_output(redis_cli("flower", "llen default")).isdigit()


def test_the_sbom_lists_what_is_installed(connect: Connect, name: str) -> None:
    host = connect(name)
    sbom = json.loads(host.file("/opt/airflow/current/sbom.json").content_string)
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    release = json.loads(host.file("/opt/airflow/current/release.json").content_string)
    assert sbom["metadata"]["component"]["version"] == release["id"]
    assert "serialNumber" not in sbom
    assert "timestamp" not in sbom["metadata"]
    program = (
        "import importlib.metadata as m, json; print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
    )
    installed = json.loads(host.check_output(f'/opt/airflow/current/bin/python -c "{program}"'))
    listed = {component["name"]: component for component in sbom["components"]}
    assert sorted([entry["name"], entry["version"]] for entry in listed.values()) == sorted(installed)
    assert len(listed) == len(sbom["components"])
    references = {entry["bom-ref"] for entry in listed.values()}
    depends = {entry["ref"]: set(entry.get("dependsOn", ())) for entry in sbom["dependencies"]}
    assert references < depends.keys()
    assert set().union(*depends.values()) == references
    assert listed["celery"]["bom-ref"] in depends[listed["apache-airflow-providers-celery"]["bom-ref"]]
    for entry in listed.values():
        if entry["name"] == "airflow-celery-cluster":
            continue
        assert entry["purl"].startswith("pkg:pypi/")
        assert entry["hashes"]
        assert {digest["alg"] for digest in entry["hashes"]} == {"SHA-256"}
    assert sum(1 for entry in listed.values() if entry.get("licenses")) > 0.95 * len(listed)


def test_versions_are_those_of_the_lock(connect: Connect, client: AirflowClient, name: str) -> None:
    packages = tomllib.loads((PROJECT / "uv.lock").read_text())["package"]
    locked = {package["name"]: package.get("version") for package in packages}
    host = connect(name)
    release = json.loads(host.file("/opt/airflow/current/release.json").content_string)
    assert release["airflow_version"] == locked["apache-airflow"] == client.version()
    wanted = ["apache-airflow", "apache-airflow-providers-celery", "celery", "kombu", "flower", "sqlalchemy"]
    program = f"import importlib.metadata as m, json; print(json.dumps({{name: m.version(name) for name in {wanted}}}))"
    found = json.loads(host.check_output(f'/opt/airflow/current/bin/python -c "{program}"'))
    assert found == {package: locked[package] for package in wanted}


def test_all_hosts_run_the_same_release(cluster: Cluster, connect: Connect) -> None:
    current = {connect(name).check_output("readlink -f /opt/airflow/current") for name in cluster.groups["airflow"]}
    assert len(current) == 1


def test_versions_of_the_distribution(cluster: Cluster, connect: Connect) -> None:
    redis = connect(cluster.first("redis"))
    assert f" v={debian(redis)['redis']}." in redis.check_output("redis-server --version")
    postgres = connect(cluster.first("postgres"))
    version = postgres.check_output("runuser -u postgres -- psql -At -c 'show server_version'")
    assert version.split(".")[0] == debian(postgres)["postgres"]


def test_everything_reports_itself_healthy(client: AirflowClient) -> None:
    expected = dict.fromkeys(("metadatabase", "scheduler", "triggerer", "dag_processor"), "healthy")
    assert client.health() == expected


def test_scheduler_reports_itself_healthy(connect: Connect, scheduler: str) -> None:
    program = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8974/health').status)"
    assert connect(scheduler).check_output(f'python3 -c "{program}"') == "200"


def test_haproxy_sees_every_api_server(cluster: Cluster, connect: Connect) -> None:
    program = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock'); "
        "s.sendall(b'show stat\\n'); print(s.makefile().read())"
    )
    lines = connect(cluster.first("haproxy")).check_output(f'python3 -c "{program}"').splitlines()
    head = lines[0].removeprefix("# ").split(",")
    rows = [dict(zip(head, line.split(","), strict=False)) for line in lines[1:] if line]
    servers = {
        row["svname"]: row["status"]
        for row in rows
        if row["pxname"] in ("api_servers", "execution_api") and row["svname"] not in ("BACKEND", "FRONTEND")
    }
    # One API server and two Execution APIs on each host.
    assert len(servers) == 3 * len(cluster.groups["airflow_api_server"])
    assert set(servers.values()) == {"UP"}


@pytest.mark.parametrize("path", ["/api/v2/dags", "/api/v2/connections", "/api/v2/config"])
def test_nobody_reads_the_api_without_login(cluster: Cluster, path: str) -> None:
    status, _ = http("GET", cluster.url + path, ca_file=cluster.ca_file)
    assert status in (401, 403)


def test_wrong_password_is_refused(cluster: Cluster) -> None:
    body = {"username": cluster.admin[0], "password": "not" + cluster.admin[1]}
    status, _ = http("POST", f"{cluster.url}/auth/token", body=body, ca_file=cluster.ca_file)
    assert status == 401
