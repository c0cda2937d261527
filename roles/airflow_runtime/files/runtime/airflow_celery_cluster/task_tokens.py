"""Wait until no task holds a token of the Execution API that was signed before a moment.

A queued task carries a token, and a running one has its token renewed when it is nearly over. So after a change of the
key that signs them, the old key is needed until each task that was there at the change has ended, or until the last of
the old tokens is over. It runs with the configuration of a scheduler, which holds the lifetimes of the tokens.

Prints one JSON object as its last line: ``{"waited": seconds, "holders": number of tasks that still hold one}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime

HOLDERS = ("queued", "running", "restarting")
# Seconds that a token is accepted after its end.
LEEWAY = 10
PAUSE = 2.0


def holders(before: datetime) -> int:
    """Return how many tasks were queued before a moment and have not ended yet."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import func, or_, select

    with create_session() as session:
        query = select(func.count()).where(
            TaskInstance.state.in_(HOLDERS),
            or_(TaskInstance.queued_dttm.is_(None), TaskInstance.queued_dttm < before),
        )
        return int(session.scalar(query) or 0)


def lifetime() -> float:
    """Return the seconds for which a token is valid at most: that of a queued task, or that of a running one."""
    from airflow.configuration import conf

    return max(conf.getfloat("scheduler", "task_queued_timeout"), conf.getfloat("execution_api", "jwt_expiration_time"))


def main() -> None:
    """Wait, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signed-before", type=float, required=True, help="the moment, in seconds since the epoch")
    arguments = parser.parse_args()
    begun = time.monotonic()
    before = datetime.fromtimestamp(arguments.signed_before, UTC)
    over = arguments.signed_before + lifetime() + LEEWAY
    while (left := holders(before)) and time.time() < over:
        print(f"{left} tasks hold an old token, {over - time.time():.0f} s at most", file=sys.stderr, flush=True)
        time.sleep(PAUSE)  # the pace of asking; the tasks decide, or the end of their tokens
    print(json.dumps({"waited": round(time.monotonic() - begun, 1), "holders": left if time.time() < over else 0}))


if __name__ == "__main__":
    main()
