"""The functions behind the DAG files, on real prices; no Airflow needed."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from stock_prices import DailyPrice, MarketClosed, fetch, write

DAGS = Path(__file__).resolve().parents[2] / "dags"


def price(day: str, close: float = 10.0) -> DailyPrice:
    """Return a price that nothing but its day and its close matters of."""
    return DailyPrice(date.fromisoformat(day), close, close, close, close, close, 100)


class Exchange:
    """A source that knows some days; remembers what it was asked for."""

    def __init__(self, *days: str) -> None:
        self.prices = [price(day) for day in days]
        self.asked: list[tuple[str, date, date]] = []

    def history(self, ticker: str, first: date, last: date) -> list[DailyPrice]:
        """Return the known days of the period."""
        self.asked.append((ticker, first, last))
        return [known for known in self.prices if first <= known.date <= last]


def test_fetch_returns_the_days_up_to_the_one_asked_for() -> None:
    source = Exchange("2013-01-31", "2013-02-01", "2013-02-04", "2013-02-05")
    found = fetch(source, "IBM", date(2013, 2, 4), days=4)
    assert [known.date for known in found] == [date(2013, 2, 1), date(2013, 2, 4)]
    assert source.asked == [("IBM", date(2013, 2, 1), date(2013, 2, 4))]


def test_a_holiday_is_told_from_missing_data() -> None:
    source = Exchange("2013-02-15", "2013-02-19")
    with pytest.raises(MarketClosed, match="closed on 2013-02-18; the last trading day was 2013-02-15"):
        fetch(source, "IBM", date(2013, 2, 18), days=30)
    with pytest.raises(LookupError, match="no prices of IBM between 2014-02-04 and 2014-02-05"):
        fetch(source, "IBM", date(2014, 2, 5), days=2)


def test_write_makes_one_file_per_ticker_and_day(tmp_path: Path) -> None:
    prices = [price("2013-02-01", 1.5), price("2013-02-04", 2.5)]
    path = write(tmp_path, "IBM", date(2013, 2, 4), prices)
    assert path == tmp_path / "IBM" / "IBM_2013-02-04.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["date"], row["close"]) for row in rows] == [("2013-02-01", "1.5"), ("2013-02-04", "2.5")]


def test_write_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path, "IBM", date(2013, 2, 4), [price("2013-02-04", 1.0)])
    before = path.read_text()

    def broken() -> Iterator[DailyPrice]:
        yield price("2013-02-04", 2.0)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, "IBM", date(2013, 2, 4), broken())
    assert path.read_text() == before
    assert not list(tmp_path.glob("**/*.csv"))[1:]


def test_library_of_the_dags_needs_no_airflow() -> None:
    tree = ast.parse((DAGS / "stock_prices.py").read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert "airflow" not in imported
    assert "stock_prices.py" in (DAGS / ".airflowignore").read_text().split()
