"""What the inventory declares: objects of the metadata database, plugins, settings of the login. And mail arrives."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_client import AirflowClient, ApiError, http, wait_for
from cluster_inventory import Cluster
from conftest import PROJECT, Play, restarted
from faults.machines import Machines
from test_10_hosts import UNITS
from testinfra.host import Host

pytestmark = pytest.mark.same_everywhere

Connect = Callable[[str], Host]

PROGRAM = ("/usr/local/sbin/airflow-run", "database", "airflow_celery_cluster.objects")
SECRET = "declared-secret"
# The groups whose processes load plugins
PLUGIN_GROUPS = (
    "airflow_api_server",
    "airflow_dag_processor",
    "airflow_scheduler",
    "airflow_triggerer",
    "airflow_worker",
)

# One DAG with a timetable of a plugin, and one whose task fails and has a mail address. Its tag says what the process
# that imports the file has from the DAG processor.
DAGS = """
import gc
import sys

PREPARED = "airflow.sdk.definitions.decorators" in sys.modules and gc.get_freeze_count() > 0

from airflow.sdk import dag, task
from workday import WorkdayTimetable


@dag(schedule=WorkdayTimetable(), catchup=False, max_active_runs=1)
def workday_check():
    @task
    def folder():
        import workday

        return workday.__file__

    folder()


@dag(schedule=None, tags=[f"prepared: {PREPARED}"])
def mail_check():
    @task(email="ann@example.org", email_on_failure=True, retries=0)
    def fail():
        raise ValueError("a mail is on its way")

    fail()


