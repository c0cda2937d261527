"""The Execution API of Airflow, with heartbeats answered by ``heartbeats``.

``python -m airflow_celery_cluster.execution_server OPTION...`` takes the options of ``airflow api-server``.
"""

from __future__ import annotations

import sys
from typing import Any


def main() -> None:
    """Run ``airflow api-server`` with the application of this module."""
    import uvicorn
    from airflow.__main__ import main as airflow

    run = uvicorn.run

    def with_heartbeats(_application: str, **options: Any) -> None:
        run("airflow_celery_cluster.execution_server:application", factory=True, **options)

    uvicorn.run = with_heartbeats
    sys.argv[1:1] = ["api-server", "--apps", "execution"]
    airflow()


def application() -> Any:
    """Return the application, in each process of the server."""
    from airflow.api_fastapi.main import app

    from airflow_celery_cluster.heartbeats import wrap

    return wrap(app)


if __name__ == "__main__":
    main()
