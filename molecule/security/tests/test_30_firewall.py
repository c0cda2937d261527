"""What the hosts let in, seen from a worker and from a stranger, and that nobody is shut out by mistake."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
from airflow_client import wait_for
from cluster_inventory import PROJECT, Cluster, ansible_program
from faults.machines import Machines

TABLE = "airflow_firewall"
EVERYBODY = ["0.0.0.0/0", "::/0"]
# A documentation network: nobody here has an address of it.
ELSEWHERE = "192.0.2.0/24"
# All that a service of the cluster or of a machine listens on is below.
PORTS = range(1, 10_001)
LOG_STORE = 20_514
# Prints how each port answers: silence is a packet that was dropped.
SCAN = """
import asyncio, json, sys

async def look(address, port, gate, found):
    async with gate:
        for _ in range(2):
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 1.5)
            except ConnectionRefusedError:
                found["refused"].append(port)
                return
            except TimeoutError:
                continue
            writer.close()
            found["open"].append(port)
            return

async def main(address, first, last):
    found, gate = {"open": [], "refused": []}, asyncio.Semaphore(800)
    await asyncio.gather(*(look(address, port, gate, found) for port in range(first, last)))
    print(json.dumps({answer: sorted(ports) for answer, ports in found.items()}))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


@dataclass(frozen=True)
class Run:
    """How one run of ansible-playbook ended."""

    status: int
    output: str

    def must_succeed(self) -> Run:
        """Fail the test, with the end of the output, unless the run succeeded."""
        assert self.status == 0, self.output[-6000:]
        return self


def play(cluster: Cluster, *arguments: str, book: str = "playbooks/firewall.yml", **variables: object) -> Run:
    """Run a playbook on a cluster, with extra variables."""
    answer = subprocess.run(
        [
            *(ansible_program("ansible-playbook"), *cluster.options, book, *arguments),
            *("--extra-vars", json.dumps(variables)),
        ],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_CONFIG": "ansible.cfg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Run(answer.returncode, answer.stdout)


@pytest.fixture(scope="module")
def machines(cluster: Cluster) -> Machines:
    """The machines under test, seen from their power supply: it needs no SSH."""
    return Machines(cluster)


@pytest.fixture(scope="module")
def control(cluster: Cluster) -> str:
    """The control node, which has every service in these tests."""
    return cluster.first("haproxy")


@pytest.fixture(scope="module")
def worker(cluster: Cluster) -> str:
    """A worker."""
    return cluster.workers[0]


@pytest.fixture(scope="module")
def stranger(
    cluster: Cluster, control: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Machines]]:
    """A machine on the network of the cluster that its inventory does not have."""
    path = tmp_path_factory.mktemp("stranger") / "hosts.yml"
    address = cluster.address(control).rpartition(".")[0] + ".99"
    path.write_text(json.dumps({"all": {"hosts": {"stranger": {"ansible_host": address}}}}))
    larger = Cluster.read(*cluster.inventories, path)
    machine = "playbooks/local_machines.yml"
    play(larger, "--limit", "stranger", book=machine).must_succeed()
    yield "stranger", Machines(larger)
    play(larger, "--limit", "stranger", book=machine, local_machines_state="absent").must_succeed()


def scan(machines: Machines, name: str, address: str, first: int = PORTS.start, last: int = PORTS.stop) -> object:
    """Return which TCP ports of an address answer a machine, and how."""
    return json.loads(machines.run(name, "python3", "-c", SCAN, address, str(first), str(last)))


def rules(machines: Machines, name: str) -> str:
    """Return the table of a machine as its kernel has it; "" for none."""
    return machines.run(name, "nft", "-s", "list", "table", "inet", TABLE, check=False)


def timer_is_armed(machines: Machines, name: str) -> bool:
    """Say whether rules of a machine wait for their confirmation."""
    timers = machines.run(
        name, "systemctl", "list-units", "--all", "--plain", "--no-legend", f"{TABLE.replace('_', '-')}-*.timer"
    )
    return bool(timers.strip())


