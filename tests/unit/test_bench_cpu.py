"""CPU time of machines and units, as the benchmark reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench import cpu, cpu_probe, shapes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\n", 2.5),
        ("130986492443\n", 130.986492443),
    ],
)
def test_cpu_time_of_both_versions_of_control_groups(text: str, seconds: float) -> None:
    assert cpu.parse(text) == pytest.approx(seconds)


def test_a_machine_without_cpu_time_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no CPU time"):
        cpu.parse("nr_periods 0\nnr_throttled 0\n")


def test_cpu_of_parts_and_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {"control1": 10.0, "worker1": 1.0, "worker2": 2.0}
    now = [100.0]

    class Machines:
        """Machines that use one second of CPU in ten on each core."""

        def run(self, name: str, *command: str) -> str:
            assert command == ("python3", "-c", cpu.PROBE)
            machine = f"usage_usec {int((used[name] + now[0] / 10) * 1e6)}\n"
            # The second unit is new at the end.
            units = {"haproxy": now[0] / 20} | ({"rsyslog": 3.0} if now[0] > 100 else {})
            return json.dumps({"machine": machine, "units": units})

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(cpu.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(cpu.time, "sleep", sleep)
    meter = cpu.CpuMeter(Machines(), {"control": ["control1"], "workers": ["worker1", "worker2"]})  # type: ignore[arg-type]
    assert meter.read() == (
        100.0,
        {"control": 20.0, "control/haproxy": 5.0, "workers": 23.0, "workers/haproxy": 10.0},
    )
    assert meter.rate(60) == {
        "control": pytest.approx(0.1),
        "control/haproxy": pytest.approx(0.05),
        "control/rsyslog": pytest.approx(0.05),
        "workers": pytest.approx(0.2),
        "workers/haproxy": pytest.approx(0.1),
        "workers/rsyslog": pytest.approx(0.1),
    }


def test_cpu_time_of_units_includes_processes_that_ended(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    for pid, group, times in (
        (7, "0::/libpod/system.slice/haproxy.service\n", (1, 2, 3, 4)),
        (8, "9:name=systemd:/system.slice/haproxy.service/part\n0::/other\n", (1, 0, 0, 0)),
        (9, "0::/user.slice/user-0.slice/user@0.service/app.slice/pipe.service\n", (5, 0, 0, 0)),
        (10, "0::/init.scope\n", (9, 9, 9, 9)),
        (12, "0::/system.slice/ssh.service\n", (1, 1, 9, 9)),  # logins of a deployment have ended
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(group)
        stat = f"{pid} (a) name (x) S {' '.join('0' * 10)} {' '.join(str(one * ticks) for one in times)} 20 0\n"
        (tmp_path / str(pid) / "stat").write_text(stat)
    (tmp_path / "11").mkdir()  # ended meanwhile
    (tmp_path / "uptime").write_text("1 1\n")
    assert cpu_probe.units(tmp_path) == {"haproxy": 11.0, "pipe": 5.0}


def test_the_probe_answers_what_the_meter_reads() -> None:
    done = subprocess.run([sys.executable, "-c", cpu.PROBE], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer.keys() == {"machine", "units"}


def test_idle_use_is_subtracted_and_never_more_than_there_was() -> None:
    before, after = {"control": 10.0, "workers": 5.0}, {"control": 20.0, "workers": 5.5}
    idle = {"control": 0.2, "workers": 0.1}
    assert shapes.net_cpu(before, after, idle, 10) == {"control": 8.0, "workers": 0.0}


def test_a_unit_that_was_not_there_before_has_used_all_it_has() -> None:
    assert shapes.net_cpu({"control": 1.0}, {"control": 2.0, "control/rsyslog": 0.5}, {}, 10) == {
        "control": 1.0,
        "control/rsyslog": 0.5,
    }
