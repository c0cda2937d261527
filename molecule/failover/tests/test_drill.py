"""The failover drill on a real cluster: it asks first, it measures, and it heals whatever becomes of the controller."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest
from airflow_client import wait_for
from cluster_inventory import PROJECT, Cluster, ansible_program

BOOK = "playbooks/failover_drill.yml"
TABLE = "airflow_failover_drill"
LIMIT = 20
# The playbook lets the dead man's switch come so much later than its own limit.
SWITCH_AFTER = LIMIT + 30


def command(cluster: Cluster, *arguments: str) -> list[str]:
    """Return the command of a drill."""
    return [ansible_program("ansible-playbook"), *cluster.options, BOOK, *arguments]


def environment() -> dict[str, str]:
    """Return an environment in which Ansible's output is plain text."""
    return os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_CONFIG": "ansible.cfg"}


def drill(cluster: Cluster, *arguments: str) -> tuple[int, str]:
    """Run a drill; return status and output."""
    done = subprocess.run(
        command(cluster, *arguments),
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def cut_off(cluster: Cluster, worker: str) -> bool:
    """Whether the worker is cut off, over the SSH connection that the drill leaves alone."""
    script = f"PATH=$PATH:/usr/sbin; command -v nft >/dev/null || exit 0; nft list tables | grep {TABLE} || true"
    return bool(cluster.command(worker, "sh", "-c", script)[worker])


def ledgers(cluster: Cluster) -> dict[str, list[str]]:
    """Return the ledgers that lie on the workers."""
    return cluster.command("airflow_worker", "find", "/var/lib/airflow", "-path", "*/ledger/*.jsonl")


def test_without_consent_nothing_is_touched(cluster: Cluster) -> None:
    worker = cluster.workers[-1]
    runs = [run.run_id for run in cluster.client().runs("failover_load")]
    before = ledgers(cluster)
    status, output = drill(cluster)
    assert status != 0
    assert f"cut {worker} off the network" in output
    assert "-e cluster_confirm=yes" in output
    assert "retries=0 FAIL" in output
    assert "changed=0" in output
    assert "changed=1" not in output
    assert not cut_off(cluster, worker)
    assert [run.run_id for run in cluster.client().runs("failover_load")] == runs
    assert ledgers(cluster) == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("-e", "cluster_worker=nobody"), "worker=nobody is not in group"),
        (("--limit", "airflow_worker[0]"), "without --limit"),
    ],
)
def test_what_cannot_be_a_drill_is_refused(cluster: Cluster, arguments: tuple[str, ...], why: str) -> None:
    status, output = drill(cluster, "-e", "cluster_confirm=yes", *arguments)
    assert status != 0
    assert why in " ".join(output.split())
    assert not cut_off(cluster, cluster.workers[-1])


@pytest.mark.long
def test_a_drill_that_is_killed_heals_by_itself_and_the_next_one_reports(cluster: Cluster, tmp_path: Path) -> None:
    worker = cluster.workers[-1]
    log = tmp_path / "killed.log"
    with log.open("w") as file:
        killed = subprocess.Popen(
            command(cluster, "-e", "cluster_confirm=yes", "-e", f"cluster_limit={LIMIT}"),
            cwd=PROJECT,
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(
                lambda: cut_off(cluster, worker) or killed.poll() is not None,
                what="worker cut off",
                seconds=120,
                interval=0.25,
            )
        finally:
            # The whole session: what Ansible forked must not heal in its place. A drill that was refused has none.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(killed.pid, signal.SIGKILL)
            killed.wait()
    assert cut_off(cluster, worker), log.read_text()[-3000:]
    wait_for(lambda: not cut_off(cluster, worker), what="dead man's switch", seconds=SWITCH_AFTER + 15)
    wait_for(lambda: worker in cluster.flower_workers(), what=f"{worker} answers", seconds=90)
    before = ledgers(cluster)
    user, password = cluster.admin
    reset = ("airflow", "users", "reset-password", "--username", user, "--password")
    # A person may change the password: no operation needs it.
    cluster.command("airflow_scheduler[0]", *reset, "changed-in-the-ui")
    try:
        status, output = drill(cluster, "-e", "cluster_confirm=yes", "-e", f"cluster_report_dir={tmp_path}")
    finally:
        cluster.command("airflow_scheduler[0]", *reset, password)
    assert status == 0, output[-6000:]
    assert "none ran twice at once" in output
    (page,) = tmp_path.glob("failover-drill-*.html")
    assert "<svg" in page.read_text()
    assert not cut_off(cluster, worker)
    # Flower may still show a worker that another scenario has taken away.
    assert set(cluster.workers) <= cluster.flower_workers()
    # Its own are gone; what the killed one left is no concern of it.
    assert ledgers(cluster) == before
