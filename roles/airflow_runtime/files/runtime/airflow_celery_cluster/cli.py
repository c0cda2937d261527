"""Airflow's command line, with nothing but a command's own output on standard output.

Logs and warnings go to standard error: Airflow writes them to standard output, also those of the modules that a command
imports, where they spoil ``-o json``. With ``-o json`` and ``-o yaml``, so does everything else that is not part of the
document: a command that finds nothing says so in words, and the document is an empty list.

``dags list`` lists the DAGs that UI and REST API list: in the database there are also those whose file is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
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


def wants_document(arguments: list[str]) -> bool:
    """Whether the output is to be JSON or YAML. What else the arguments mean is Airflow's business."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("-o", "--output", default="")
    try:
        return parser.parse_known_args(arguments)[0].output in ("json", "yaml")
    except argparse.ArgumentError:
        return False


@contextlib.contextmanager
def document_alone() -> Iterator[None]:
    """Let nothing through to standard output but the document that a command prints; an empty list for none."""
    stdout = sys.stdout
    if not stdout.isatty():
        # Otherwise a terminal at standard error would have the document coloured.
        os.environ["TERM"] = "dumb"
    from airflow.cli.simple_table import AirflowConsole

    print_as = AirflowConsole.print_as
    printed = False

    def print_to_stdout(*args: Any, **kwargs: Any) -> None:
        nonlocal printed
        printed = True
        with contextlib.redirect_stdout(stdout):
            print_as(*args, **kwargs)

    AirflowConsole.print_as = print_to_stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield
    if not printed:
        print("[]", file=stdout)


def main() -> None:
    """Run one command."""
    log_to_stderr()
    if sys.argv[1:3] == ["dags", "list"]:
        list_no_removed_dags()
    from airflow.__main__ import main as airflow

    with document_alone() if wants_document(sys.argv[1:]) else contextlib.nullcontext():
        airflow()


if __name__ == "__main__":
    main()
