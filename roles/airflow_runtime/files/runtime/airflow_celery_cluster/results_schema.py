"""Print the tables of Celery's result backend, and the statements that create what is missing of them.

The trigger that wakes the schedulers is part of the tables (see ``scheduler_wake``). A worker's login to the results
database may create nothing, so the deployment executes the statements as the owner of the database. Prints one JSON
object: ``{"tables": ["celery_taskmeta", "notify_airflow_scheduler"], "statements": ["CREATE TABLE ..."]}``.
"""

from __future__ import annotations

import json

from airflow_celery_cluster.scheduler_wake import RESULTS_STATEMENTS, TRIGGER


def results_schema() -> dict[str, list[str]]:
    """Return the names of the tables and triggers, and the statements, in the dialect of PostgreSQL."""
    # The models register themselves on import.
    import celery.backends.database.models  # noqa: F401
    from celery.backends.database.session import ResultModelBase
    from sqlalchemy import Sequence
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateIndex, CreateSequence, CreateTable

    tables = ResultModelBase.metadata.sorted_tables
    elements: list[CreateIndex | CreateSequence | CreateTable] = []
    for table in tables:
        elements += [
            CreateSequence(column.default, if_not_exists=True)
            for column in table.columns
            if isinstance(column.default, Sequence)
        ]
        elements.append(CreateTable(table, if_not_exists=True))
        elements += [CreateIndex(index, if_not_exists=True) for index in table.indexes]
    dialect = postgresql.dialect()
    return {
        "tables": [*(table.name for table in tables), TRIGGER],
        "statements": [*(str(element.compile(dialect=dialect)).strip() for element in elements), *RESULTS_STATEMENTS],
    }


if __name__ == "__main__":
    print(json.dumps(results_schema()))
