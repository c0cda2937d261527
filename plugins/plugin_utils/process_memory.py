"""The limit of each process of the control plane within the limit for all of them, and what fits into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import memory as host_memory
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.memory import (
    AIRFLOW_PROCESS,
    API_SERVER,
    EXECUTION_API,
    Groups,
    Load,
    Problem,
    Value,
)

# What a process may have in any case, as a multiple of its least; these two load the DAGs and what the DAGs import.
MARGIN = 1.25
MARGINS: Mapping[str, float] = {"dag-processor": 2, "triggerer": 2}


@dataclass(frozen=True)
class Parts:
    """What a process holds many of, as a person's variable says. All sizes are in MiB.

    :param variable: the variable; with a dot, an option of ``airflow_config``.
    :param default: their number without the variable, if that is an option.
    :param alone: memory of the process without them [measured].
    :param each: memory of each of them [measured].
    """

    variable: str
    default: int
    alone: int
    each: float

    def count(self, host: str, value: Value) -> int:
        """Return how many there are on a host."""
        if "." not in self.variable:
            return int(value(host, self.variable))
        name, section, option = self.variable.split(".")
        found = value(host, name)
        found = found.get(section) if isinstance(found, Mapping) else None
        return host_memory.whole(found.get(option) if isinstance(found, Mapping) else None, self.default)


PARTS: Mapping[str, Parts] = {
    "dag-processor": Parts("airflow_config.dag_processor.parsing_processes", 2, 170, 35),
    "triggerer": Parts("airflow_triggerer_capacity", 1000, 220, 0.1),
}


def problems(host: str, machine: int, groups: Groups, value: Value) -> Iterator[Problem]:
    """Yield what a person's values make impossible on a machine with so much memory, also within one process."""
    yield from (found := list(host_memory.problems(host, machine, groups, value)))
    if found:
        return
    total = int(value(host, "airflow_host_memory_mb")) or machine
    plan = host_memory.host_plan(host, total, groups, value)
    for process, limit in limits(plan.parts.get("airflow", 0), host_memory.load_of(host, groups, value)).items():
        parts = PARTS.get(process)
        if parts and parts.alone + parts.each * (count := parts.count(host, value)) > limit:
            yield Problem(
                parts.variable,
                str(count),
                f"at most {int((limit - parts.alone) / parts.each)}: the {process} may use {limit} MiB on this host, "
                f"{parts.alone} without them and {parts.each:g} for each",
                f"lower {parts.variable}, raise {host_memory.EXPLICIT['airflow']}, or give the machine more memory",
            )


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
