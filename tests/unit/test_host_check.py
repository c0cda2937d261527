"""What a machine is asked, with real sockets and files."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.airflow_celery.cluster.plugins.filter.preflight import machine_report
from ansible_collections.airflow_celery.cluster.plugins.module_utils import (
    host_examination,
    host_state,
    machine_checks,
    network_checks,
)
from ansible_collections.airflow_celery.cluster.plugins.modules import host_check

UBUNTU = 'ID=ubuntu\nVERSION_ID="13"\nPRETTY_NAME="Ubuntu 13"\n'
DEBIAN_13 = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n'
IN_A_CONTAINER = "/libpod_parent/libpod-29f4/system.slice/system-airflow.slice/airflow-api-server@8081.service"
WORKER = {"port": 8793, "variable": "airflow_worker_log_port", "units": ["airflow-worker.service"]}


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_supported_system_passes() -> None:
    assert machine_checks.check_system(DEBIAN_13, "x86_64", (3, 13, 5), True) == []
    assert machine_checks.check_system(DEBIAN_13.replace("13", "12"), "aarch64", (3, 11, 2), True) == []


@pytest.mark.parametrize(
    ("os_release", "machine", "python", "systemd", "variable", "value"),
    [
        (DEBIAN_13.replace("13", "11"), "x86_64", (3, 13), True, "operating system", "Debian GNU/Linux 11 (trixie)"),
        (
            'ID=ubuntu\nVERSION_ID="13"\nPRETTY_NAME="Ubuntu 13"\n',
            "x86_64",
            (3, 13),
            True,
            "operating system",
            "Ubuntu 13",
        ),
        ("", "x86_64", (3, 13), True, "operating system", "unknown"),
        (DEBIAN_13, "riscv64", (3, 13), True, "architecture", "riscv64"),
        (DEBIAN_13, "x86_64", (3, 9, 2), True, "Python", "3.9.2"),
        (DEBIAN_13, "x86_64", (3, 13), False, "init system", "not systemd"),
    ],
)
def test_an_unsupported_system_is_a_finding(
    os_release: str, machine: str, python: tuple[int, ...], systemd: bool, variable: str, value: str
) -> None:
    found = machine_checks.check_system(os_release, machine, python, systemd)
    assert [(item["variable"], item["value"]) for item in found] == [(variable, value)]


def test_memory_is_compared_with_the_least() -> None:
    meminfo = "MemTotal:        2048000 kB\nMemFree: 1 kB\n"
    assert machine_checks.check_memory(meminfo, 2000, "preflight_min_memory_mb") == []
    found = machine_checks.check_memory(meminfo, 2001, "preflight_min_memory_mb")
    assert found[0]["value"] == "2000 MB"
    assert "preflight_min_memory_mb" in found[0]["expected"]


def test_disk_space_is_told_once_for_each_file_system(tmp_path: Path) -> None:
    missing = str(tmp_path / "not" / "there" / "yet")
    assert machine_checks.check_disk([missing], 0) == []
    assert len(machine_checks.check_disk([missing, str(tmp_path)], 10**9)) == 1


@pytest.mark.parametrize(
    ("installed", "wanted", "refused"),
    [
        ("3.3.2", "3.3.2", False),
        ("3.3.2", "3.3.10", False),
        ("3.3.10", "3.3.2", True),
        ("3.3.0", "3.3", False),
        ("3.3.1rc1", "3.3.1", False),
        ("3.3.1", "3.3.1rc1", True),
        ("3.3.2", "", False),
    ],
)
def test_a_downgrade_is_a_finding(tmp_path: Path, installed: str, wanted: str, refused: bool) -> None:
    release = tmp_path / "release.json"
    assert machine_checks.check_downgrade(str(release), wanted) == []
    release.write_text(json.dumps({"id": "x", "airflow_version": installed}))
    found = machine_checks.check_downgrade(str(release), wanted)
    assert bool(found) == refused
    assert not found or installed in found[0]["expected"]


def test_a_port_of_the_loopback_addresses_is_not_reachable() -> None:
    sockets = []
    for family, address in (
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "127.3.2.1"),
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "::ffff:127.0.0.1"),
        (socket.AF_INET, "0.0.0.0"),
        (socket.AF_INET6, "::"),
    ):
        sockets.append(socket.create_server((address, 0), family=family, dualstack_ipv6=address.startswith("::f")))
    tables = [host_state.read("/proc/net/tcp"), host_state.read("/proc/net/tcp6")]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    assert set(ports) <= network_checks.listening_ports(tables)
    assert set(ports) & network_checks.listening_ports(tables, loopback=False) == set(ports[-2:])


def test_listening_ports_are_those_of_this_machine(listener: int, free_port: int) -> None:
    ports = network_checks.listening_ports([host_state.read("/proc/net/tcp"), host_state.read("/proc/net/tcp6")])
    assert listener in ports
    assert free_port not in ports


def test_holders_are_read_from_ss() -> None:
    sockets = (
        'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=65,fd=6)) cgroup:/x/system.slice/ssh.service\n'
        f"LISTEN 0 128 127.0.0.1:8081 0.0.0.0:* cgroup:{IN_A_CONTAINER} <-> cgroup:{IN_A_CONTAINER}\n"
        "LISTEN 0 128 [::]:9000 [::]:*\n"
    )
    assert network_checks.holders(sockets) == {
        22: [("/x/system.slice/ssh.service", "sshd (process 65)")],
        8081: [(IN_A_CONTAINER, "")],
        9000: [("", "")],
    }


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        (IN_A_CONTAINER, "airflow-api-server@8081.service"),
        ("/system.slice/airflow-worker.service/inner", "airflow-worker.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        ("/", "/"),
    ],
)
def test_the_unit_of_a_cgroup(cgroup: str, unit: str) -> None:
    assert network_checks.unit_of(cgroup) == unit


@pytest.mark.parametrize(
    ("held_by", "active", "ours"),
    [
        ([("/system.slice/airflow-worker.service", "")], False, True),
        ([("/system.slice/ssh.service", "sshd (process 65)")], True, False),
        ([("/system.slice/airflow-worker.service", ""), ("/user.slice/x.scope", "")], True, False),
        ([("", "")], True, True),  # the kernel does not say who, and our unit runs
        ([("", "")], False, False),
        ([], False, False),
    ],
)
def test_a_held_port_is_ours_or_a_finding(held_by: list[tuple[str, str]], active: bool, ours: bool) -> None:
    found, own = network_checks.check_ports([WORKER], {8793}, {8793: held_by}, lambda _: active)
    assert (own, len(found)) == (([8793], 0) if ours else ([], 1))
    assert network_checks.check_ports([WORKER], {8794}, {8793: held_by}, lambda _: active) == ([], [])


def test_a_foreign_holder_is_named() -> None:
    held_by = {8793: [("/system.slice/ssh.service", "sshd (process 65)")]}
    found, _ = network_checks.check_ports([WORKER], {8793}, held_by, lambda _: True)
    assert found[0]["value"] == "8793, held by ssh.service, sshd (process 65)"


def test_connections_are_ok_refused_or_out_of_reach(listener: int, free_port: int) -> None:
    assert network_checks.connect("127.0.0.1", listener, 2) == "ok"
    assert network_checks.connect("127.0.0.1", free_port, 2) == "refused"


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that drops what comes, as a firewall does: a listener with a full queue."""
    with socket.socket() as server, contextlib.ExitStack() as waiting:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port


