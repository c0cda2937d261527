"""Remove what is old from the metadata and the results database.

The metadata is the business of Airflow's own ``airflow db clean``: runs and tasks that began before a moment, the audit
log, XComs and the rest. The last scheduled run of each DAG stays, or it would be made again. Nothing is archived in the
database: that is what backups are for.

Celery's results are read by a scheduler within seconds, and nobody else removes them: Celery would need a process of
its own for that (``beat``).
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta

# So many rows at a time, so that nobody waits long for a lock.
BATCH = 10_000
# A result that no scheduler has read for so long never will be.
RESULTS_DAYS = 7


def clean_metadata(before: datetime) -> None:
    """Remove what is older from the metadata. Raises RuntimeError when a table could not be cleaned."""
    from airflow.cli.cli_parser import get_parser

    parsed = get_parser().parse_args(
        [
            *("db", "clean", "--clean-before-timestamp", before.isoformat(), "--yes", "--skip-archive"),
            *("--batch-size", str(BATCH), "--error-on-cleanup-failure"),
        ]
    )
    parsed.func(parsed)


def clean_results(url: str, before: datetime) -> int:
    """Remove what is older from the results database; return how many results that were."""
    # The models register themselves on import.
    import celery.backends.database.models  # noqa: F401
    from celery.backends.database.session import ResultModelBase
    from sqlalchemy import create_engine, delete

    removed = 0
    with create_engine(url.removeprefix("db+")).begin() as connection:
        for table in ResultModelBase.metadata.sorted_tables:
            # Celery writes UTC without saying so.
            removed += connection.execute(delete(table).where(table.c.date_done < before.replace(tzinfo=None))).rowcount
    return removed


def main() -> None:
    """Clean both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, required=True, help="age in days of what is removed from the metadata")
    arguments = parser.parse_args()
    now = datetime.now(UTC)
    removed = clean_results(os.environ["AIRFLOW__CELERY__RESULT_BACKEND"], now - timedelta(days=RESULTS_DAYS))
    print(f"Celery: removed {removed} results older than {RESULTS_DAYS} days", file=sys.stderr)
    clean_metadata(now - timedelta(days=arguments.days))


if __name__ == "__main__":
    main()
