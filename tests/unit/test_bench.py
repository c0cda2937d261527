"""What the benchmark does, without machines: shapes, stock Airflow, turns, inventory, deployments."""

from __future__ import annotations

import argparse
import ast
import configparser
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import heartbeat_benchmark
import pytest
from airflow_client import DagRun
from bench import __main__ as command
from bench import blocks, deploy, ours, report, results, shapes, site, stock
from cluster_inventory import Cluster

ROOT = Path(__file__).resolve().parents[2]
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def run(begin: float, end: float, state: str = "success") -> DagRun:
    """Return a DAG run between two moments."""
    return DagRun("run", state, None, BEGAN + timedelta(seconds=begin), BEGAN + timedelta(seconds=end))


def test_many_runs_last_from_the_first_start_to_the_last_end() -> None:
    assert shapes.duration([run(1, 4), run(0, 3), run(2, 9)]) == 9


@pytest.mark.parametrize("runs", [[], [run(0, 1), run(0, 2, "failed")], [DagRun("run", "success", None, None, None)]])
def test_runs_that_did_not_succeed_give_no_figure(runs: list[DagRun]) -> None:
    with pytest.raises(RuntimeError, match="did not succeed"):
        shapes.duration(runs)


class Api:
    """An Airflow that knows 50 DAGs. Unpaused, it has finished all runs at the second look.

    :param left: DAG runs of an earlier time that are not over.
    """

    def __init__(self, left: int = 0) -> None:
        self.calls: list[tuple[str, str, Any, dict[str, Any]]] = []
        self.paused = True
        self.unfinished = left
        self.looks = 0

    def call(self, method: str, path: str, body: object = None, **query: Any) -> Any:
        """Answer as the REST API does."""
        self.calls.append((method, path, body, query))
        if (method, path) == ("GET", "/dags"):
            return {"dags": [{"dag_id": f"bench_many_{number:02}"} for number in range(50)]}
        if method == "PATCH":
            self.paused = body == {"is_paused": True}
            return {"total_entries": 50}
        if path == "/dags/~/dagRuns":
            self.looks += 0 if self.paused else 1
            if self.looks == 2:
                self.unfinished, self.looks = 0, 0
            return {"total_entries": self.unfinished}
        assert path.endswith("/dagRuns/manual__2026%2B1/taskInstances")
        return {"total_entries": 4}

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run."""
        assert self.paused
        self.unfinished += 1
        return "manual__2026+1"

    def run(self, dag_id: str, run_id: str) -> DagRun:
        """Return a run."""
        return run(int(dag_id[-2:]) / 10, 10)


@pytest.mark.parametrize("left", [0, 3])
def test_a_shape_begins_when_it_is_unpaused(left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_client.time.sleep", lambda seconds: None)
    api = Api(left)
    readings = iter([(0.0, {"control": 1.0}), (10.0, {"control": 7.0})])
    seen = []

    def read() -> tuple[float, dict[str, float]]:
        seen.append(api.paused)
        return next(readings)

    found, runs = shapes.run_shape(api, shapes.BY_NAME["many"], read, {"control": 0.1})  # type: ignore[arg-type]
    assert found == shapes.Measured(200, 10.0, {"control": 5.0})
    assert len(runs) == 50
    assert seen == [True, False]
    states = [query["state"] for _, path, _, query in api.calls if path == "/dags/~/dagRuns"]
    assert states == [["queued", "running"]] * (5 if left else 3)


def test_a_pause_that_meets_other_dags_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="50 DAGs bench_quick"):
        shapes.pause(Api(), shapes.BY_NAME["quick"], True)  # type: ignore[arg-type]


def test_each_shape_has_a_dag_file_with_its_numbers() -> None:
    numbers: dict[str, int] = {}
    for shape in shapes.SHAPES:
        tree = ast.parse((site.DAGS / f"{shape.prefix}.py").read_text())
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                numbers |= {ast.unparse(target): int(str(node.value.value)) for target in node.targets}
    assert shapes.BY_NAME["chain"].title.startswith(f"{numbers['CHAIN']} ")
    assert shapes.BY_NAME["deferred"].title.startswith(f"{numbers['DEFERRED']} ")
    assert shapes.BY_NAME["xcom"].title.startswith(f"{numbers['PAIRS'] * 2} ")


def test_units_without_the_firewall() -> None:
    listed = (
        "airflow-api-server@1.service loaded active running Airflow API server\n"
        "airflow-firewall.service     loaded active exited  Firewall of the Airflow cluster\n"
        "postgresql@17-results.service loaded active running PostgreSQL\n\n"
    )
    assert ours.units_to_stop(listed) == ["airflow-api-server@1.service", "postgresql@17-results.service"]


def test_stock_airflow_has_its_own_defaults() -> None:
    keys = {"fernet": "a%b=", "jwt": "j", "session": "s"}
    parser = configparser.RawConfigParser()
    parser.read_string(stock.config("control1", 5432, "word", keys, 16))
    assert parser["celery"]["worker_concurrency"] == "16"
    assert parser["celery"]["result_backend"] == f"db+{parser['database']['sql_alchemy_conn']}"
    assert parser["core"]["fernet_key"] == "a%b="
    assert {section: sorted(parser[section]) for section in ("core", "api")} == {
        "core": [
            *("dags_folder", "execution_api_server_url", "executor", "fernet_key"),
            *("load_examples", "simple_auth_manager_all_admins"),
        ],
        "api": ["port", "secret_key"],
    }


def test_everything_of_stock_airflow_is_a_unit_of_its_prefix() -> None:
    words = stock.unit_command("scheduler", "airflow", "python", "-m", "airflow", "scheduler")
    assert "--unit=acc-bench-scheduler" in words
    assert "--wait" not in words
    assert words[-4:] == ["python", "-m", "airflow", "scheduler"]
    assert "--wait" in stock.unit_command("migrate", "airflow", "true", wait=True)


class Host:
    """Machines that remember what they were told, and know where PostgreSQL has its rules."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []
        self.texts: list[str] = []

    def run(self, name: str, *command: str, check: bool = True) -> str:
        """Remember a command."""
        self.commands.append((name, *command))
        return ""

    def shell(self, name: str, script: str) -> str:
        """Remember a script."""
        self.commands.append((name, script))
        return ""

    def told(self, name: str, text: str, *command: str) -> str:
        """Remember a text."""
        self.texts.append(text)
        return "/etc/postgresql/17/main/pg_hba.conf\n" if "SHOW hba_file" in text else ""


