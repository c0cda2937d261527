"""Where daily stock prices come from, and the files they are written to.

Nothing of Airflow is imported here: the DAG file stays a description of the
workflow, and these functions can be tested without one.
"""

from __future__ import annotations

import csv
import gzip
import importlib.resources
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Protocol


class MarketClosed(Exception):
    """The exchange was closed on the day that was asked for."""


@dataclass(frozen=True)
class DailyPrice:
    """One row of a price history."""

    date: date
    open: float
    high: float
    low: float
    close: float
    adj_close: float
    volume: int


class PriceSource(Protocol):
    """Something that knows the daily prices of a ticker."""

    def history(self, ticker: str, first: date, last: date) -> list[DailyPrice]:
        """Return the prices of the trading days in ``first..last``, both included, oldest first."""


class SampleData:
    """Real daily prices of 2000-03-01 to 2013-03-01, carried by the package ``bokeh_sampledata``.

    For machines without internet. The file is read directly, because the
    package's own loader would import all of pandas for a few rows.
    """

    def history(self, ticker: str, first: date, last: date) -> list[DailyPrice]:
        archive = importlib.resources.files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
        with archive.open("rb") as compressed, gzip.open(compressed, "rt", newline="") as text:
            rows = [
                DailyPrice(
                    date=day,
                    open=float(row["Open"]),
                    high=float(row["High"]),
                    low=float(row["Low"]),
                    close=float(row["Close"]),
                    adj_close=float(row["Adj Close"]),
                    volume=int(row["Volume"]),
                )
                for row in csv.DictReader(text)
                if row["Ticker"] == ticker and first <= (day := date.fromisoformat(row["Date"])) <= last
            ]
        return sorted(rows, key=lambda row: row.date)


class YFinance:
    """Yahoo's prices, through the package ``yfinance``. Needs the internet."""

    def history(self, ticker: str, first: date, last: date) -> list[DailyPrice]:
        import yfinance

        # Otherwise a lost connection would look like a ticker that has no prices.
        yfinance.config.debug.hide_exceptions = False
        frame = yfinance.Ticker(ticker).history(
            start=first.isoformat(),
            end=(last + timedelta(days=1)).isoformat(),  # yfinance leaves the last day out
            auto_adjust=False,
        )
        return [
            DailyPrice(
                date=timestamp.date(),
                open=float(row["Open"]),
                high=float(row["High"]),
                low=float(row["Low"]),
                close=float(row["Close"]),
                adj_close=float(row["Adj Close"]),
                volume=int(row["Volume"]),
            )
            for timestamp, row in frame.iterrows()
        ]


SOURCES: dict[str, type[PriceSource]] = {"sample": SampleData, "yfinance": YFinance}


def fetch(source: PriceSource, ticker: str, day: date, days: int) -> list[DailyPrice]:
    """Return the prices of the ``days`` calendar days that end with the trading day ``day``.

    Raises MarketClosed when ``day`` was no trading day, and LookupError when
    the source has nothing at all: that is a wrong ticker or a wrong period,
    and must not pass for a holiday.
    """
    first = day - timedelta(days=days - 1)
    prices = source.history(ticker, first, day)
    if not prices:
        raise LookupError(f"no prices of {ticker} between {first} and {day}")
    if prices[-1].date != day:
        raise MarketClosed(f"the exchange was closed on {day}; the last trading day was {prices[-1].date}")
    return prices


def write(directory: Path, ticker: str, day: date, prices: Iterable[DailyPrice]) -> Path:
    """Write ``<directory>/<ticker>/<ticker>_<day>.csv`` and return its path.

    The file appears complete or not at all, so that a task that is killed
    half-way leaves nothing that could be taken for a result.
    """
    path = directory / ticker / f"{ticker}_{day.isoformat()}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".csv.part")
    with unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(DailyPrice)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(price) for price in prices)
    unfinished.replace(path)
    return path
