"""Decisions of upgrade.yml and rollback.yml. Each filter is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import upgrade


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "upgrade_begin": upgrade.begin,
            "upgrade_path_problem": upgrade.path_problem,
            "upgrade_way_back": upgrade.way_back,
        }
