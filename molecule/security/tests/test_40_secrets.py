"""No secret stands where more than its process can read it."""

from __future__ import annotations

import pytest
from cluster_inventory import SECRETS, Cluster
from conftest import find_secrets, strays

# What a host of the group may know. The rest of it must be absent from its disk.
KNOWN = {
    "control_plane": set(SECRETS) - {"certificates_ca_passphrase"},
    "airflow_worker": {"airflow_broker_password", "airflow_results_password"},
}


@pytest.fixture(scope="module")
def found(cluster: Cluster) -> dict[str, dict[str, list[str]]]:
    """For each host, in which places each secret was found."""
    secrets = {name: cluster.password(name) for name in SECRETS}
    # Of the objects that the inventory of the scenario declares: they are in the database, encrypted, and nowhere else.
    return find_secrets(cluster, secrets | {"declared objects": "declared-secret"})


def test_secrets_are_where_they_are_kept_and_nowhere_else(found: dict[str, dict[str, list[str]]]) -> None:
    """Not in the process list, a unit, the journal, a log, or a file that anybody else may read."""
    assert strays(found) == set()


def test_the_search_finds_what_is_there(cluster: Cluster, found: dict[str, dict[str, list[str]]]) -> None:
    """Otherwise "found nothing" would mean nothing."""
    worker, control = found[cluster.workers[0]], found[cluster.first("airflow_api_server")]
    assert "/etc/airflow/secrets/worker.env 0600" in worker["airflow_broker_password"]
    assert "/etc/airflow/execution-api@8091/jwks.json 0400" in control["airflow_jwt_secret"]


@pytest.mark.parametrize("group", KNOWN)
def test_a_host_knows_what_its_processes_need(
    cluster: Cluster, found: dict[str, dict[str, list[str]]], group: str
) -> None:
    for host in cluster.groups[group]:
        assert set(found[host]) == KNOWN[group], host
