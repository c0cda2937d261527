"""Remove what is old from the metadata and the results database.

The metadata is the business of Airflow's own ``airflow db clean``: runs and tasks that began before a moment, the audit
log, XComs and the rest. The last scheduled run of each DAG stays, or it would be made again. Nothing is archived in the
database: that is what backups are for.

Tables are cleaned one by one: one that fails does not keep the others from being cleaned.

Celery's results are read by a scheduler within seconds, and nobody else removes them: Celery would need a process of
its own for that (``beat``).
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

# So many rows at a time, so that nobody waits long for a lock.
BATCH = 10_000
# Its action is RESTRICT, while the rows of `dag` take their versions along.
KNOWN_CONSTRAINT = "task_instance_dag_version_id_fkey"
# A result that no scheduler has read for so long never will be.
RESULTS_DAYS = 7


def clean_metadata(before: datetime) -> list[str]:
    """Remove what is older from the metadata; return the tables that could not be cleaned."""
    from airflow.utils.db_cleanup import config_dict, run_cleanup

    def clean(table: str) -> None:
        run_cleanup(
            clean_before_timestamp=before,
            table_names=[table],
            confirm=False,
            skip_archive=True,
            batch_size=BATCH,
            error_on_cleanup_failure=True,
        )

    return clean_each(config_dict, clean)


def clean_each(tables: Iterable[str], clean: Callable[[str], None]) -> list[str]:
    """Clean each table, whatever becomes of the others; return those that failed for an unknown reason."""
    failed = []
    for table in tables:
        try:
            clean(table)
        except Exception as error:
            if is_still_referenced(error):
                print(
                    f"WARNING: table {table} was skipped: task instances still refer to old DAG versions. The last run "
                    "of a removed DAG is kept; to remove its rows, delete that DAG in the UI.",
                    file=sys.stderr,
                )
            else:
                traceback.print_exc()
                failed.append(table)
    return failed


def is_still_referenced(error: Exception) -> bool:
    """Return whether a row could not be removed because a task instance refers to its DAG version.

    https://github.com/apache/airflow/issues/71864
    """
    diagnostics = getattr(getattr(error, "orig", None), "diag", None)
    return getattr(diagnostics, "constraint_name", None) == KNOWN_CONSTRAINT


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
    """Clean both; the status is 1 if something could not be cleaned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, required=True, help="age in days of what is removed from the metadata")
    arguments = parser.parse_args()
    now = datetime.now(UTC)
    failed = []
    try:
        removed = clean_results(os.environ["AIRFLOW__CELERY__RESULT_BACKEND"], now - timedelta(days=RESULTS_DAYS))
        print(f"Celery: removed {removed} results older than {RESULTS_DAYS} days", file=sys.stderr)
    except Exception:
        traceback.print_exc()
        failed.append("results of Celery")
    failed += clean_metadata(now - timedelta(days=arguments.days))
    if failed:
        sys.exit(f"not cleaned: {', '.join(failed)}; the reasons are above")


if __name__ == "__main__":
    main()
