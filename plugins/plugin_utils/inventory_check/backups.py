"""Where the backups of a host are, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding, show
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    Host,
    Inventory,
    is_true,
    text_of,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.sandbox import is_below


def check_data_directories(inventory: Inventory) -> Iterator[Finding]:
    """The backups and the stored logs of a host are apart: the clean-up and the removal of one must leave the other."""
    for host in inventory.cluster:
        if not {"postgres", "airflow_api_server"} <= host.groups:
            continue
        if not inventory.sound(host, "backup_repository", "log_store_dir"):
            continue
        repository, logs = repository_of(host), text_of(host, "log_store_dir")
        if repository and (is_below(repository, logs) or is_below(logs, repository)):
            yield Finding(
                f"host {host.name}",
                "backup_repository",
                show(repository),
                f"a directory apart from log_store_dir ({logs}): old logs are removed, and each has its own owner",
                "set one of them to another directory",
            )


def backup_warnings(inventory: Inventory) -> list[str]:
    """Return what the loss of the database's host would cost with the backups as they are."""
    found = []
    for host in inventory.members("postgres"):
        settings = host.get("backup_settings", {})
        elsewhere = isinstance(settings, Mapping) and str(settings.get("repo1-type", "posix")) != "posix"
        if not is_true(host.get("backup_enabled", True)):
            found.append(
                f"host {host.name}: backup_enabled = false: no way back from a lost disk, a mistake or an upgrade"
            )
        elif host.get("backup_fetch_dir") == "" and not elsewhere:
            found.append(
                f'host {host.name}: backup_fetch_dir = "": unless {text_of(host, "backup_repository")} is another '
                f"machine's disk, the backups are lost with {host.name}"
            )
    return found


def repository_of(host: Host) -> str:
    """Return the directory of the backups; "" where there are none, or in an object store."""
    settings = host.get("backup_settings", {})
    kind = settings.get("repo1-type", "posix") if isinstance(settings, Mapping) else "posix"
    stored = is_true(host.get("backup_enabled", True)) and kind in ("posix", "cifs")
    return text_of(host, "backup_repository") if stored else ""
