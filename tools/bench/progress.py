"""Lines that say what the benchmark does now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


def tell(text: str) -> None:
    """Print a line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say that a step begins, and how long it took."""
    tell(f"{text} ...")
    begun = time.monotonic()
    yield
    tell(f"{text}: {time.monotonic() - begun:.0f} s")