workday_check()
mail_check()
"""


@pytest.fixture(scope="module")
def machines(cluster: Cluster) -> Machines:
    return Machines(cluster)


@pytest.fixture(scope="module")
def apply(cluster: Cluster, machines: Machines) -> Callable[..., list[str]]:
    """Return a function that applies declarations as role airflow_database does, and returns what changed."""

    def run(declared: dict[str, Any], *arguments: str) -> list[str]:
        control = cluster.first("airflow_scheduler")
        command = f"{shlex.join([*PROGRAM, *arguments])} 2>/run/objects.log || true"
        said = machines.told(control, json.dumps(declared), "sh", "-c", command)
        assert SECRET not in said + machines.run(control, "cat", "/run/objects.log")
        report = json.loads(said.strip().rpartition("\n")[2])
        assert not (report["changes"] and report["problems"]), report
        changes = [
            f"{one['kind']} {one['name']}: {one['action']} {','.join(one['fields'])}" for one in report["changes"]
        ]
        return [change.strip() for change in changes] + [f"problem: {problem}" for problem in report["problems"]]

    return run


# --- Objects ----------------------------------------------------------------------------------------------------------
def test_what_the_inventory_declares_is_there(client: AirflowClient, cluster: Cluster) -> None:
    connection = client.call("GET", "/connections/declared_uri")
    assert (connection["conn_type"], connection["host"], connection["port"]) == ("http", "service.example.org", 8443)
    assert json.loads(connection["extra"]) == {"timeout": 5}
    assert client.call("GET", "/variables/declared_text")["value"] == f"{SECRET}-2"
    variable = client.call("GET", "/variables/declared_json")
    assert (json.loads(variable["value"]), variable["description"]) == ({"rows": [1, 2]}, "Declared in the inventory")
    assert client.call("GET", "/pools/declared_pool")["slots"] == 3
    user = AirflowClient(cluster.url, "declared_user", f"{SECRET}-3", cluster.ca_file)
    # What role Viewer may read, and may not write.
    assert user.call("GET", "/pools/declared_pool")["slots"] == 3
    with pytest.raises(ApiError) as refused:
        user.call("POST", "/variables", {"key": "refused", "value": "x"})
    assert refused.value.status == 403


def test_only_what_is_declared_and_differs_changes(apply: Callable[..., list[str]], client: AirflowClient) -> None:
    by_hand = {"connection_id": "by_hand", "conn_type": "http", "host": "by.hand"}
    client.call("POST", "/connections", by_hand | {"password": f"{SECRET}-4"})
    client.call("POST", "/variables", {"key": "by_hand", "value": "kept"})
    wanted: dict[str, Any] = {
        "connections": {
            "try": {"conn_type": "http", "host": "a", "login": "me", "password": f"{SECRET}-5", "extra": {"a": 1}},
            "try_uri": f"postgres://me:{SECRET}-6@db:5432/shop",
        },
        "variables": {"try": f"{SECRET}-7", "try_json": {"a": [1]}, "try_both": {"value": 3, "description": "d"}},
        "pools": {"try": {"slots": 2}},
        "roles": {"Try": {"permissions": {"DAGs": ["can_read"], "DAG:none_yet": ["can_read"]}}},
        "users": {"try": {"email": "try@example.org", "roles": ["Try", "Viewer"], "password": f"{SECRET}-8"}},
    }
    created = [
        *("connection try: create", "connection try_uri: create"),
        *("variable try: create", "variable try_json: create", "variable try_both: create"),
        *("pool try: create", "role Try: create", "user try: create"),
    ]
    assert apply(wanted, "--check") == created
    assert apply(wanted) == created
    assert apply(wanted) == []

    # Somebody changes everything in the UI.
    connection = {"connection_id": "try", "conn_type": "http", "host": "b", "login": "me", "extra": '{"a": 1}'}
    client.call("PATCH", "/connections/try", connection | {"password": "other"})
    client.call("PATCH", "/variables/try", {"key": "try", "value": "other"})
    client.call("PATCH", "/pools/try", {"pool": "try", "slots": 9, "include_deferred": False}, update_mask="slots")
    differences = ["connection try: change host,password", "variable try: change value", "pool try: change slots"]
    assert apply(wanted, "--check") == differences
    assert apply(wanted) == differences
    assert client.call("GET", "/connections/try")["host"] == "a"

    # Another declaration. A field that is left out is empty; a user keeps the password.
    wanted["connections"]["try"] = {"conn_type": "http", "host": "a"}
    wanted["roles"]["Try"] = {"permissions": {"DAGs": ["can_edit"]}}
    wanted["users"]["try"] |= {"roles": ["Viewer"], "password": f"{SECRET}-9"}
    differences = [
        "connection try: change login,password,extra",
        "role Try: change permissions",
        "user try: change roles",
    ]
    assert apply(wanted) == differences
    wanted["users"]["try"] |= {"update_password": "always", "active": False}
    assert apply(wanted) == ["user try: change active,password"]
    assert apply(wanted) == []
    assert apply({}) == []

    gone = {kind: {name: {"state": "absent"} for name in objects} for kind, objects in wanted.items()}
    assert sorted(apply(gone)) == sorted(change.replace("create", "remove") for change in created)
    assert apply(gone) == []
    assert client.call("GET", "/connections/by_hand")["host"] == "by.hand"
    assert client.call("GET", "/variables/by_hand")["value"] == "kept"
    client.call("DELETE", "/connections/by_hand")
    client.call("DELETE", "/variables/by_hand")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"roles": {"Wrong": {"permissions": {"DAGS": ["can_read"]}}}}, "role Wrong: Airflow has no resource 'DAGS'"),
        ({"roles": {"Wrong": {"permissions": {"DAGs": ["read"]}}}}, "role Wrong: Airflow has no action 'read'"),
        ({"users": {"wrong": {"email": "w@example.org", "roles": ["None"]}}}, "user wrong: there is no role 'None'"),
        (
            {"users": {"wrong": {"email": "declared@example.org", "roles": ["Viewer"]}}},
            "user wrong: user declared_user has the same email",
        ),
        (
            {"connections": {"wrong": f"http://{SECRET}://{SECRET}://x"}},
            "connection wrong: Airflow does not accept it (AirflowException)",
        ),
    ],
)
def test_nothing_changes_if_one_object_is_wrong(
    apply: Callable[..., list[str]], client: AirflowClient, wrong: dict[str, Any], problem: str
) -> None:
    assert apply({"variables": {"beside_the_wrong": "x"}, **wrong}) == [f"problem: {problem}"]
    with pytest.raises(ApiError) as missing:
        client.call("GET", "/variables/beside_the_wrong")
    assert missing.value.status == 404


# --- Plugins and mail -------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def dags(client: AirflowClient, play: Play, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The DAGs of this file beside those of the project; the variables that deploy them."""
    folder = tmp_path_factory.mktemp("dags") / "dags"
    shutil.copytree(PROJECT / "dags", folder)
    (folder / "declared_dags.py").write_text(DAGS)
    variables = {"airflow_dags_dir": str(folder)}
    play("-e", json.dumps(variables), book="playbooks/dags.yml").must_succeed()
    for dag in ("workday_check", "mail_check"):
        client.wait_for_dag(dag, seconds=120)
        client.pause(dag, False)
    yield variables
    play(book="playbooks/dags.yml").must_succeed()


def test_each_process_that_loads_plugins_has_the_same_release(cluster: Cluster, connect: Connect) -> None:
    found: dict[str, set[str]] = {}
    for name in cluster.groups["airflow"]:
        lines = connect(name).check_output("grep --with-filename '^plugins_folder' /etc/airflow/*/airflow.cfg")
        for line in lines.splitlines():
            found.setdefault(line.rpartition(" = ")[2], set()).add(line.split("/")[3].partition("@")[0])
        (folder,) = found
        assert connect(name).check_output(f"ls {folder}") == "workday.py"
    assert set.union(*found.values()) >= {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}


