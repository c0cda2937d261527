"""The filter of the log stores. It is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def log_copies(stores: Mapping[str, Iterable[str]]) -> dict[str, dict[str, list[str]]]:
    """Return which files each log store gives and which it gets."""
    sizes: dict[str, dict[str, int]] = {}
    settled: dict[str, tuple[int, str]] = {}
    for host, lines in stores.items():
        own = sizes.setdefault(host, {})
        for line in lines:
            state, size, path = line.split("\t", 2)
            own[path] = int(size)
            # Of several settled files of a path, the largest one; of equal ones, that of the first host.
            if state == "settled" and int(size) > settled.get(path, (-1, ""))[0]:
                settled[path] = (int(size), host)
    copies: dict[str, dict[str, list[str]]] = {host: {"gives": [], "gets": []} for host in stores}
    for path, (largest, giver) in sorted(settled.items()):
        takers = [host for host, own in sizes.items() if own.get(path, -1) < largest]
        for host in takers:
            copies[host]["gets"].append(path)
        if takers:
            copies[giver]["gives"].append(path)
    return copies


class FilterModule:
    """The filter by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file."""
        return {"log_copies": log_copies}
