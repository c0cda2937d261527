"""Where the backups of a host are, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    Host,
    Inventory,
    is_true,
    text_of,
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
