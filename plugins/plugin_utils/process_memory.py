"""The limit of each process of the control plane within the limit for all of them."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.memory import (
    AIRFLOW_PROCESS,
    API_SERVER,
    EXECUTION_API,
    Load,
)

# What a process may have in any case, as a multiple of its least; these two load the DAGs and what the DAGs import.
MARGIN = 1.25
MARGINS: Mapping[str, float] = {"dag-processor": 2, "triggerer": 2}


def least(load: Load) -> dict[str, int]:
    """Return the least in MiB of each unit of the control plane on a host, by name of the Airflow process."""
    found = {
        group.removeprefix("airflow_").replace("_", "-"): need
        for group, need in AIRFLOW_PROCESS.items()
        if group in load.groups
    }
    if "airflow_api_server" in load.groups:
        found |= {"api-server": API_SERVER * load.api_server_workers, "execution-api": EXECUTION_API}
    return found


def limits(memory: int, load: Load) -> dict[str, int]:
    """Return the limit of each unit of the control plane: what the others leave if each has its least.

    So one that grows is restarted before it takes memory from the others. Where memory is scarce the limits may add up
    to more than there is: each unit may have a margin that the others do not need at the same time.

    :param memory: limit of the whole control plane on this host.
    """
    spare = max(0, memory - load.least().get("airflow", 0))
    return {name: max(need + spare, int(need * MARGINS.get(name, MARGIN))) for name, need in least(load).items()}
