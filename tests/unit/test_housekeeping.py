"""One table that cannot be cleaned does not stop the others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow_celery_cluster.housekeeping import KNOWN_CONSTRAINT, clean_each


class IntegrityError(Exception):
    """As SQLAlchemy raises it: with the driver's own error, which has PostgreSQL's diagnostics."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.orig = SimpleNamespace(diag=SimpleNamespace(constraint_name=constraint))


TABLES = ["dag", "dag_run", "log", "xcom"]


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (IntegrityError(KNOWN_CONSTRAINT), []),
        (IntegrityError("another_fkey"), ["dag_run"]),
        (RuntimeError("airflow db clean encountered errors"), ["dag_run"]),
    ],
    ids=["known", "another constraint", "another error"],
)
def test_the_other_tables_are_cleaned(error: Exception, failed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    cleaned = []

    def clean(table: str) -> None:
        if table == "dag_run":
            raise error
        cleaned.append(table)

    assert clean_each(TABLES, clean) == failed
    assert cleaned == ["dag", "log", "xcom"]
    said = capsys.readouterr().err
    assert ("WARNING: table dag_run was skipped" in said) == (not failed)
    assert ("Traceback" in said) == bool(failed)
