"""The filter that names commands. It is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command


class FilterModule:
    """The filter by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"command": lambda name, arguments="": command(name, arguments)}
