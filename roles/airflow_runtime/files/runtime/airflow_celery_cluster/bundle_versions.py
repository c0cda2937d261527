"""Print the versions of DAG bundles that unfinished DAG runs and tasks use, as one line of JSON.

A DAG run is pinned to the version that it was created with, and its tasks need the files of this version on whatever
worker they run. The deployment asks before it removes old releases of the DAGs. Runs with the settings of the
``airflow`` command: ``airflow-run database airflow_celery_cluster.bundle_versions``.
"""

from __future__ import annotations

import json

# A task may outlive its DAG run, which somebody has marked as failed.
VERSIONS = """SELECT bundle_version FROM dag_run WHERE state IN ('queued', 'running')
    UNION SELECT dag_version.bundle_version FROM task_instance JOIN dag_version ON dag_version.id = dag_version_id
    WHERE task_instance.state IN ('scheduled', 'queued', 'running', 'restarting', 'deferred', 'up_for_retry',
    'up_for_reschedule')"""


def main() -> None:
    """Ask the metadata database, and print."""
    from airflow import settings
    from sqlalchemy import text

    with settings.get_engine().connect() as connection:
        print(json.dumps(sorted({str(version) for [version] in connection.execute(text(VERSIONS)) if version})))


if __name__ == "__main__":
    main()
