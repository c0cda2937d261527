"""What the lock of the runtime depends on. The filter is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import requirements


class FilterModule:
    """The filter by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"lock_inputs": requirements.lock_inputs}
