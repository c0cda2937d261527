"""What the units of the cluster write into the journals of all hosts is in the log store."""

from __future__ import annotations

import re
import uuid

from airflow_client import wait_for
from cluster_inventory import Cluster
from conftest import STORE, send
from faults.machines import Machines


def run_unit(machines: Machines, host: str, name: str, *command: str) -> None:
    """Run a command as a unit of systemd, until it ends."""
    machines.run(host, "systemd-run", "--quiet", "--wait", f"--unit={name}", *command)


def lines_with(machines: Machines, host: str, text: str) -> list[str]:
    """Return the stored lines that hold a text, each after the path of its file."""
    return machines.run(host, "grep", "--recursive", text, STORE, check=False).splitlines()


def wait_for_line(machines: Machines, store: str, text: str) -> str:
    """Wait until a line with a text is stored; return it after the path of its file."""
    (line,) = wait_for(lambda: lines_with(machines, store, text), what=f"a stored line with {text}", seconds=20)
    return line


def test_entries_of_the_units_of_all_hosts_arrive(cluster: Cluster, machines: Machines, store: str) -> None:
    for host in machines.names:
        marker = uuid.uuid4().hex
        run_unit(machines, host, f"airflow-{marker}", "printf", f"tab\\t{marker}.\\n")
        line = wait_for_line(machines, store, f"{marker}[.]")
        folder = f"{STORE}/units/{cluster.address(host)}/airflow-{marker}.service"
        # The day; time, host and program of the entry
        form = rf"{folder}/[0-9-]{{10}}\.log:[0-9-]{{10}}T\S+ {host} printf\[\d+\]: tab\t{marker}\."
        assert re.fullmatch(form, line), line
    assert machines.run(store, "stat", "--format=%a %U", f"{STORE}/units").split() == ["700", "airflow-log-store"]


def test_other_units_and_code_of_tasks_write_no_entries(machines: Machines, worker: str, store: str) -> None:
    other, forged, line, entry = (uuid.uuid4().hex for _ in range(4))
    run_unit(machines, worker, f"other-{other}", "echo", other)
    run_unit(machines, worker, f"airflow-{entry}", "echo", entry)
    path = f"dag_id=access/run_id={line}/task_id=test/attempt=1.log"
    lines = f"unit\tairflow-worker.service\t{forged}\ntask\t{path}\t{line}\n"
    send(machines, worker, lines)
    # What was before these in the same queue has been processed.
    wait_for_line(machines, store, f": {entry}")
    wait_for_line(machines, store, f"^{line}")
    assert lines_with(machines, store, other) == []
    assert lines_with(machines, store, forged) == []
