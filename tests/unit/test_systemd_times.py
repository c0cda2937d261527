"""What systemd prints of a moment is read in every locale."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.module_utils.systemd_times import seconds_of

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for pattern in ("plugins/**/*", "roles/*/files/**/*", "roles/*/tasks/*.yml", "roles/*/templates/*")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file() and path.suffix != ".pyc"
]
# Formats of strptime and strftime for names of weekdays and months, for noon, and for the locale's own form
OF_THE_LOCALE = re.compile(r"^(?=.*str[pf]time).*%[aAbBchpxX].*$", re.MULTILINE)


@pytest.mark.parametrize("weekday", ["Sun", "Paz", "dim."])
def test_a_timestamp_is_read_with_its_fraction_and_zone(weekday: str) -> None:
    assert seconds_of(f"{weekday} 2026-11-22 20:49:14.500000 UTC") == pytest.approx(1795380554.5)


@pytest.mark.parametrize("timestamp", ["", "n/a"])
def test_no_timestamp_is_no_time(timestamp: str) -> None:
    assert seconds_of(timestamp) is None


def test_no_format_of_a_time_depends_on_the_locale() -> None:
    assert len(SOURCES) > 200
    found = {path.relative_to(ROOT): OF_THE_LOCALE.findall(path.read_text(errors="replace")) for path in SOURCES}
    assert {path: lines for path, lines in found.items() if lines} == {}
