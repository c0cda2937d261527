"""The invariants of the fault harness find what they are there to find."""

from __future__ import annotations

import json
from typing import Any

import pytest
from faults import ledger, page
from faults.catalogue import BY_NAME, FAULTS, SHORT
from faults.harness import Result


def lines(task: str, attempt: int, host: str, *events: tuple[str, float], pid: int = 1) -> list[str]:
    """Return the ledger of one execution."""
    entry: dict[str, Any] = {"task": task, "try": attempt, "host": host, "pid": pid}
    return [json.dumps(entry | {"event": event, "monotonic": at, "time": 1000 + at}) for event, at in events]


DEAD = lines("load[0]", 1, "worker1", ("begin", 10), ("beat", 11), ("beat", 12), pid=7)
RETRY = lines("load[0]", 2, "worker2", ("begin", 30), ("beat", 31), ("end", 32), pid=8)
EARLY = lines("load[0]", 2, "worker2", ("begin", 11.5), ("beat", 13), ("end", 14), pid=8)
WELL = lines("load[1]", 1, "worker2", ("begin", 10), ("end", 20), pid=9)


def test_a_task_that_moved_is_neither_lost_nor_run_twice_at_once() -> None:
    found = ledger.read(DEAD + RETRY + WELL)
    assert ledger.overlapping(found) == []
    assert ledger.lost(found, ["load[0]", "load[1]"]) == []
    assert [one.host for one in ledger.interrupted(found)] == ["worker1"]
    assert ledger.recovery_times(found, since=12.5) == [17.5]


def test_the_log_of_an_execution_has_every_line_up_to_its_end_or_two_seconds_before_its_cut() -> None:
    dead, retry = ledger.read([*DEAD, *RETRY])
    assert ledger.signs_in_log("\n".join(["[base] Started", *DEAD, DEAD[-1][:30]])) == [10, 11, 12]
    assert ledger.missing_signs(dead, [10]) == []
    assert ledger.missing_signs(dead, []) == [10]
    assert ledger.missing_signs(retry, [30, 31, 32]) == []
    assert ledger.missing_signs(retry, [30, 32]) == [31]
    assert ledger.missing_signs(retry, [30, 31]) == [32]


def test_two_executions_at_once_are_found() -> None:
    pairs = ledger.overlapping(ledger.read(DEAD + EARLY + WELL))
    assert [(first.host, second.host) for first, second in pairs] == [("worker1", "worker2")]


def test_a_frozen_execution_that_goes_on_is_found() -> None:
    thawed = DEAD + lines("load[0]", 1, "worker1", ("beat", 35), ("beat", 35.1), pid=7)
    found = ledger.read(thawed + lines("load[0]", 2, "worker2", *((("beat"), 30 + 0.5 * n) for n in range(21)), pid=8))
    assert len(ledger.overlapping(found)) == 1


def test_a_frozen_execution_that_woke_and_was_ended_is_told_apart() -> None:
    thawed = DEAD + lines("load[0]", 1, "worker1", ("beat", 35), pid=7)
    found = ledger.read(thawed + lines("load[0]", 2, "worker2", *((("beat"), 30 + 0.5 * n) for n in range(21)), pid=8))
    assert ledger.overlapping(found) == []
    assert [one.host for one in ledger.woken(found)] == ["worker1"]
    assert ledger.woken(ledger.read(DEAD + RETRY)) == []


def test_a_task_that_wakes_up_to_its_end_was_interrupted_all_the_same() -> None:
    retry = lines("load[0]", 2, "worker2", ("begin", 30), ("beat", 31), ("end", 32), pid=8)
    found = ledger.read(DEAD + lines("load[0]", 1, "worker1", ("end", 60), pid=7) + retry)
    assert ledger.overlapping(found) == []
    assert [one.host for one in ledger.interrupted(found)] == ["worker1"]
    assert [one.host for one in ledger.woken(found)] == ["worker1"]
    assert ledger.recovery_times(found, since=15) == [15]
    assert ledger.lost(found, ["load[0]"]) == []


def test_other_tasks_may_run_at_the_same_time() -> None:
    assert ledger.overlapping(ledger.read(WELL + RETRY + EARLY[:0])) == []


def test_a_lost_task_is_found() -> None:
    assert ledger.lost(ledger.read(DEAD + WELL), ["load[0]", "load[1]", "load[2]"]) == ["load[0]", "load[2]"]


def test_the_clock_can_be_chosen() -> None:
    assert ledger.read(WELL, clock="time")[0].begin == 1010


def test_half_a_line_is_skipped() -> None:
    assert len(ledger.read([*WELL, RETRY[0][:20]])) == 1


def test_the_same_try_in_another_process_is_another_execution() -> None:
    again = lines("load[0]", 1, "worker1", ("begin", 11), ("end", 12.5), pid=70)
    assert len(ledger.overlapping(ledger.read(DEAD + again))) == 1


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (1.0, 100)])
def test_percentiles_are_values_that_were_measured(share: float, expected: float) -> None:
    assert page.percentile([float(value) for value in range(1, 101)], share) == expected
    assert page.percentile([7.0], share) == 7.0


def test_the_page_tells_what_went_wrong() -> None:
    good = Result("power-off", "2026-01-01", tasks=6, interrupted=2, recovery=[17.0, 18.0])
    bad = Result("power-off", "2026-01-02", tasks=6, lost=["load[3]"], problems=["load[3] never came to its end"])
    text = page.text([good, bad])
    assert "(`power-off`) | 2 | 12 | 2 | 1 | 0 | 0 | 17.5 s | 18.0 s | 1 |" in text
    assert "- `power-off` (2026-01-02): load[3] never came to its end" in text


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(FAULTS)
    assert set(BY_NAME) >= SHORT