def test_a_host_that_does_not_answer_is_out_of_reach() -> None:
    with silent_port() as port:
        assert network_checks.connect("127.0.0.1", port, 0.2) == "no answer within 0.2 s"


def test_silence_is_no_finding_yet_where_the_clusters_firewall_may_be_the_reason() -> None:
    with silent_port() as port:
        entry = {"address": "127.0.0.1", "port": port, "variable": "airflow_broker_url", "host": "control1"}
        found, _, silent = network_checks.check_network([entry | {"filtered": True}], [], 0.2)
        assert (found, silent) == ([], [entry | {"filtered": True}])
        found, _, silent = network_checks.check_network([entry | {"filtered": False}], [], 0.2)
        assert [item["variable"] for item in found] == ["airflow_broker_url"]
        assert silent == []


@pytest.mark.parametrize(
    ("ufw_conf", "firewalld", "values"),
    [
        ("", False, []),
        ("# /etc/ufw/ufw.conf\nENABLED=no\nLOGLEVEL=low\n", False, []),
        ("ENABLED=yes\n", False, ["ufw is active"]),
        ("", True, ["firewalld is active"]),
        ('ENABLED="yes"\n', True, ["ufw is active", "firewalld is active"]),
    ],
)
def test_another_firewall_is_a_finding(ufw_conf: str, firewalld: bool, values: list[str]) -> None:
    found = machine_checks.check_firewalls(ufw_conf, firewalld)
    assert [item["value"] for item in found] == values
    assert all("firewall_enabled: false" in item["remedy"] for item in found)


