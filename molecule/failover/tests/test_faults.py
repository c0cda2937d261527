"""Some of the faults, once each; `make faults` runs all of them again and again."""

from __future__ import annotations

import pytest
from cluster_inventory import Cluster
from faults.catalogue import BY_NAME, SHORT
from faults.harness import run_fault

# Faults that end the executions that they hit; the others must not be noticed by any task.
INTERRUPTING = {"power-off", "freeze", "silent-drop-child", "drain-too-long"}


@pytest.mark.parametrize("name", sorted(SHORT))
def test_no_task_is_lost_and_none_runs_twice_at_once(cluster: Cluster, name: str) -> None:
    result = run_fault(cluster, BY_NAME[name])
    print(result.as_json())
    assert result.problems == []
    assert result.tasks > 0
    # A fault that nobody noticed was none: then the test would prove nothing.
    assert (result.interrupted > 0) == (name in INTERRUPTING), result.as_json()
    assert len(result.recovery) == result.interrupted
