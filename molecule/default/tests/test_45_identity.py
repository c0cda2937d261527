"""A host knows which cluster it belongs to and what this cluster has installed there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_inventory import Cluster
from conftest import Play, Recap
from testinfra.host import Host

pytestmark = pytest.mark.same_everywhere

MARKER, CONFIG = "/etc/airflow/cluster.json", "/etc/haproxy/haproxy.cfg"
PREFLIGHT = "playbooks/preflight.yml"


@pytest.fixture
def control(cluster: Cluster, connect: Callable[[str], Host]) -> Iterator[Host]:
    """The host of HAProxy; its files are as before afterwards."""
    host = connect(cluster.groups["haproxy"][0])
    host.check_output(f"cp -a {MARKER} {MARKER}.kept && cp -a {CONFIG} {CONFIG}.kept")
    yield host
    host.check_output(f"mv {MARKER}.kept {MARKER} && mv {CONFIG}.kept {CONFIG}")


def said(recap: Recap) -> str:
    return " ".join(recap.output.split())


def test_each_host_records_its_components(cluster: Cluster, connect: Callable[[str], Host]) -> None:
    control = connect(cluster.groups["redis"][0]).file(MARKER).content_string
    assert '["airflow", "backup", "haproxy", "postgres", "redis"]' in control
    worker = connect(cluster.groups["airflow_worker"][0]).file(MARKER).content_string
    assert '["airflow"]' in worker


def test_a_controller_without_authority_or_secrets_is_refused(play: Play, cluster: Cluster, tmp_path: Path) -> None:
    worker = cluster.groups["airflow_worker"][0]
    for limit in ((), ("--limit", worker)):
        recap = play("-e", f"certificates_dir={tmp_path}/pki", *limit, book=PREFLIGHT)
        assert recap.status != 0
        assert "no authority expected: the authority that this host trusts" in said(recap)
        recap = play("-e", "airflow_database_password=another0123456789another0123456789", *limit, book=PREFLIGHT)
        assert recap.status != 0
        assert "airflow_database_password = (hidden), not the one that this host was deployed with" in said(recap)


def test_a_service_of_another_application_is_refused(play: Play, control: Host) -> None:
    control.check_output(f"rm {MARKER}")
    # As after a deployment before there was a marker.
    play(book=PREFLIGHT).must_succeed()
    control.check_output(f"echo '# another application' > {CONFIG}")
    recap = play(book=PREFLIGHT)
    assert recap.status != 0
    assert f"HAProxy = {CONFIG}, not installed by this cluster" in said(recap)
    play("-e", '{"preflight_take_over": ["haproxy"]}', book=PREFLIGHT).must_succeed()