def test_the_network_check_tells_what_is_out_of_reach(listener: int, free_port: int) -> None:
    def endpoint(address: str, port: int) -> dict[str, Any]:
        return {"address": address, "port": port, "variable": "airflow_broker_url", "host": "control1"}

    dead = {"address": "worker9.invalid", "host": "worker9"}
    entries = [endpoint("127.0.0.1", listener), endpoint("127.0.0.1", free_port), endpoint("control1.invalid", 1)]
    found, refused, silent = network_checks.check_network(entries, [dead], 2)
    assert silent == []
    assert refused == [entries[1]]
    assert {(item["variable"], item["about"]) for item in found} == {
        ("airflow_address of control1", ""),
        ("airflow_address of worker9", "worker9"),
    }


@pytest.mark.parametrize(
    ("addresses", "reached", "refused"),
    [
        (["0.0.0.0"], "192.0.2.1", False),
        (["127.0.0.1"], "", False),
        (["127.0.0.1", "-::1", "-192.0.2.1"], "", False),
        (["192.0.2.1"], "", True),  # no address of this machine
        (["127.0.0.1"], "127.0.0.2", True),  # clients connect to another address of this machine
        (["127.0.0.2"], "127.0.0.2", False),
        (["127.0.0.1"], "192.0.2.1", False),  # address translation
        (["127.0.0.1"], "nowhere.invalid", False),  # a finding of check_network
        (["localhost"], "", False),
    ],
)
def test_a_service_listens_on_addresses_of_its_machine(addresses: list[str], reached: str, refused: bool) -> None:
    entry = {"variable": "redis_bind", "addresses": addresses, "reached": reached}
    found = network_checks.check_binds([entry])
    assert [item["variable"] for item in found] == (["redis_bind"] if refused else [])


def test_a_name_without_ipv4_is_a_finding() -> None:
    assert network_checks.resolve("127.0.0.1") is None
    assert network_checks.resolve("::1") == "no IPv4 address, ::1 only"


def test_another_python_is_a_finding() -> None:
    assert (
        machine_checks.check_interpreter(
            "/usr/bin/python3", ["", "/usr/lib/python3.11", "/usr/lib/python3/dist-packages"]
        )
        == []
    )
    found = machine_checks.check_interpreter(
        "/usr/local/bin/python3.12", ["", "/usr/local/lib/python3.12/site-packages"]
    )
    assert [item["value"] for item in found] == ["/usr/local/bin/python3.12"]
    assert "/usr/bin/python3" in found[0]["remedy"]


@pytest.mark.parametrize("login", [{}, {"LANG": "C"}, {"LC_ALL": "POSIX"}, {"LANG": "C.UTF-8"}], ids=str)
def test_a_locale_whose_encoding_python_takes_for_utf_8_passes(login: dict[str, str]) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "import sys; print(sys.getfilesystemencoding())"],
        env=login,
        capture_output=True,
        text=True,
        check=True,
    )
    assert machine_checks.check_locale(shown.stdout.strip(), login) == []


