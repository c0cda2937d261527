"""Parameters of the playbooks: variables ``cluster_*``, which are given with ``-e``.

A playbook knows the parameters that it reads. Roles check the values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import ROOT
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import (
    Finding,
    looks_secret,
    nearest,
    show,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_rules import MISSPELT

PREFIX = "cluster_"
COLLECTION = "airflow_celery.cluster."
# How alike a name with the prefix is at least to the parameter that is recommended instead.
LIKE_OURS = 0.7


def parameters_of(playbooks: Iterable[str], root: Path = ROOT) -> frozenset[str]:
    """Return the parameters of playbooks.

    :param playbooks: as ``ansible-playbook`` gets them: paths, or names such as
        ``airflow_celery.cluster.drain_worker``. A playbook of another project may import any of the collection.
    """
    ours = {path.resolve() for pattern in ("*.yml", "playbooks/*.yml") for path in root.glob(pattern)}
    read = {
        root.resolve() / "playbooks" / f"{given.removeprefix(COLLECTION)}.yml"
        if given.startswith(COLLECTION)
        else Path(given).resolve()
        for given in playbooks
    }
    return frozenset(name for path in (read if read <= ours else ours) for name in _parameters_in(path))


def _parameters_in(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        # A module of the collection, such as cluster_status, has the name of the collection before it.
        yield from re.findall(rf"(?<![\w.]){PREFIX}\w+", line.split("#", 1)[0])


def unknown_parameters(given: Mapping[str, Any], known: frozenset[str]) -> Iterator[Finding]:
    """Find extra variables that the playbook does not read, although the prefix or the rest of the name suggests it."""
    short = {name.removeprefix(PREFIX): name for name in known}
    for name, value in given.items():
        ours = name.startswith(PREFIX)
        right = short.get(nearest(name.removeprefix(PREFIX), short, LIKE_OURS if ours else MISSPELT) or "")
        # Without the prefix and unlike a parameter, it is a variable of the inventory.
        if name in known or not (ours or right):
            continue
        expected = f"a parameter of the playbook: {', '.join(sorted(known)) or 'it has none'}"
        remedy = f"use -e {right}=..." if right else f"leave out -e {name}=..."
        yield Finding("command line", name, show(value, looks_secret(name)), expected, remedy)