def cluster() -> Cluster:
    """Return a cluster of one control node and two workers."""
    groups = {"control_plane": ["control1"], "airflow_worker": ["worker1", "worker2"], "all": []}
    variables = {
        name: {"ansible_host": f"192.0.2.{number}", "postgres_port": 5432, "airflow_worker_concurrency": 4}
        for number, name in enumerate(("control1", "worker1", "worker2"), 1)
    }
    return Cluster((), groups, variables)


def test_stock_airflow_is_removed_as_it_was_set_up(tmp_path: Path) -> None:
    (tmp_path / "bench_quick.py").write_text("# a DAG\n")
    host = Host()
    one = stock.Stock(cluster(), host, tmp_path)  # type: ignore[arg-type]
    one.set_up()
    sql = "".join(host.texts)
    assert "CREATE ROLE acc_bench" in sql
    assert "CREATE DATABASE acc_bench" in sql
    assert [text for text in host.texts if text == "# a DAG\n"] == ["# a DAG\n"] * 3
    [rule] = [words[1] for words in host.commands if words[1].startswith("echo")]
    assert rule.endswith("scram-sha-256' >>/etc/postgresql/17/main/pg_hba.conf")
    host.commands.clear()
    host.texts.clear()
    one.remove()
    sql = "".join(host.texts)
    assert "DROP DATABASE IF EXISTS acc_bench" in sql
    assert "DROP ROLE IF EXISTS acc_bench" in sql
    for name in ("control1", "worker1", "worker2"):
        assert (name, "systemctl", "stop", "acc-bench-*.service") in host.commands
        assert (name, "rm", "-rf", "/var/lib/acc-bench") in host.commands
    assert ("control1", "sed", "-i", "/ acc_bench acc_bench /d", "/etc/postgresql/17/main/pg_hba.conf") in host.commands


def test_the_sides_have_equal_slots_and_stock_also_its_own(tmp_path: Path) -> None:
    one = cluster()
    variables = {name: {**values, "airflow_jwt_secret": "j"} for name, values in one.variables.items()}
    one = Cluster((), one.groups, variables)
    host = Host()
    other = stock.Stock(one, host, tmp_path)  # type: ignore[arg-type]
    sides = blocks.make_sides(one, ours.Ours(one, host), other)  # type: ignore[arg-type]
    assert [(side.name, side.slots, side.full) for side in sides] == [
        ("ours", 8, True),
        ("stock8", 8, True),
        ("stock32", 32, False),
    ]
    variables["worker1"]["airflow_worker_concurrency"] = 16
    with pytest.raises(RuntimeError, match="airflow_worker_concurrency is 16"):
        blocks.make_sides(one, ours.Ours(one, host), other)  # type: ignore[arg-type]