@pytest.mark.parametrize(
    ("login", "value"),
    [
        ({"LANG": "tr_TR"}, "LANG=tr_TR (encoding iso8859-9)"),
        ({"LANG": "C.UTF-8", "LC_CTYPE": "tr_TR"}, "LC_CTYPE=tr_TR (encoding iso8859-9)"),
        ({"LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8", "LC_ALL": "tr_TR"}, "LC_ALL=tr_TR (encoding iso8859-9)"),
        ({"LC_ALL": ""}, "encoding iso8859-9"),
    ],
)
def test_a_locale_with_another_encoding_is_a_finding(login: dict[str, str], value: str) -> None:
    found = machine_checks.check_locale("iso8859-9", login)
    assert [item["value"] for item in found] == [value]
    assert "/etc/default/locale" in found[0]["remedy"]


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (0, "", ""),
        (226, "", "226/NAMESPACE"),
        (1, "Failed to start transient service unit: Unknown assignment: X=1\n", "Unknown assignment"),
        (7, "", "status 7"),
    ],
)
def test_a_sandbox_that_systemd_cannot_make_is_a_finding(code: int, error: str, said: str) -> None:
    found = machine_checks.check_sandbox(code, error)
    assert bool(found) == bool(said)
    assert not said or said in found[0]["value"]


def test_the_module_names_no_syntax_that_an_old_python_lacks() -> None:
    # The module itself tells the owner of a machine with Python 3.9 what it lacks.
    for module in (host_check, host_examination, host_state, machine_checks, network_checks):
        ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 8))


# --- The report -------------------------------------------------------------------------------------------------------
def result(**parts: Any) -> dict[str, Any]:
    return {"machine": {"findings": [], "held": [], "refused": []} | parts}


def item(about: str = "") -> dict[str, str]:
    return {"variable": "memory", "value": "1 MB", "expected": "more", "remedy": "add some", "about": about}


def test_a_fit_machine_has_no_report() -> None:
    assert machine_report({"w1": result()}, "w1", "machine", ["w1"]) == ""


def test_a_report_names_the_host() -> None:
    text = machine_report({"w1": result(findings=[item()])}, "w1", "machine", ["w1"])
    assert text.startswith("Host w1 is refused, 1 finding.")
    assert "1. host w1: memory = 1 MB" in text


def test_what_is_about_a_dead_host_is_left_to_ansible() -> None:
    checks = {"w1": result(findings=[item(about="w2")])}
    assert machine_report(checks, "w1", "machine", ["w1"]) == ""
    assert machine_report(checks, "w1", "machine", ["w1", "w2"]) != ""


def test_a_check_that_could_not_run_is_a_finding() -> None:
    checks = {"w1": {"machine": {"failed": True, "msg": "python3:\nnot found"}}}
    text = machine_report(checks, "w1", "machine", ["w1"])
    assert "not run: python3: not found" in text
    assert "ansible_python_interpreter" in text


def test_a_refused_connection_is_a_finding_once_the_service_runs() -> None:
    entry = {"address": "10.0.0.1", "port": 6379, "variable": "airflow_broker_url", "host": "c1"}
    worker = result(refused=[entry])
    assert machine_report({"w1": worker, "c1": result()}, "w1", "machine", ["w1", "c1"]) == ""
    running = {"w1": worker, "c1": result(held=[6379])}
    assert "connection refused" in machine_report(running, "w1", "machine", ["w1", "c1"])
    assert machine_report(running, "w1", "machine", ["w1"]) == ""


def test_nothing_is_read_that_is_not_there() -> None:
    assert host_state.read("/nonexistent") == ""
    assert machine_checks.free_mb("/nonexistent/x")[0] == os.sep


def test_a_debian_package_that_the_lists_do_not_have_is_found() -> None:
    # A virtual package has no candidate, and can be installed.
    policy = "libmariadb3:\n  Installed: (none)\n  Candidate: 1:10.11\nawk:\n  Installed: (none)\n  Candidate: (none)\n"
    names = ["libmariadb3", "libmariadb3=1:10.11", "libmariadb3:amd64", "awk", "libmariadb33"]
    [found] = machine_checks.check_packages(
        [{"name": name, "variable": "airflow_runtime_packages"} for name in names], policy
    )
    assert (found["variable"], found["value"]) == ("airflow_runtime_packages", "libmariadb33")
