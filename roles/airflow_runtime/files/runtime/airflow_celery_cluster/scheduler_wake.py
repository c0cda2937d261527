"""Wake a scheduler when there is something to do. Runs in each scheduler.

Airflow's scheduler sleeps for ``[scheduler] scheduler_idle_sleep_time`` whenever a loop had nothing to do. Each step of
a chain of tasks, and each freed slot, waits for the end of that sleep. A shorter sleep costs CPU time while the cluster
is idle. So the databases notify the scheduler: the metadata database when a task or a run changes its state, and the
results database when a worker has reported the end of a task, which is when the executor frees the slot.

The sleep remains as the longest time between two loops. A scheduler that cannot listen works as without this module.
"""

from __future__ import annotations

import functools
import logging
import select
import threading
import time
from collections.abc import Sequence
from typing import Any

log = logging.getLogger(__name__)

CHANNEL = "airflow_scheduler"
TRIGGER = "notify_airflow_scheduler"
# Seconds from a notification to the loop. What belongs together is done by one loop: a task that ends changes the
# metadata database first, and the results database when its process has ended.
GATHER = 0.02
# Seconds between two attempts to connect.
RECONNECT = 5.0
# Seconds after which a connection without a notification is tested.
TEST = 30.0

# The logins to the results database may execute no function of their own.
_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {TRIGGER}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('{CHANNEL}', '');
    RETURN NULL;
END $$
"""


def _drop(table: str) -> str:
    return f"DROP TRIGGER IF EXISTS {TRIGGER} ON {table}"


def _trigger(events: str, table: str, condition: str) -> tuple[str, str]:
    # PostgreSQL 13 has no CREATE OR REPLACE TRIGGER.
    return (
        _drop(table),
        f"CREATE TRIGGER {TRIGGER} AFTER {events} ON {table} FOR EACH ROW WHEN ({condition}) "
        f"EXECUTE FUNCTION {TRIGGER}()",
    )


# Statements that may be executed again.
METADATA_STATEMENTS = (
    _FUNCTION,
    # The other states are on the way to the end of a task, and leave nothing to do.
    *_trigger(
        "UPDATE OF state",
        "task_instance",
        "NEW.state IS DISTINCT FROM OLD.state AND coalesce(NEW.state, '') NOT IN ('queued', 'running')",
    ),
    *_trigger("INSERT OR UPDATE OF state", "dag_run", "NEW.state = 'queued'"),
)
METADATA_TRIGGERS = 2
# Before a migration: PostgreSQL refuses to change the type of a column that a trigger names.
METADATA_DROP_STATEMENTS = (_drop("task_instance"), _drop("dag_run"))
RESULTS_STATEMENTS = (
    _FUNCTION,
    # As role postgres does with every function of the database: a trigger needs no privilege.
    f"REVOKE EXECUTE ON FUNCTION {TRIGGER}() FROM PUBLIC",
    *_trigger("INSERT OR UPDATE", "celery_taskmeta", "NEW.status IN ('SUCCESS', 'FAILURE', 'REVOKED')"),
)


class Listener(threading.Thread):
    """Sets an event whenever a database notifies the scheduler.

    :param url: URL of the database, as SQLAlchemy takes it.
    :param event: what is set. Also set after a connection was made, because notifications may have been missed.
    """

    def __init__(self, url: str, event: threading.Event) -> None:
        super().__init__(name="notifications of a database", daemon=True)
        self._url = url
        self._event = event

    def run(self) -> None:
        """Listen for ever."""
        while True:
            try:
                self._listen()
            except Exception as error:
                log.warning("No notifications from a database, connecting again: %r", error)
                time.sleep(RECONNECT)  # the pace of the attempts

    def _listen(self) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        engine = create_engine(self._url, poolclass=NullPool)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            driver: Any = connection.connection.driver_connection
            self._event.set()
            while True:
                if not select.select([driver], [], [], TEST)[0]:
                    connection.exec_driver_sql("SELECT 1")
                driver.poll()
                if driver.notifies:
                    driver.notifies.clear()
                    self._event.set()


class Clock:
    """Stands for the module ``time`` in Airflow's scheduler loop: a sleep ends when there is something to do."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._event = threading.Event()
        for url in urls:
            Listener(url, self._event).start()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Sleep until there is something to do, and no longer than this."""
        if self._event.wait(seconds):
            time.sleep(GATHER)
            self._event.clear()


def install() -> None:
    """Change Airflow's scheduler, which sleeps at the end of a loop only."""
    from airflow.configuration import conf
    from airflow.jobs import scheduler_job_runner

    module: Any = scheduler_job_runner
    loop = module.SchedulerJobRunner._run_scheduler_loop
    urls = [conf.get("database", "sql_alchemy_conn"), conf.get("celery", "result_backend").removeprefix("db+")]

    @functools.wraps(loop)
    def running(self: Any) -> None:
        module.time = Clock(urls)
        loop(self)

    module.SchedulerJobRunner._run_scheduler_loop = running