def ssh_answers(cluster: Cluster, name: str) -> bool:
    """Say whether a new connection to a machine's SSH gets its greeting."""
    try:
        with socket.create_connection((cluster.address(name), 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


# --- What answers -----------------------------------------------------------------------------------------------------
def test_a_stranger_reaches_ssh_and_the_front_door_and_the_rest_is_silent(
    cluster: Cluster, control: str, worker: str, stranger: tuple[str, Machines]
) -> None:
    name, machines = stranger
    assert scan(machines, name, cluster.address(control)) == {"open": [22, 80, 443], "refused": []}
    assert scan(machines, name, cluster.address(worker)) == {"open": [22], "refused": []}
    assert scan(machines, name, cluster.address(control), LOG_STORE, LOG_STORE + 1) == {"open": [], "refused": []}


def test_a_worker_reaches_broker_and_results_and_not_the_metadata_database(
    cluster: Cluster, control: str, worker: str, machines: Machines
) -> None:
    # What is refused elsewhere listens on loopback, or nowhere; here it is as silent as the rest.
    found = scan(machines, worker, cluster.address(control))
    assert found == {"open": [22, 80, 443, 5433, 6379, 9443], "refused": []}
    logs = scan(machines, worker, cluster.address(control), LOG_STORE - 10, LOG_STORE + 10)
    assert logs == {"open": [LOG_STORE], "refused": []}
    # The port that was not among them is in use: the firewall is what keeps it closed.
    assert ":5432 " in machines.run(control, "ss", "--no-header", "--tcp", "--listening", "--numeric")


def test_a_worker_lets_in_ssh_and_nothing_else(cluster: Cluster, control: str, worker: str, machines: Machines) -> None:
    assert scan(machines, control, cluster.address(worker)) == {"open": [22], "refused": []}


def test_hosts_answer_a_ping(cluster: Cluster, control: str, worker: str, machines: Machines) -> None:
    # An ICMP echo without a program that may not be there. The answer is of type 0.
    program = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); "
        "s.settimeout(5); s.sendto(bytes.fromhex('0800f7fd00010001'), (sys.argv[1], 0)); print(s.recv(99)[0])"
    )
    assert machines.run(worker, "python3", "-c", program, cluster.address(control)).strip() == "0"


# --- Keeping it -------------------------------------------------------------------------------------------------------
def test_nothing_changes_when_nothing_has_changed(cluster: Cluster, machines: Machines, control: str) -> None:
    started = machines.run(control, "systemctl", "show", "--property=InvocationID", "airflow-firewall")
    run = play(cluster).must_succeed()
    assert "changed=1" not in run.output
    assert run.output.count("changed=0") == len(cluster.groups["all"])
    assert machines.run(control, "systemctl", "show", "--property=InvocationID", "airflow-firewall") == started
    assert not any(timer_is_armed(machines, name) for name in cluster.groups["all"])


def test_check_mode_says_what_it_would_do_and_does_nothing(cluster: Cluster, machines: Machines, worker: str) -> None:
    before = rules(machines, worker)
    extra = [{"ports": [9999], "sources": EVERYBODY, "comment": "check mode"}]
    run = play(cluster, "--check", "--diff", firewall_extra_rules=extra).must_succeed()
    assert '+\t\ttcp dport { 9999 } accept comment "check mode"' in run.output
    assert rules(machines, worker) == before
    assert not timer_is_armed(machines, worker)


def test_other_tables_stay_and_a_table_that_was_tampered_with_is_mended(
    cluster: Cluster, machines: Machines, worker: str
) -> None:
    before = rules(machines, worker)
    other = "table inet fault { chain c { type filter hook input priority -20; tcp dport 9998 drop; }; }"
    machines.run(worker, "nft", other)
    try:
        shown = machines.run(worker, "nft", "list", "table", "inet", "fault")
        machines.run(worker, "nft", "insert", "rule", "inet", TABLE, "input", "accept")
        assert rules(machines, worker) != before
        play(cluster).must_succeed()
        assert rules(machines, worker) == before
        assert machines.run(worker, "nft", "list", "table", "inet", "fault") == shown
    finally:
        machines.run(worker, "nft", "delete", "table", "inet", "fault")


