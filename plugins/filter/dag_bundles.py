"""Filters for DAG bundles. Each is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import dag_bundles


def bundle_config(bundles: Sequence[Mapping[str, Any]], refresh_interval: int) -> list[dict[str, Any]]:
    """Return bundles as Airflow's configuration has them."""
    return [dag_bundles.config(bundle, int(refresh_interval)) for bundle in bundles]


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "bundle_config": bundle_config,
            "git_environment": dag_bundles.environment,
            "git_files": dag_bundles.files,
        }
