"""Bring the metadata and the results database to what this release expects.

Importing Airflow takes seconds, so the whole of it is one process instead of
one ``airflow`` command a step. Each step first asks the database whether there
is anything to do, so that an interrupted run can simply be repeated.

Prints one JSON object as its last line: ``{"changed": ["schema", ...], "held": false}``.
With ``--hold-schema`` nothing is done where the schema of a database in use would have to change: then ``held`` is
true.
Secrets come from the environment, never from the command line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Its tasks must not wait for the pool that everybody else's are in. One is enough, unless one was abandoned.
CANARY_POOL = ("cluster_canary", 8, "Tasks that an upgrade tries a worker with")
ADMIN_PASSWORD = "AIRFLOW_CLUSTER_ADMIN_PASSWORD"


def airflow_cli(*arguments: str) -> None:
    """Run an ``airflow`` command in this process; its chatter goes to stderr."""
    from airflow.cli.cli_parser import get_parser

    parsed = get_parser().parse_args(list(arguments))
    with contextlib.redirect_stdout(sys.stderr):
        parsed.func(parsed)


class Step:
    """Something the databases should have: how to see it, and how to make it."""

    def __init__(self, name: str, is_done: Callable[[], bool], do: Callable[[], None]) -> None:
        self.name = name
        self.is_done = is_done
        self.do = do


def schema_step() -> Step:
    """The Airflow and the FAB schema are at the revision of this release."""
    from airflow.utils import db

    def is_done() -> bool:
        try:
            db.check_migrations(timeout=1)
        except TimeoutError:
            return False
        return True

    def do() -> None:
        from airflow_celery_cluster.scheduler_wake import METADATA_DROP_STATEMENTS

        # notifications_step creates the triggers again.
        _execute(METADATA_DROP_STATEMENTS)
        airflow_cli("db", "migrate")

    return Step("schema", is_done, do)


def _execute(statements: Sequence[str]) -> None:
    """Execute statements in one transaction of the metadata database."""
    from airflow import settings

    with settings.get_engine().begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def notifications_step() -> Step:
    """The metadata database notifies the schedulers (see ``scheduler_wake``)."""
    from airflow_celery_cluster.scheduler_wake import METADATA_STATEMENTS, METADATA_TRIGGERS, TRIGGER

    triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = :name"
    return Step(
        "notifications",
        lambda: _scalar(triggers, name=TRIGGER) == METADATA_TRIGGERS,
        lambda: _execute(METADATA_STATEMENTS),
    )


def permissions_step(marker: Path, release: str) -> Step:
    """FAB's roles and permissions are those of this release.

    The running services have ``update_fab_perms`` off, so that several API
    servers never race for the same rows; this is the one place that writes them.
    """

    def do() -> None:
        airflow_cli("sync-perm")
        marker.write_text(release)

    return Step("permissions", lambda: marker.exists() and marker.read_text() == release, do)


def _scalar(statement: str, **parameters: str) -> object:
    from airflow import settings
    from sqlalchemy import text

    with settings.get_engine().connect() as connection:
        return connection.execute(text(statement), parameters).scalar()


def admin_step(user: str, email: str) -> Step:
    """The admin can log in. An existing user keeps the password it has."""

    def do() -> None:
        airflow_cli(
            *("users", "create", "--role", "Admin", "--username", user, "--email", email),
            *("--firstname", "Airflow", "--lastname", "Admin", "--password", os.environ[ADMIN_PASSWORD]),
        )

    return Step("admin", lambda: _scalar("SELECT 1 FROM ab_user WHERE username = :user", user=user) is not None, do)


def admin_password_step(user: str) -> Step:
    """The admin's password is the present one: for a rotation, as a user keeps the password it has otherwise."""

    def is_done() -> bool:
        from werkzeug.security import check_password_hash

        stored = _scalar("SELECT password FROM ab_user WHERE username = :user", user=user)
        # A user who is not there is made with it.
        return stored is None or check_password_hash(str(stored), os.environ[ADMIN_PASSWORD])

    def do() -> None:
        airflow_cli("users", "reset-password", "--username", user, "--password", os.environ[ADMIN_PASSWORD])

    return Step("admin_password", is_done, do)