def test_heartbeats_are_sent_with_a_token_that_stands_in_no_command_line() -> None:
    class Listening(Host):
        """A machine on which two heartbeats were answered."""

        def told(self, name: str, text: str, *command: str) -> str:
            self.commands.append((name, *command))
            self.texts.append(text)
            return "[0.1, 0.2]"

        def shell(self, name: str, script: str, check: bool = True) -> str:
            return "2026-06-30\n"

    host = Listening()
    tasks = [{"id": "0-1", "hostname": "worker1", "pid": 7}]
    endpoint = ("127.0.0.1", 8091, False)
    times = heartbeat_benchmark.measure(host, "control1", endpoint, "key", tasks, connections=8, seconds=20)  # type: ignore[arg-type]
    assert times == [0.1, 0.2]
    address, port, tls, [[path, body, headers]], connections, seconds, rate = json.loads(host.texts[0])
    assert (address, port, tls, connections, seconds, rate) == ("127.0.0.1", 8091, False, 8, 20, 0)
    assert path == "/execution/task-instances/0-1/heartbeat"
    assert json.loads(body) == {"hostname": "worker1", "pid": 7}
    # Without the version another part of the Execution API answers.
    assert headers["Airflow-API-Version"] == "2026-06-30"
    assert headers["Authorization"].removeprefix("Bearer ") not in " ".join(host.commands[0])


class Place:
    """A site whose cluster is there."""

    dags = Path("dags")

    def cluster(self) -> Cluster:
        """Return the cluster."""
        return cluster()


