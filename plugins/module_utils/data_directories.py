"""Whose files are in the directories that the inventory names for data: the log store and the backups.

A run gives such a directory another owner, and playbooks/uninstall.yml can remove it.

Runs on hosts, for the module host_check: no syntax newer than Python 3.8.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from ansible_collections.airflow_celery.cluster.plugins.module_utils.host_state import (
    PGBACKREST,
    PGBACKREST_TEXT,
    finding,
    read,
)

LOG_STORE_CONFIG = "/etc/airflow/log-store.conf"
# What is in `tasks` of a log store: the paths that roles/log_store/templates/log-store.conf.j2 accepts.
_TASK_LOGS = re.compile(r"dag_id=.*|dag_processor|executor_callbacks")
# In `units` of a log store: the addresses of the senders.
_SENDER = re.compile(r"[0-9A-Fa-f.:]+")
# In a repository of pgBackRest: a directory for each database, with one of these files.
_INFO_FILES = {"archive": "archive.info", "backup": "backup.info"}


def _names(path: str) -> list[str]:
    """Return what a directory holds, without hidden names (snapshots, steps of a run) and a file system's own."""
    return sorted(name for name in os.listdir(path) if not name.startswith(".") and name != "lost+found")


def _is_log_store(path: str, names: list[str]) -> bool:
    """Return whether a directory holds what a log store holds, and nothing else.

    Owners prove nothing: after a removal, and on a disk of a former host, they are numbers that no user or another user
    has.
    """
    if "tasks" not in names or not set(names) <= {"tasks", "units"}:
        return False
    if not all(os.path.isdir(os.path.join(path, name)) for name in names):
        return False
    tasks = _names(os.path.join(path, "tasks"))
    senders = _names(os.path.join(path, "units")) if "units" in names else []
    return (not tasks or any(map(_TASK_LOGS.fullmatch, tasks))) and all(map(_SENDER.fullmatch, senders))


def _is_repository(path: str, names: list[str]) -> bool:
    """Return whether a directory is a repository of pgBackRest, be it shared with other databases.

    check_repository of host_state compares the backups of this database with the host.
    """
    # The first is of an interrupted restore: roles/backup/tasks/copy_to_host.yml
    ours = (".incoming", *(os.path.join(kind, "main", info) for kind, info in _INFO_FILES.items()))
    if any(os.path.exists(os.path.join(path, name)) for name in ours):
        return True
    if not set(names) <= _INFO_FILES.keys() or not all(os.path.isdir(os.path.join(path, name)) for name in names):
        return False
    return all(
        os.path.isfile(os.path.join(path, kind, database, _INFO_FILES[kind]))
        for kind in names
        for database in _names(os.path.join(path, kind))
    )


def _check(
    variable: str, path: str, is_own: Callable[[str, list[str]], bool], own: str, example: str, root: str
) -> list[dict[str, str]]:
    place = root + path.lstrip("/")
    if os.path.lexists(place) and not os.path.isdir(place):
        value = f"{path}, which is no directory"
    else:
        try:
            names = _names(place)
            if not names or is_own(place, names):
                return []
        except OSError:
            # Nothing is there yet, or a network file system lets its owner alone look.
            return []
        value = "{}, with files of another application: {}{}".format(
            path, ", ".join(names[:4]), ", ..." if names[4:] else ""
        )
    return [
        finding(
            variable,
            value,
            f"a directory that does not exist, is empty, or is {own}: a run would give the directory another owner",
            f"set {variable} to a directory of its own, such as {path}/{example}, or move what is there",
        )
    ]


def check_log_store(path: str, root: str = "/") -> list[dict[str, str]]:
    """Return a finding for a directory of the log store that holds files of another application.

    :param path: variable ``log_store_dir``; "" on a host without a log store.
    """
    # The configuration of a log store that is deployed names the directory.
    if not path or f'workDirectory="{path}"' in read(root + LOG_STORE_CONFIG.lstrip("/")):
        return []
    own = "a log store of this project (tasks and units) and nothing else"
    return _check("log_store_dir", path, _is_log_store, own, "airflow-log-store", root)


def check_repository_directory(path: str, root: str = "/") -> list[dict[str, str]]:
    """Return a finding for a directory of the backups that holds files of another application.

    :param path: variable ``backup_repository``; "" on a host without backups, and for an object store.
    """
    configured = read(root + PGBACKREST.lstrip("/"))
    # Beside a repository that is deployed, other files of the user are known: uninstall.yml leaves them.
    is_deployed = f"\nrepo1-path={path}\n" in configured and PGBACKREST_TEXT in configured
    if not path or is_deployed:
        return []
    own = "a repository of pgBackRest (archive and backup)"
    return _check("backup_repository", path, _is_repository, own, "airflow-backups", root)