def test_a_flushed_ruleset_is_mended(cluster: Cluster, machines: Machines, worker: str) -> None:
    before = rules(machines, worker)
    machines.run(worker, "nft", "flush", "ruleset")
    assert rules(machines, worker) == ""
    play(cluster).must_succeed()
    assert rules(machines, worker) == before


def test_the_firewall_is_there_after_a_restart(cluster: Cluster, machines: Machines, worker: str) -> None:
    before = rules(machines, worker)
    machines.power_off(worker)
    machines.power_on(worker)
    wait_for(lambda: ssh_answers(cluster, worker), what="SSH", seconds=60)
    assert rules(machines, worker) == before
    shown = machines.run(
        *(worker, "systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value"),
        *("airflow-firewall.service", "network-pre.target", "ssh.service"),
    )
    firewall, network, ssh = (int(line) for line in shown.split())
    assert 0 < firewall <= network
    assert firewall < ssh


@pytest.mark.long
def test_more_is_opened_and_closed_again(cluster: Cluster, machines: Machines, control: str, worker: str) -> None:
    server = "import socket; s = socket.create_server(('', 9999)); s.accept()"
    address = cluster.address(worker)
    machines.run(worker, "systemd-run", "--unit=firewall-test", "--collect", "python3", "-c", f"{server}; s.accept()")
    try:
        source = [cluster.address(control)]
        play(cluster, firewall_extra_rules=[{"ports": [9999], "sources": source}]).must_succeed()
        assert scan(machines, control, address, 9990, 10_000) == {"open": [9999], "refused": []}
        play(cluster).must_succeed()
        assert scan(machines, control, address, 9990, 10_000) == {"open": [], "refused": []}
    finally:
        machines.run(worker, "systemctl", "stop", "firewall-test", check=False)


# --- Nobody is shut out -----------------------------------------------------------------------------------------------
def test_rules_that_shut_the_controller_out_are_taken_back(cluster: Cluster, machines: Machines, worker: str) -> None:
    before = {name: rules(machines, name) for name in cluster.groups["all"]}
    begun = time.monotonic()
    run = play(cluster, firewall_ssh_sources=[ELSEWHERE], firewall_rollback_seconds=20)
    took = time.monotonic() - begun
    assert run.status != 0
    text = " ".join(run.output.split())
    assert "could not open a new SSH connection within 20 s" in text
    assert "has its previous rules" in text
    assert "firewall_ssh_sources" in text
    # The rules were really loaded: otherwise nothing was tested.
    assert took > 20
    for name in cluster.groups["all"]:
        assert ssh_answers(cluster, name)
        assert rules(machines, name) == before[name]
        assert ELSEWHERE not in machines.run(name, "cat", "/etc/airflow-firewall.nft")
        assert not timer_is_armed(machines, name)
    run = play(cluster).must_succeed()
    assert run.output.count("changed=0") == len(cluster.groups["all"])