@pytest.mark.usefixtures("dags")
def test_a_dag_runs_with_a_timetable_of_a_plugin(client: AirflowClient) -> None:
    assert client.import_errors() == {}
    dag = client.call("GET", "/dags/workday_check/details")
    assert dag["timetable_summary"] == "0 6 * * 1-5"
    assert "T06:00:00" in dag["next_dagrun_run_after"]
    run_id = client.trigger("workday_check")
    assert client.wait_for_run("workday_check", run_id, seconds=120).state == "success"
    (task,) = client.tasks("workday_check", run_id)
    assert client.result("workday_check", task).startswith("/opt/airflow/plugins/releases/")


@pytest.mark.usefixtures("dags")
def test_a_dag_file_is_imported_by_a_process_that_has_the_sdk_already(client: AirflowClient) -> None:
    assert [tag["name"] for tag in client.call("GET", "/dags/mail_check/details")["tags"]] == ["prepared: True"]


@pytest.mark.long
def test_a_changed_plugin_is_loaded_by_each_process(
    cluster: Cluster,
    client: AirflowClient,
    play: Play,
    starts: Callable[..., dict[str, str]],
    dags: dict[str, str],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "plugins"
    shutil.copytree(PROJECT / "molecule/default/inventory/.files/plugins", folder)
    plugin = folder / "workday.py"
    plugin.write_text(plugin.read_text().replace('"0 6 * * 1-5"', '"0 7 * * 1-5"'))

    def summary() -> str:
        return str(client.call("GET", "/dags/workday_check/details")["timetable_summary"])

    assert summary() == "0 6 * * 1-5"
    before = starts()
    play("-e", json.dumps(dags | {"airflow_plugins_dir": str(folder)})).must_succeed()
    found = restarted(before, starts())
    assert found >= {f"{name}:{UNITS[group][0]}" for group in PLUGIN_GROUPS for name in cluster.groups[group]}
    wait_for(lambda: summary() == "0 7 * * 1-5", what="the timetable of the changed plugin", seconds=120)
    play("-e", json.dumps(dags)).must_succeed()
    wait_for(lambda: summary() == "0 6 * * 1-5", what="the timetable of the first plugin", seconds=120)


@pytest.fixture
def mailboxes(cluster: Cluster, connect: Connect) -> Iterator[Callable[[], str]]:
    """An SMTP server on each worker; return a function that reads all mail."""
    server = "python3 -m aiosmtpd --nosetuid --listen 127.0.0.1:2525 --class aiosmtpd.handlers.Mailbox /run/mailbox"
    workers = [connect(name) for name in cluster.workers]
    for worker in workers:
        worker.check_output("apt-get install --yes --quiet --no-install-recommends python3-aiosmtpd")
        worker.check_output(f"systemd-run --unit=mail-server --service-type=exec {server}")
    for worker in workers:
        wait_for(lambda worker=worker: worker.socket("tcp://127.0.0.1:2525").is_listening, what="mail", seconds=30)  # type: ignore[misc]
    yield lambda: "".join(worker.check_output("cat /run/mailbox/new/* 2>/dev/null || true") for worker in workers)
    for worker in workers:
        worker.check_output("systemctl stop mail-server; rm -rf /run/mailbox")


@pytest.mark.usefixtures("dags")
def test_the_mail_of_a_failed_task_arrives(client: AirflowClient, mailboxes: Callable[[], str]) -> None:
    run_id = client.trigger("mail_check")
    assert client.wait_for_run("mail_check", run_id, seconds=120).state == "failed"
    (task,) = client.tasks("mail_check", run_id)
    mail = wait_for(mailboxes, what=f"mail; the log says {client.log('mail_check', task)[-1500:]}", seconds=30)
    assert "To: ann@example.org" in mail
    assert "mail_check" in mail


# --- Login ------------------------------------------------------------------------------------------------------------
def test_the_site_has_settings_of_the_login(cluster: Cluster, connect: Connect) -> None:
    """The file tries to turn off the protection of the form. Scenario security tests key and cookies."""
    status, page = http("GET", f"{cluster.url}/auth/login/", ca_file=cluster.ca_file)
    assert status == 200
    assert 'name="csrf_token"' in page
    for name in cluster.groups["airflow_api_server"]:
        host = connect(name)
        [path] = host.check_output("ls /etc/airflow/api-server@*/webserver_config.py").splitlines()
        file = host.file(path)
        assert (file.user, file.group, file.mode) == ("airflow-api-server", "root", 0o400)
        assert f'"Cluster of {cluster.admin[0]}"' in file.content_string
        said = host.check_output("journalctl --boot --no-pager --unit='airflow-api-server@*' --grep='sets .* itself'")
        assert all(setting in said for setting in ("SECRET_KEY", "SESSION_COOKIE_SECURE", "WTF_CSRF_ENABLED"))
        assert "a guess" not in said
