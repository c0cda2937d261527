"""What PostgreSQL and Redis are told to do with their memory. All sizes are in MiB."""

from __future__ import annotations

from typing import Any


def clamp(low: int, value: int, high: int) -> int:
    """Return the value, or the bound that it is beyond."""
    return max(low, min(value, high))


def postgres_settings(memory: int, connections: int) -> dict[str, Any]:
    """Return the settings of a PostgreSQL cluster that may use so much memory.

    A quarter is for shared buffers, a quarter for the sorts of all connections at once, an eighth for maintenance (one
    command, and three workers of autovacuum); the rest is for the backends themselves and for the page cache.
    """
    maintenance = clamp(8, memory // 16, 1024)
    max_wal_size = clamp(256, memory // 4, 2048)
    return {
        "shared_buffers": f"{clamp(16, memory // 4, 16384)}MB",
        "effective_cache_size": f"{max(24, memory * 5 // 8)}MB",
        "work_mem": f"{clamp(1024, memory * 1024 // 4 // max(1, connections), 65536)}kB",
        "maintenance_work_mem": f"{maintenance}MB",
        "autovacuum_work_mem": f"{max(4, maintenance // 3)}MB",
        "max_wal_size": f"{max_wal_size}MB",
        "min_wal_size": f"{max(64, max_wal_size // 8)}MB",
        "huge_pages": "try",
    }


def redis_settings(memory: int) -> dict[str, str]:
    """Return the settings of a Redis that may use so much memory.

    Half of it is for data: while Redis rewrites its append-only file, a page that changes is there twice.
    """
    hard = clamp(1, memory // 32, 32)
    return {
        "maxmemory": f"{max(8, memory // 2)}mb",
        # What waits for a subscriber that does not read counts as data; beyond this the subscriber is dropped.
        "client-output-buffer-limit": f"pubsub {hard}mb {max(1, hard // 4)}mb 60",
    }
