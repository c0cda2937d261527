"""The table and the page of the benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench import report, results, stock


def measured(tasks: int, seconds: float, control: float = 1.0, workers: float = 2.0) -> dict[str, Any]:
    """Return a measurement as the file of the results has it."""
    return {"tasks": tasks, "seconds": seconds, "cpu": {"control": control, "workers": workers}}


def sides() -> dict[str, Any]:
    """Return the figures of tasks for two sides."""
    return {
        "ours": {
            "slots": 8,
            "idle": [],
            "shapes": {
                "quick": [measured(200, 20), measured(200, 40), measured(200, 25, 10, 20)],
                "chain": [measured(20, 4)],
            },
        },
        "stock8": {
            "slots": 8,
            "idle": [],
            "shapes": {"quick": [measured(200, 50, 20, 20)], "chain": [measured(20, 20)]},
        },
        "stock32": {"slots": 32, "idle": [], "shapes": {"quick": [measured(200, 25)]}},
    }


def test_ratios_are_of_medians() -> None:
    rows = [str(row) for row in report.task_rows(sides())]
    assert rows[:3] == [
        "| 200 mapped no-op tasks, 8 slots against 8 | 8 tasks/s | 4 tasks/s | 2.00 | ≥ 2 (met) |",
        "| 20 dependent no-op tasks, time per task, 8 slots against 8 | 0.2 s | 1 s | 0.20 | ≤ 0.3 (met) |",
        "| 200 mapped no-op tasks, 8 slots against 32 | 8 tasks/s | 8 tasks/s | 1.00 | ≥ 1.3 (missed) |",
    ]
    assert rows[3].startswith("| CPU per task of 200 mapped no-op tasks, control node | 5 ms | 100 ms | 0.05 |")
    assert len(rows) == 5


def test_a_run_that_ended_early_gives_the_rows_that_it_has() -> None:
    figures = sides()
    del figures["stock32"]
    assert len(list(report.task_rows(figures))) == 4
    del figures["stock8"]
    assert list(report.task_rows(figures)) == []
    assert list(report.task_rows({})) == list(report.idle_rows({})) == list(report.deploy_rows({})) == []


def test_cpu_time_of_components_is_compared_with_equal_slots() -> None:
    figures = sides()
    assert report.component_table({}) == ""
    units = {"control/airflow-execution-api@8091": 2.0, "control/airflow-api-server@8081": 1.0, "control/cron": 4.0}
    figures["ours"]["shapes"]["quick"] = [
        {"tasks": 100, "seconds": 1, "cpu": {"control": 9.0, "workers": 5.0, **units}},
        {"tasks": 100, "seconds": 1, "cpu": {"control": 7.0, "workers": 5.0, "workers/airflow-worker": 5.0}},
        {"tasks": 200, "seconds": 1, "cpu": {"control": 18.0, "workers": 10.0, **units}},
    ]
    figures["ours"]["idle"] = [{"control": 0.3, "workers": 0.0, "control/haproxy": 0.002}]
    stock = {"control": 4.0, "workers": 0.0, "control/acc-bench-api-server": 4.0}
    figures["stock8"]["shapes"]["quick"] = [{"tasks": 100, "seconds": 1, "cpu": stock}]
    figures["stock8"]["idle"] = [{"control": 0.1, "workers": 0.0, "control/redis-server": 0.00001}]
    assert report.component_table(figures).splitlines()[2:] == [
        "| control node, API servers | 15.0 ms | 40.0 ms | 0.0 ms | 0.0 ms |",
        "| control node, HAProxy | 0.0 ms | 0.0 ms | 2.0 ms | 0.0 ms |",
        "| control node, other | 20.0 ms | 0.0 ms | 0.0 ms | 0.0 ms |",
        "| control node, all | 90.0 ms | 40.0 ms | 300.0 ms | 100.0 ms |",
        "| workers, all | 50.0 ms | 0.0 ms | 0.0 ms | 0.0 ms |",
    ]
    assert report.table({"tasks": {"figures": figures}}).endswith(report.component_table(figures))
    del figures["stock8"]
    assert report.component_table(figures) == ""


def test_every_process_of_stock_airflow_is_a_component() -> None:
    units = [f"{stock.NAME}-{name}" for name in (*stock.CONTROL_UNITS, "redis", "worker")]
    found = report.by_component({f"control/{unit}": 1.0 for unit in units})
    assert {component for _, component in found} == {
        *("scheduler", "API servers", "DAG processor", "triggerer", "worker", "Redis"),
    }


def test_the_other_figures() -> None:
    idle = {"ours": {"control": 0.2}, "stock8": {"control": 0.1}}
    assert [str(row) for row in report.idle_rows(idle)] == [
        "| idle cluster, control node | 20 % of a core | 10 % of a core | 2.00 | not more than before |"
    ]
    beats = {"ours": {"per_second": 600.0}, "stock8": {"per_second": 200.0}}
    assert [str(row) for row in report.heartbeat_rows(beats)] == [
        "| heartbeats of one Execution API process | 600 /s | 200 /s | 3.00 | ours ≥ 500 (met) |"
    ]
    deployments = {
        "fresh": 151.0,
        "second": 29.0,
        "tasks": {"worker1": 56, "control1": 216},
        "added": {
            "2": {"seconds": 50.0, "hosts": ["worker3"]},
            "50": {"seconds": 54.0, "hosts": ["worker3", "worker51"]},
        },
        "placed": {"3": {"ours": 30.0, "pip": 100.0}},
    }
    assert [str(row) for row in report.deploy_rows(deployments)] == [
        "| fresh `site.yml`, 1 + 2 hosts | 151 s | - | - | ours ≤ 150 (missed) |",
        "| `site.yml` again, nothing to change, 1 + 2 hosts | 29 s | - | - | ours ≤ 30 (met) |",
        "| tasks of that run | 216 on control1, 56 on worker1 | - | - | - |",
        "| one worker added to 2 | 50 s, 0 other workers touched | - | - | - |",
        "| one worker added to 50 | 54 s, 1 other workers touched | - | - | - |",
        "| the same, to 50 / to 2 | - | - | 1.08 | ≥ 0.9, ≤ 1.1 (met) |",
        "| Airflow placed on 3 hosts, against `pip install` on each | 30 s | 100 s | 0.30 | ≤ 0.4 (met) |",
    ]


def test_the_page_gets_the_table_and_keeps_the_rest(tmp_path: Path) -> None:
    one = results.Results(tmp_path / "artifacts/bench.json")
    one.record("tasks", sides())
    one.record("idle", {"ours": {"control": 0.2}, "stock8": {"control": 0.1}})
    again = results.Results(tmp_path / "artifacts/bench.json")
    assert again.parts == one.parts
    before = report.PAGE.read_text()
    page = report.with_figures(before, again.parts)
    assert page.partition(report.BEGIN)[0] == before.partition(report.BEGIN)[0]
    assert "| 200 mapped no-op tasks, 8 slots against 8 |" in page
    assert "| idle cluster, control node |" in page
    assert page.count("Measured on ") == 1
    assert report.with_figures(page, again.parts) == page


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="were found"):
        report.with_figures("# Performance\n", {})
