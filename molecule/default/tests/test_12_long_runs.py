"""What keeps a cluster the same for months: what is logged, and the limits of single processes."""

from __future__ import annotations

from collections.abc import Callable

from airflow_client import wait_for
from cluster_inventory import Cluster
from testinfra.host import Host

Connect = Callable[[str], Host]


def test_the_journal_has_failed_requests_and_no_routine_ones(cluster: Cluster, connect: Connect) -> None:
    api = connect(cluster.first("airflow_api_server"))
    units = "--unit='airflow-execution-api@*' --unit='airflow-api-server@*' --unit=airflow-flower"
    # HAProxy checks each of them every one or two seconds.
    assert api.run(f"journalctl --no-pager --grep='request finished' {units}").stdout.count("http.access") == 0
    assert api.check_output(f"journalctl --no-pager --lines=1 {units}")
    front = connect(cluster.first("haproxy"))
    path = "/execution/no-such-path"
    program = (
        "import http.client, ssl; connection = http.client.HTTPSConnection('127.0.0.1', 9443, "
        "context=ssl._create_unverified_context(), timeout=10); "
        f"connection.request('GET', '{path}'); print(connection.getresponse().status)"
    )
    assert front.check_output(f'python3 -c "{program}"') == "404"
    wait_for(
        lambda: front.run(f"journalctl --no-pager --identifier=haproxy --grep={path}").succeeded,
        what="the failed request in HAProxy's log",
        seconds=30,
    )
    assert not front.run("journalctl --no-pager --identifier=haproxy --grep='execution_api/.* 204 '").succeeded
    for name, port in (("main", 5432), ("results", 5433)):
        log = connect(cluster.first("postgres")).check_output(f"cat /var/log/postgresql/*-{name}.log")
        assert "listening on" in log, port
        assert "connection authorized" not in log


def test_a_process_that_grows_is_restarted_alone(cluster: Cluster, connect: Connect) -> None:
    for name in cluster.groups["control_plane"]:
        host = connect(name)
        units = host.check_output("systemctl list-units --plain --no-legend --state=running 'airflow-*.service'")
        found = {}
        for unit in (line.split()[0] for line in units.splitlines()):
            lines = host.check_output(f"systemctl show {unit}").splitlines()
            shown = dict(line.split("=", 1) for line in lines if "=" in line)
            if shown["Slice"] == "airflow.slice":
                found[unit] = shown
        total = int(host.check_output("systemctl show --property=MemoryMax --value airflow.slice"))
        assert any(unit.startswith("airflow-execution-api@") for unit in found)
        for unit, shown in found.items():
            assert 50 << 20 <= int(shown["MemoryMax"]) < total // 2, unit
            assert (shown["OOMPolicy"], shown["Restart"], shown["NeedDaemonReload"]) == ("continue", "always", "no"), (
                unit
            )
            first = unit.startswith(("airflow-scheduler.", "airflow-execution-api@"))
            assert int(shown["OOMScoreAdjust"]) == (0 if first else 200), unit