@pytest.mark.long
def test_a_run_that_is_killed_before_the_confirmation_leaves_the_old_rules(
    cluster: Cluster, machines: Machines, worker: str
) -> None:
    before = rules(machines, worker)
    options = json.dumps({"firewall_ssh_sources": [ELSEWHERE], "firewall_rollback_seconds": 25})
    process = subprocess.Popen(
        [ansible_program("ansible-playbook"), *cluster.options, "playbooks/firewall.yml", "--extra-vars", options],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_CONFIG": "ansible.cfg"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: ELSEWHERE in rules(machines, worker), what="the new rules loaded", seconds=180, interval=0.2)
        assert not ssh_answers(cluster, worker)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    wait_for(lambda: ssh_answers(cluster, worker), what="the old rules back", seconds=60)
    wait_for(lambda: not timer_is_armed(machines, worker), what="the timer gone", seconds=10)
    assert rules(machines, worker) == before
    run = play(cluster).must_succeed()
    assert run.output.count("changed=0") == len(cluster.groups["all"])


def test_a_run_that_finds_unconfirmed_rules_takes_them_back_first(
    cluster: Cluster, machines: Machines, worker: str
) -> None:
    before = rules(machines, worker)
    # What a run leaves that ends between loading and confirming, with all the time in the world for its timer.
    machines.shell(
        worker,
        f"mkdir -p /run/airflow-firewall; {{ echo 'table inet {TABLE}; delete table inet {TABLE}'; "
        f"nft -s list table inet {TABLE}; }} >/run/airflow-firewall/previous.nft; "
        "systemd-run --quiet --collect --unit=airflow-firewall-rollback --on-active=3600 "
        "/usr/sbin/nft -f /run/airflow-firewall/previous.nft; "
        f"nft insert rule inet {TABLE} input tcp dport 9997 accept",
    )
    assert rules(machines, worker) != before
    assert timer_is_armed(machines, worker)
    run = play(cluster).must_succeed()
    assert rules(machines, worker) == before
    assert not timer_is_armed(machines, worker)
    assert run.output.count("changed=0") == len(cluster.groups["all"]) - 1


def test_a_source_that_is_no_name_is_refused_before_anything_changes(
    cluster: Cluster, machines: Machines, worker: str
) -> None:
    before = rules(machines, worker)
    run = play(cluster, firewall_ssh_sources=["nowhere.invalid"])
    assert run.status != 0
    text = " ".join(run.output.split())
    assert "nowhere.invalid" in text
    assert "Nothing was changed" in text
    assert rules(machines, worker) == before


def test_another_firewall_is_refused(cluster: Cluster, machines: Machines, worker: str) -> None:
    machines.shell(worker, "mkdir -p /etc/ufw && echo ENABLED=yes >/etc/ufw/ufw.conf")
    try:
        run = play(cluster, book="site.yml")
        assert run.status != 0
        text = " ".join(run.output.split())
        assert "ufw is active" in text
        assert "firewall_enabled: false" in text
    finally:
        machines.run(worker, "rm", "-r", "/etc/ufw")


# --- More hosts, and none ---------------------------------------------------------------------------------------------
@pytest.mark.long
def test_an_added_host_is_let_in_where_it_connects_to(
    cluster: Cluster, machines: Machines, control: str, worker: str
) -> None:
    """A worker that the control node does not know: its address is taken out of the sets first."""
    address = str(ip_address(cluster.address(worker)))
    before = rules(machines, control)
    text = machines.run(control, "cat", "/etc/airflow-firewall.nft")
    changed = text.replace(f" elements = {{ {address} }};", "").replace(f", {address}", "").replace(f"{address}, ", "")
    assert changed != text
    machines.shell(
        control, f"cat >/etc/airflow-firewall.nft <<'EOF'\n{changed}\nEOF\nsystemctl reload airflow-firewall"
    )
    assert scan(machines, worker, cluster.address(control), 6379, 6380) == {"open": [], "refused": []}

    run = play(cluster, "--limit", worker, "--flush-cache", book="site.yml").must_succeed()
    assert f"[{worker} -> {control}" in run.output
    assert rules(machines, control) == before
    assert scan(machines, worker, cluster.address(control), 6379, 6380) == {"open": [6379], "refused": []}
    assert not timer_is_armed(machines, control)


def test_switched_off_it_is_gone_and_the_rest_stays(cluster: Cluster, machines: Machines, worker: str) -> None:
    before = rules(machines, worker)
    machines.run(worker, "nft", "add", "table", "inet", "fault")
    try:
        play(cluster, firewall_enabled=False).must_succeed()
        for name in cluster.groups["all"]:
            assert rules(machines, name) == ""
            found = machines.shell(name, "ls -d /etc/airflow-firewall* /etc/systemd/system/airflow-firewall* || true")
            assert found == ""
        assert "fault" in machines.run(worker, "nft", "list", "tables")
        run = play(cluster, firewall_enabled=False).must_succeed()
        assert run.output.count("changed=0") == len(cluster.groups["all"])
    finally:
        machines.run(worker, "nft", "delete", "table", "inet", "fault")
        play(cluster).must_succeed()
    assert rules(machines, worker) == before
