"""Airflow's command line, with nothing but a command's own output on standard output.

Logs and warnings go to standard error: Airflow writes them to standard output, also those of the modules that a command
imports, where they spoil ``-o json``. ``dags list`` lists the DAGs that UI and REST API list: in the database there are
also those whose file is gone.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any


def log_to_stderr() -> None:
    """Configure Airflow's logging, by importing Airflow, with standard error in place of standard output."""
    with contextlib.redirect_stdout(sys.stderr):
        import airflow.settings  # noqa: F401
        import structlog

        factory = structlog.get_config()["logger_factory"]
        # Loggers that are not bound yet ask the factory where to write.
        if hasattr(factory, "io"):
            factory.io = sys.stderr


def list_no_removed_dags() -> None:
    """Leave out of what ``dags list`` reads the DAGs that the DAG processor no longer finds."""
    from airflow.models.dag import DagModel
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import select

    read_all = SerializedDagModel.read_all_dags

    def read_present(*, session: Any) -> dict[str, Any]:
        present = set(session.scalars(select(DagModel.dag_id).where(~DagModel.is_stale)))
        return {name: dag for name, dag in read_all(session=session).items() if name in present}

    SerializedDagModel.read_all_dags = read_present


def main() -> None:
    """Run one command."""
    log_to_stderr()
    if sys.argv[1:3] == ["dags", "list"]:
        list_no_removed_dags()
    from airflow.__main__ import main as airflow

    airflow()


if __name__ == "__main__":
    main()