def pool_step(slots: int) -> Step:
    """``default_pool`` has as many slots as the workers together."""
    return Step(
        "default_pool",
        lambda: _scalar("SELECT slots FROM slot_pool WHERE pool = 'default_pool'") == slots,
        lambda: airflow_cli("pools", "set", "default_pool", str(slots), "As many slots as the workers have"),
    )


def canary_pool_step() -> Step:
    """The canaries of an upgrade have a pool of their own. A pool that is there keeps the size it has."""
    name, slots, description = CANARY_POOL
    return Step(
        "canary_pool",
        lambda: _scalar("SELECT 1 FROM slot_pool WHERE pool = :pool", pool=name) is not None,
        lambda: airflow_cli("pools", "set", name, str(slots), description),
    )


def in_use() -> bool:
    """Whether the database has a schema of Airflow already, of whatever release."""
    return _scalar("SELECT to_regclass('alembic_version')") is not None


def results_step() -> Step:
    """Celery's result tables exist before workers that start together race to create them.

    In the cluster's own results database role ``airflow_database`` has created them, as the owner (``results_schema``).
    """
    from celery.backends.database.session import ResultModelBase
    from sqlalchemy import create_engine

    from airflow_celery_cluster.scheduler_wake import RESULTS_STATEMENTS, TRIGGER

    engine = create_engine(os.environ["AIRFLOW__CELERY__RESULT_BACKEND"].removeprefix("db+"))
    # The models register themselves on import.
    import celery.backends.database.models  # noqa: F401

    def is_done() -> bool:
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT relname FROM pg_class UNION SELECT tgname FROM pg_trigger")
            return {*ResultModelBase.metadata.tables, TRIGGER} <= set(found.scalars())

    def do() -> None:
        with engine.begin() as connection:
            ResultModelBase.metadata.create_all(connection)
            for statement in RESULTS_STATEMENTS:
                connection.exec_driver_sql(statement)

    return Step("results", is_done, do)


def main() -> None:
    """Run the steps that are named on the command line and report what changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say what would change")
    parser.add_argument("--hold-schema", action="store_true", help="do nothing where the schema would have to change")
    parser.add_argument("--pool-slots", type=int, help="size of default_pool; left alone when not given")
    parser.add_argument("--only-pool", action="store_true", help="leave everything but the pool alone")
    parser.add_argument("--admin-user", default="admin")
    parser.add_argument("--admin-email", default="admin@localhost")
    parser.add_argument("--reset-admin-password", action="store_true", help="to that of the environment")
    parser.add_argument("--marker", type=Path, help="file that remembers the release of the permissions")
    parser.add_argument("--release", default="", help="id of this release")
    arguments = parser.parse_args()

    makers: list[Callable[[], Step]] = []
    if not arguments.only_pool:
        makers += [
            schema_step,
            notifications_step,
            lambda: permissions_step(arguments.marker, arguments.release),
            lambda: admin_step(arguments.admin_user, arguments.admin_email),
            results_step,
            canary_pool_step,
        ]
        if arguments.reset_admin_password:
            makers.append(lambda: admin_password_step(arguments.admin_user))
    if arguments.pool_slots is not None:
        makers.append(lambda: pool_step(arguments.pool_slots))

    changed = []
    for make in makers:
        step = make()
        if step.is_done():
            continue
        if step.name == "schema" and arguments.hold_schema and not arguments.check and in_use():
            print(json.dumps({"changed": [], "held": True}))
            return
        changed.append(step.name)
        if arguments.check:
            # What follows may need tables that only this step would have made.
            if step.name == "schema":
                break
            continue
        step.do()
    print(json.dumps({"changed": changed, "held": False}))


if __name__ == "__main__":
    main()
