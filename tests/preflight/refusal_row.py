"""One way to break a sound inventory, and what the preflight says of it. test_refusals.py provokes all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .conftest import Draft


@dataclass(frozen=True)
class Row:
    """One way to break an inventory.

    :param batch: rows with the same one share a run.
    :param pieces: what one finding must contain: host or group, variable, value, expectation, remedy.
    """

    batch: str
    name: str
    change: Callable[[Draft], Any]
    pieces: tuple[str, ...]


ALL = "hosts control1, worker1, worker2, worker3: "
SECRET_VALUES = ("hunter22", "bm90IDMyIGJ5dGVz", "another-one-of-worker1")
