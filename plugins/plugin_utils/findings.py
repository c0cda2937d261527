"""Findings of the preflight: what is wrong, where, and how to fix it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

# How many hosts a line names before it counts the rest: a group variable of 300 workers is one mistake, not 300.
NAMED_HOSTS = 5
LONGEST_VALUE = 120
_LOGIN_IN_URL = re.compile(r"://[^/@\s'\"]+@")
_SECRET_NAME = re.compile(r"pass|secret|key|token|credential|auth|conn|dsn|kwargs|url|backend", re.IGNORECASE)


class Unset:
    """Stands for the value of something that has none."""

    def __repr__(self) -> str:
        return "not set"


UNSET = Unset()


@dataclass(frozen=True)
class Finding:
    """One problem that must be fixed.

    :param where: ``host worker1`` or ``group redis``.
    :param variable: what holds the wrong value: a variable, a group, a property of the machine.
    :param value: the wrong value, rendered; never that of a secret.
    :param expected: what would be right.
    :param remedy: how to get there.
    """

    where: str
    variable: str
    value: str
    expected: str
    remedy: str


def show(value: Any, secret: bool = False) -> str:
    """Return a value as a finding may print it."""
    if value is UNSET:
        return "not set"
    if secret:
        return "(hidden)"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    text = _LOGIN_IN_URL.sub("://(hidden)@", text)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def looks_secret(name: str) -> bool:
    """Return whether a variable of this name may hold a secret; for names that nothing else is known of."""
    return bool(_SECRET_NAME.search(str(name)))


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name that is spelt most like this one, or None if none is near."""
    found = get_close_matches(str(name), list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def _place(places: Sequence[str]) -> str:
    hosts = [place.removeprefix("host ") for place in places if place.startswith("host ")]
    others = [place for place in places if not place.startswith("host ")]
    if len(hosts) == 1:
        others.append(f"host {hosts[0]}")
    elif hosts:
        rest = f" and {len(hosts) - NAMED_HOSTS} more" if len(hosts) > NAMED_HOSTS else ""
        others.append(f"hosts {', '.join(hosts[:NAMED_HOSTS])}{rest}")
    return ", ".join(others)


def report(findings: Iterable[Finding], heading: str) -> str:
    """Return all findings as text, those that differ in nothing but the host as one."""
    merged: dict[tuple[str, str, str, str], list[str]] = {}
    for finding in findings:
        places = merged.setdefault((finding.variable, finding.value, finding.expected, finding.remedy), [])
        if finding.where not in places:
            places.append(finding.where)
    if not merged:
        return ""
    lines = [heading.format(count=len(merged), noun="finding" if len(merged) == 1 else "findings")]
    for number, ((variable, value, expected, remedy), places) in enumerate(merged.items(), 1):
        lines += [
            f"{number}. {_place(places)}: {variable} = {value}",
            f"   expected: {expected}",
            f"   fix: {remedy}",
        ]
    return "\n".join(lines)
