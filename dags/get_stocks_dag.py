"""Fetch the price history of some stocks, for each ticker and each trading day.

Each task writes ``<dir>/<ticker>/<ticker>_<date>.csv`` on the disk of the
worker that ran it, and returns where, how many rows, and on which machine.

Settings, in section ``[stocks]`` of the Airflow configuration. In the
inventory they are ``airflow_config: {stocks: {source: yfinance, ...}}`` with
``airflow_config_extra_sections: [stocks]``; in an environment
``AIRFLOW__STOCKS__SOURCE`` and so on.

=========  ============================================================================
key        meaning
=========  ============================================================================
source     ``sample`` (default): prices of 2000-2013 from ``bokeh_sampledata``, needs no
           internet. ``yfinance``: Yahoo's prices, up to today.
tickers    comma separated; default ``AAPL,GOOG,IBM,MSFT``, which are those of ``sample``
start      first day, as 2013-02-04. The sample has a default, a short one;
           ``yfinance`` has none: catch-up runs every trading day from there to today.
end        last day; the sample ends on 2013-02-08 by default, ``yfinance`` never
days       calendar days of history in each file, default 30
dir        where the files go, default ``stocks`` in the home of the worker, which its sandbox lets it write
=========  ============================================================================
"""

from __future__ import annotations

import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import conf, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from stock_prices import SOURCES, MarketClosed, fetch, write

EXCHANGE_TIME = ZoneInfo("America/New_York")
SAMPLE_WEEK = {"start": "2013-02-04", "end": "2013-02-08"}


def setting(key: str, default: str = "") -> str:
    """Return a setting of section ``[stocks]``."""
    return conf.get("stocks", key, fallback="") or default


def day_setting(key: str) -> datetime | None:
    """Return midnight, at the exchange, of a day in the settings."""
    text = setting(key, SAMPLE_WEEK[key] if SOURCE == "sample" else "")
    return datetime.fromisoformat(text).replace(tzinfo=EXCHANGE_TIME) if text else None


SOURCE = setting("source", "sample")
if SOURCE not in SOURCES:
    raise ValueError(f"[stocks] source is {SOURCE!r}, expected one of {', '.join(sorted(SOURCES))}")
TICKERS = [ticker.strip() for ticker in setting("tickers", "AAPL,GOOG,IBM,MSFT").split(",")]
START = day_setting("start")
END = day_setting("end")
if START is None:
    raise ValueError("[stocks] start is not set; expected the first day to fetch, such as 2026-01-02")


@dag(
    # After the close of the exchange. Holidays, which cron does not know, are skipped by the task.
    schedule="0 18 * * 1-5",
    start_date=START,
    end_date=END and END + timedelta(hours=23),
    catchup=True,
    max_active_runs=2,
    max_active_tasks=2,
    # A task whose worker dies is only run again if it has a retry left.
    default_args={"retries": 3, "retry_delay": timedelta(seconds=20)},
    doc_md=__doc__,
    tags=["stocks"],
)
def get_stocks() -> None:
    """Fetch each ticker's history on every trading day."""

    @task(map_index_template="{{ task.op_kwargs['ticker'] }}")
    def fetch_history(ticker: str) -> dict[str, Any]:
        """Write one ticker's price history up to the day of this run."""
        context = get_current_context()
        # A run that somebody has triggered may have no logical date.
        day = (context.get("logical_date") or context["dag_run"].run_after).astimezone(EXCHANGE_TIME).date()
        try:
            prices = fetch(SOURCES[SOURCE](), ticker, day, int(setting("days", "30")))
        except MarketClosed as closed:
            raise AirflowSkipException(str(closed)) from closed
        directory = Path(setting("dir") or Path.home() / "stocks")
        path = write(directory, ticker, day, prices)
        return {"path": str(path), "rows": len(prices), "host": socket.gethostname()}

    fetch_history.expand(ticker=TICKERS)


get_stocks()
