"""What the operations on workers refuse before they touch a machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Draft, Play

NAMED = ("-e", "cluster_worker=worker2")


@pytest.mark.parametrize(
    ("book", "options", "pieces"),
    [
        ("drain_worker.yml", (), ("no worker is named", "-e cluster_worker=NAME", "worker1, worker2, worker3")),
        ("drain_worker.yml", (*NAMED, "-e", "cluster_forse=yes"), ("cluster_forse = 'yes'", "use -e cluster_force=")),
        ("drain_worker.yml", ("-e", "worker=worker2"), ("command line: worker", "use -e cluster_worker=")),
        (
            "drain_worker.yml",
            ("-e", "cluster_worker=control1"),
            ("control1 is neither a worker nor a group of workers",),
        ),
        ("drain_worker.yml", (*NAMED, "--limit", "worker2"), ("run it without --limit",)),
        (
            "drain_worker.yml",
            (*NAMED, "-e", "cluster_drain_timeout=1h"),
            ("cluster_drain_timeout=1h", "Expected: seconds"),
        ),
        ("undrain_worker.yml", (), ("no worker is named",)),
        (
            "undrain_worker.yml",
            ("-e", "cluster_worker=worker9"),
            ("worker9 is neither a worker nor a group of workers",),
        ),
        ("remove_worker.yml", (), ("no worker is named",)),
        ("remove_worker.yml", ("-e", "cluster_worker=airflow_worker"), ("no worker would be left",)),
        ("remove_worker.yml", ("-e", "cluster_worker=worker1,worker2,worker3"), ("no worker would be left",)),
        (
            "remove_worker.yml",
            (*NAMED, "-e", "cluster_machine=off"),
            ("cluster_machine=off", "Expected: cluster_machine=dead"),
        ),
        ("remove_worker.yml", (*NAMED, "--limit", "worker2"), ("run it without --limit",)),
        ("patch.yml", ("-e", "cluster_updates=dist"), ("cluster_updates=dist", "Expected: security or full")),
        ("patch.yml", ("-e", "cluster_reboot=yes"), ("cluster_reboot=yes", "Expected: auto, always or never")),
        ("patch.yml", ("-e", "cluster_batch=200%"), ("cluster_batch=200%", "as 2 or 25%")),
        ("patch.yml", ("-e", "cluster_batch=0"), ("cluster_batch=0", "Expected: how many workers")),
        ("patch.yml", ("-e", "cluster_drain_timeout=-1"), ("cluster_drain_timeout=-1",)),
    ],
)
def test_bad_parameters_are_refused(
    play: Play, sound: Callable[[], Draft], tmp_path: Path, book: str, options: tuple[str, ...], pieces: tuple[str, ...]
) -> None:
    run = play(book, sound().write(tmp_path / "inventory"), *options)
    assert run.status != 0
    said = " ".join(
        [run.refusal, *(str(item.get("msg", "")) for result in run.results for item in result.get("results", ()))]
    )
    assert "Nothing was touched" in said or "No machine was touched" in said
    for piece in pieces:
        assert piece in said
    assert not any(result.get("unreachable") for result in run.results)
