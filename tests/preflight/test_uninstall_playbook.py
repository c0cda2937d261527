"""What uninstall.yml refuses before the first connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Draft, Play


@pytest.mark.parametrize(
    ("options", "pieces"),
    [
        ((), ("the cluster inventory from control1, worker1, worker2, worker3", "keep the data", "keep all packages")),
        (("-e", "cluster_uninstall_data=yes"), ("REMOVE THE DATA", "THE BACKUPS", "-e cluster_confirm=inventory")),
        (("--limit", "worker1"), ("the cluster inventory from worker1:",)),
        (("-e", "cluster_confirm=yes"), ("cluster_confirm=yes is not the name of this cluster",)),
        (
            ("-e", "cluster_confirm=inventory", "-e", "cluster_uninstall_dta=yes"),
            ("use -e cluster_uninstall_data=...",),
        ),
        (
            ("-e", "cluster_confirm=inventory", "-e", "cluster_uninstall_data=perhaps"),
            ("uninstall_data", "not a valid boolean"),
        ),
    ],
)
def test_nothing_is_removed_without_the_name_of_the_cluster(
    play: Play, sound: Callable[[], Draft], tmp_path: Path, options: tuple[str, ...], pieces: tuple[str, ...]
) -> None:
    run = play("uninstall.yml", sound().write(tmp_path / "inventory"), *options)
    assert run.status != 0
    for piece in pieces:
        assert piece in " ".join(run.output.split())
    assert not any(result.get("unreachable") for result in run.results)
