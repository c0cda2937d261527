"""A cluster whose PostgreSQL, Redis, object storage, directory and single sign-on server are those of somebody else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import yaml
from airflow_client import AirflowClient, wait_for
from browser import PATIENCE, log_in, wait_for_text, wait_until_logged_in
from cluster_inventory import PROJECT, Cluster
from faults.harness import DAG, Scene, tasks_of, wait_for_logs
from faults.machines import Machines
from faults.operation import Playbooks
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

SERVICES = "services1"
# What the object storage serves, on that machine
BUCKET = "/srv/storage/logs"
# How the names of logs begin, as the UI shows them
ARCHIVE = "s3://logs/airflow/"
STORE = "/var/lib/airflow-log-store/"
PREFLIGHT = "playbooks/preflight.yml"
DATABASE = "postgresql://air:{{ external_database_password | airflow_celery.cluster.url_quote }}@services1"
RESULTS = "db+postgresql://air_results:{{ external_results_password | airflow_celery.cluster.url_quote }}@services1"
REDIS = """export REDISCLI_AUTH=$(sed -n 's/^requirepass //p' /etc/redis/redis.conf)
exec redis-cli -p 6380 --tls --insecure "$@" """

pytestmark = pytest.mark.long


def cluster_variable(name: str) -> str:
    """Return a variable of the inventory of this scenario."""
    path = PROJECT / "molecule/external/inventory/group_vars/all/services.yml"
    return str(yaml.safe_load(path.read_text())[name])


def sql(machines: Machines, query: str, database: str = "postgres") -> str:
    """Return the answer to a query of the administrator of the server."""
    psql = ("runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "-qtA", "-v", "ON_ERROR_STOP=1", "-d", database)
    return machines.told(SERVICES, query, *psql).strip()


def redis(machines: Machines, *command: str) -> str:
    """Return the answer of Redis to its administrator."""
    return machines.run(SERVICES, "sh", "-euc", REDIS, "redis-cli", *command).strip()


def test_tasks_run_and_the_cluster_is_healthy(cluster: Cluster, client: AirflowClient, playbooks: Playbooks) -> None:
    run_id = client.trigger(DAG, {"tasks": 6, "seconds": 1})
    assert client.wait_for_run(DAG, run_id, seconds=180).state == "success"
    assert "Healthy." in playbooks.run("playbooks/status.yml").must_succeed().output
    assert cluster.flower_workers() == set(cluster.workers)


@pytest.fixture
def scene(cluster: Cluster, machines: Machines, client: AirflowClient) -> Scene:
    """A finished run with a deferred task."""
    found = Scene(cluster, machines, client)
    found.begin_load({"tasks": 2, "deferred": 1, "seconds": 3, "beat": 0.1})
    assert found.wait_for_run(found.run_id, 180).state == "success"
    return found


def wait_for_archive(scene: Scene) -> None:
    """Wait until the object storage has a log of each task of a run."""

    def found() -> str:
        return scene.machines.run(
            SERVICES, "find", BUCKET, "-path", f"*/run_id={scene.run_id}/*", "-name", "attempt=1.log"
        )

    tasks = tasks_of(scene, scene.run_id)
    wait_for(lambda: len(found().split()) == len(tasks), what="the logs in the object storage", seconds=30)


def sources(scene: Scene) -> set[str]:
    """Return the places from which the UI has the logs of a run."""
    logs = "\n".join(scene.client.log(DAG, task) for task in tasks_of(scene, scene.run_id))
    return {place for place in (ARCHIVE, STORE) if place in logs}


def forget(scene: Scene) -> None:
    """Remove the logs of a run from the log store, as time does."""
    folder = f"{STORE}tasks/dag_id={DAG}/run_id={scene.run_id}"
    scene.machines.run("control1", "rm", "-r", folder)


def test_finished_logs_are_in_the_object_storage_and_read_there_when_the_log_store_has_them_no_longer(
    scene: Scene,
) -> None:
    wait_for_archive(scene)
    assert wait_for_logs(scene, scene.executions()) == []
    assert sources(scene) == {STORE}
    forget(scene)
    assert wait_for_logs(scene, scene.executions()) == []
    assert sources(scene) == {ARCHIVE}


def test_an_unavailable_object_storage_costs_no_task_and_no_stored_log(
    cluster: Cluster, machines: Machines, client: AirflowClient
) -> None:
    scene = Scene(cluster, machines, client)
    machines.run(SERVICES, "systemctl", "stop", "storage")
    try:
        scene.begin_load({"tasks": 4, "deferred": 1, "seconds": 3, "beat": 0.1})
        assert scene.wait_for_run(scene.run_id, 180).state == "success"
        assert {task.try_number for task in tasks_of(scene, scene.run_id)} == {1}
        assert wait_for_logs(scene, scene.executions()) == []
        forget(scene)
        task = next(task for task in tasks_of(scene, scene.run_id) if task.task_id == "load")
        assert "the object storage could not be read: " in scene.client.log(DAG, task)
    finally:
        machines.run(SERVICES, "systemctl", "start", "storage")


def roles_of(machines: Machines, person: str) -> set[str]:
    """Return the roles that a user has."""
    users = json.loads(machines.run("control1", "airflow", "users", "list", "--output", "json"))
    [user] = [user for user in users if user["username"] == person]
    found = user["roles"]
    return set(found if isinstance(found, list) else found.split(", "))


@pytest.mark.parametrize(("person", "roles"), [("ann", {"Admin", "Viewer"}), ("ben", {"Viewer"})])
def test_people_of_the_directory_log_in_with_the_roles_of_their_groups(
    browser: WebDriver, cluster: Cluster, machines: Machines, person: str, roles: set[str]
) -> None:
    password = cluster_variable("external_directory_password")
    log_in(browser, cluster, f"not{password}", person)
    wait_for_text(browser, "Invalid login")
    log_in(browser, cluster, password, person)
    wait_until_logged_in(browser)
    assert roles_of(machines, person) == roles


def test_the_first_user_still_gets_tokens(client: AirflowClient) -> None:
    assert client.token()


def test_nothing_of_the_own_services_is_on_the_hosts(cluster: Cluster, machines: Machines) -> None:
    for name in ("control1", "worker1"):
        found = machines.shell(
            name,
            """dpkg-query -Wf '${Package}\\n' | grep -xE 'postgresql-[0-9]+|redis-server|pgbackrest' || true
            ls -d /etc/pgbackrest.conf /etc/airflow/tls/postgres* /etc/airflow/tls/redis* 2>/dev/null || true
            find /etc/systemd/system -name 'airflow*' | grep -E 'postgres|redis|airflow-backup' || true
            ss -Hltn 'sport = :5432 or sport = :5433 or sport = :6379'
            nft list table inet airflow_firewall | grep -E 'dport.*(5432|5433|6379)' || true""",
        )
        assert found == "", name


def test_every_connection_is_encrypted_and_verified(cluster: Cluster, machines: Machines) -> None:
    sessions = sql(
        machines,
        "SELECT usename, bool_and(ssl) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) "
        "WHERE usename IN ('air', 'air_results') GROUP BY 1 ORDER BY 1",
    )
    assert sessions.splitlines() == ["air|t", "air_results|t"]
    for name, process in (("control1", "scheduler"), ("worker1", "worker")):
        secrets = machines.run(name, "cat", f"/etc/airflow/secrets/{process}.env")
        assert "ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/etc/airflow/tls/broker-ca.pem" in secrets
        assert "sslmode=verify-full&sslrootcert=/etc/airflow/tls/database-ca.pem" in secrets
    assert "AIRFLOW__DATABASE" not in machines.run("worker1", "cat", "/etc/airflow/secrets/worker.env")


def test_a_password_stands_in_no_command_line(machines: Machines, playbooks: Playbooks) -> None:
    done = playbooks.run(PREFLIGHT, "-vvv").must_succeed()
    words = ("pass@word", "pass%40word")
    assert not any(word in done.output for word in words)
    for name in ("control1", "worker1"):
        lines = machines.shell(name, "ps -eo args")
        assert not any(word in lines for word in words)


@pytest.fixture
def broken(machines: Machines) -> Iterator[None]:
    """Databases and users that lack something; gone afterwards."""
    databases, roles = ("latin", "foreign_owner"), ("poor",)
    sql(machines, "CREATE DATABASE latin OWNER air ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    sql(machines, "CREATE DATABASE foreign_owner TEMPLATE template0")
    sql(machines, "CREATE TABLE dag (id int)", "foreign_owner")
    sql(machines, "CREATE ROLE poor LOGIN PASSWORD 'hunter2222'")
    yield
    for database in databases:
        sql(machines, f"DROP DATABASE {database}")
    for role in roles:
        sql(machines, f"DROP ROLE {role}")


def test_the_preflight_names_what_is_missing(machines: Machines, playbooks: Playbooks, broken: None) -> None:
    cases: list[tuple[dict[str, str], tuple[str, ...]]] = [
        (
            {"airflow_database_url": f"{DATABASE}/nowhere", "airflow_result_backend": f"{RESULTS}/foreign_owner"},
            (
                'database "nowhere" does not exist',
                "CREATE DATABASE nowhere OWNER air",
                "host worker1: airflow_result_backend",
                "no right of air_results to create tables in schema public",
            ),
        ),
        (
            {
                "airflow_database_url": f"{DATABASE}/latin",
                "airflow_result_backend": "db+postgresql://nobody:x@services1/airflow_results",
                "airflow_broker_url": "rediss://:wrong@services1:6380/0",
            },
            ("encoding LATIN1", 'authentication failed for user "nobody"', "create the role", "WRONGPASS"),
        ),
        (
            {
                "airflow_database_url": f"{DATABASE}/foreign_owner",
                "airflow_broker_ca_file": str(PROJECT / "molecule/external/inventory/.pki/ca.pem"),
            },
            ("1 tables in schema public that belong to other roles", "its certificate is not accepted"),
        ),
        (
            {"airflow_database_ca_file": "", "airflow_broker_url": "rediss://:wrong@services1:22/0"},
            ("set airflow_database_ca_file", "no TLS"),
        ),
    ]
    for changes, pieces in cases:
        done = playbooks.run(PREFLIGHT, "-e", json.dumps(changes)).must_fail("No machine was changed")
        for piece in pieces:
            assert piece in done.text, (piece, done.output)
        assert "pass@word" not in done.output


def test_a_redis_with_users_needs_the_rights_of_the_docs(machines: Machines, playbooks: Playbooks) -> None:
    text = " ".join((PROJECT / "docs/external-services.md").read_text().split())
    lines = re.findall(r"ACL SETUSER (\w+) on >PASSWORD ([^`]*?) (?=ACL|```)", text)
    # A selector in parentheses is one word.
    rules = {name: re.findall(r"\([^)]*\)|\S+", rule) for name, rule in lines}
    assert set(rules) == {"airflow", "flower"}
    for name, rule in rules.items():
        redis(machines, "ACL", "SETUSER", name, "reset", "on", ">hunter2222", *rule)
    urls = {
        "airflow_broker_url": "rediss://airflow:hunter2222@services1:6380/0",
        "airflow_flower_broker_url": "rediss://flower:hunter2222@services1:6380/0",
    }
    try:
        playbooks.run(PREFLIGHT, "-e", json.dumps(urls)).must_succeed()
        redis(machines, "ACL", "SETUSER", "airflow", "-brpop", "-publish")
        # The right to LLEN is one for reading keys alone, so a selector.
        redis(machines, "ACL", "SETUSER", "flower", "clearselectors")
        done = playbooks.run(PREFLIGHT, "-e", json.dumps(urls)).must_fail("without the right to BRPOP")
        assert "PUBLISH" in done.text
        assert "airflow_flower_broker_url" in done.text
        assert "LLEN" in done.text
    finally:
        redis(machines, "ACL", "DELUSER", "airflow", "flower")


@pytest.fixture(scope="module")
def single_sign_on(playbooks: Playbooks) -> None:
    """The cluster after a change from the directory to the single sign-on server."""
    variables = {
        "airflow_webserver_config": str(PROJECT / "molecule/external/files/webserver_config_oauth.py"),
        "airflow_api_server_environment": {"REQUESTS_CA_BUNDLE": "/etc/services-ca.pem"},
    }
    playbooks.run("site.yml", "-e", json.dumps(variables)).must_succeed()


@pytest.mark.parametrize(("person", "roles"), [("eva", {"Admin", "Public"}), ("fred", {"Viewer", "Public"})])
def test_people_of_a_single_sign_on_server_log_in_with_the_roles_of_their_groups(
    browser: WebDriver, cluster: Cluster, machines: Machines, single_sign_on: None, person: str, roles: set[str]
) -> None:
    waiting = WebDriverWait(browser, PATIENCE)

    def found(by: str, value: str) -> WebElement:
        return waiting.until(lambda driver: driver.find_elements(by, value), f"no {value} on the page")[0]

    browser.get(cluster.url)
    found(By.ID, "btn-signin-keycloak").click()
    found(By.NAME, "sub").send_keys(f"id-of-{person}")
    found(By.CSS_SELECTOR, "[type=submit]").click()
    waiting.until(lambda driver: driver.current_url.startswith(f"{cluster.url}/"), "no return from the provider")
    wait_until_logged_in(browser)
    assert roles_of(machines, person) == roles