@pytest.mark.parametrize("fails", [False, True])
def test_blocks_take_turns_and_the_cluster_runs_again(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def note(text: str) -> Any:
        return lambda *_: events.append(text)

    def one(name: str, full: bool) -> blocks.Side:
        return blocks.Side(name, 8, full, note(f"{name}+"), note(f"{name}-"), lambda: None, ("", 0, False), "")  # type: ignore[arg-type, return-value]

    def block(side: blocks.Side, _: object, machines: object, meter: object, parts: Any, found: Any) -> None:
        events.append(f"{side.name}: {','.join(sorted(parts))}")
        if fails and side.name == "stock8":
            raise RuntimeError("broken")
        for part in parts:
            found[part][side.name] = {}

    monkeypatch.setattr(blocks, "Machines", lambda one: Host())
    monkeypatch.setattr(
        blocks, "make_sides", lambda *_: [one("ours", True), one("stock8", True), one("stock32", False)]
    )
    monkeypatch.setattr(blocks, "block", block)
    for name in ("set_up", "remove"):
        monkeypatch.setattr(stock.Stock, name, note(name))
    for name in ("start", "stop"):
        monkeypatch.setattr(ours.Ours, name, note(name))
    kept = results.Results(tmp_path / "bench.json")
    if fails:
        with pytest.raises(RuntimeError, match="broken"):
            blocks.run_blocks(Place(), ["tasks", "idle"], 2, kept)  # type: ignore[arg-type]
        assert events[-3:] == ["stock8: idle,tasks", "remove", "start"]
        assert kept.parts["tasks"]["figures"] == {"ours": {}}
        return
    blocks.run_blocks(Place(), ["tasks", "idle"], 2, kept)  # type: ignore[arg-type]
    first = ["ours+", "ours: idle,tasks", "ours-", "stock8+", "stock8: idle,tasks", "stock8-"]
    assert events[:8] == ["set_up", "stop", *first]
    assert "stock32: idle,tasks" in events
    assert events[-5:] == ["stock32+", "stock32: tasks", "stock32-", "remove", "start"]
    events.clear()
    blocks.run_blocks(Place(), ["idle"], 2, kept)  # type: ignore[arg-type]
    assert events == [
        "set_up",
        "stop",
        "ours+",
        "ours: idle",
        "ours-",
        "stock8+",
        "stock8: idle",
        "stock8-",
        "remove",
        "start",
    ]


def test_units_that_were_stopped_are_started() -> None:
    class Listing(Host):
        """Machines with one unit each."""

        def run(self, name: str, *command: str, check: bool = True) -> str:
            super().run(name, *command)
            return f"airflow-{name}.service loaded active running x\n" if "list-units" in command else ""

    class Healthy:
        """A client of a healthy cluster."""

        def health(self) -> dict[str, str]:
            """Return what the API says."""
            return {"scheduler": "healthy"}

    host = Listing()
    one = ours.Ours(cluster(), host)  # type: ignore[arg-type]
    one.client = Healthy  # type: ignore[assignment, method-assign]
    one.stop()
    one.start()
    done = [words for words in host.commands if words[2] in ("stop", "start")]
    assert done == [
        *((name, "systemctl", "stop", f"airflow-{name}.service") for name in ("worker1", "worker2", "control1")),
        *((name, "systemctl", "start", f"airflow-{name}.service") for name in ("control1", "worker2", "worker1")),
    ]
    host.commands.clear()
    one.start()
    assert host.commands == []


def test_the_inventory_has_every_group() -> None:
    hosts = site.inventory(51)["all"]
    assert isinstance(hosts, dict)
    assert len(hosts["hosts"]) == 52
    addresses = [one["ansible_host"] for one in hosts["hosts"].values()]
    assert len(set(addresses)) == 52
    assert set(hosts["children"]["airflow"]["children"]) >= {"airflow_worker", "flower", "airflow_scheduler"}


def test_the_settings_are_those_of_the_demo_with_names_of_its_own(tmp_path: Path) -> None:
    one = site.Site(tmp_path)
    one.prepare(2)
    text = (tmp_path / "inventory/group_vars/all/main.yml").read_text()
    assert "local_machines_prefix: acc-bench" in text
    assert "10.77.0.0/24" not in text
    assert {path.name for path in (tmp_path / "dags").iterdir()} == {
        *("bench_quick.py", "bench_chain.py", "bench_deferred.py", "bench_xcom.py", "cluster_check_dag.py"),
        # A DAG has the name of its file.
        *(f"bench_many_{number:02}.py" for number in range(shapes.BY_NAME["many"].dags)),
    }


def test_tasks_of_a_run_are_counted_by_its_recap() -> None:
    output = (
        "TASK [x] ****\nok: [control1]\n\nPLAY RECAP *****\n"
        "control1                   : ok=216  changed=3    unreachable=0    failed=0    skipped=51\n"
        "worker1                    : ok=56   changed=0    unreachable=0    failed=0    skipped=20\n"
    )
    assert site.recap(output) == {"control1": 216, "worker1": 56}


def test_deployments_are_measured_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = site.Site(tmp_path)
    one.prepare(2)
    (one.inventory / "runtime-lock-1.txt").write_text("")
    played = []

    def play(playbook: str, *arguments: str) -> site.Play:
        played.append(" ".join((playbook, *arguments)))
        return site.Play(10.0, {"control1": 1, arguments[-1] if arguments else "worker1": 1})

    monkeypatch.setattr(one, "play", play)
    assert deploy.deploy_twice(one)["fresh"] == 10
    site_yml = " ".join(("site.yml", *deploy.DEMO_DAGS))
    assert played[-2:] == [site_yml, site_yml]
    assert one.locks() == []
    added = deploy.add_workers(one)
    assert added["50"] == {"seconds": 10.0, "hosts": ["control1", "worker51"]}
    assert played[-1] == f"{site_yml} --limit worker51"
    (one.inventory / "runtime-lock-2.txt").write_text("")
    assert deploy.place(one) == {"3": {"ours": 10.0, "pip": 10.0}, "8": {"ours": 10.0, "pip": 10.0}}
    for word in deploy.PLACE, *played:
        assert (ROOT / word.split()[0]).is_file()


def test_parts_are_chosen_by_name() -> None:
    assert command.chosen_parts("heartbeats,tasks") == ["tasks", "heartbeats"]
    with pytest.raises(argparse.ArgumentTypeError, match="taks"):
        command.chosen_parts("taks")
    assert set(report.ROWS) == set(command.PARTS)


def test_machines_are_removed_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = []
    monkeypatch.setattr("sys.argv", ["bench", "--only", "tasks"])
    monkeypatch.setattr(command, "WORK", tmp_path / "work")
    monkeypatch.setattr(command, "LOG", tmp_path / "log")
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    monkeypatch.setattr(command, "Results", lambda: results.Results(tmp_path / "bench.json"))

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(command, "measure", fail)
    monkeypatch.setattr(site.Site, "remove_machines", lambda self: removed.append(True))
    with pytest.raises(RuntimeError, match="broken"):
        command.main()
    assert removed == [True]
    assert not (tmp_path / "work").exists()
