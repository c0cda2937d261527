"""What three clock readings prove."""

from __future__ import annotations

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.clock import proven_offset, uncertainty


@pytest.mark.parametrize(
    ("host", "proven"),
    [(100.0, 0.0), (100.5, 0.0), (101.0, 0.0), (111.0, 10.0), (90.0, -10.0), (101.5, 0.5)],
)
def test_only_what_is_certain_is_an_offset(host: float, proven: float) -> None:
    assert proven_offset([(100.0, host, 101.0)]) == pytest.approx(proven)


def test_a_tight_sample_proves_what_a_slow_login_could_not() -> None:
    slow = (100.0, 108.0, 112.0)  # the host is 7 s ahead, and 12 s of connection hide it
    assert proven_offset([slow]) == 0.0
    assert proven_offset([slow, (112.0, 119.2, 112.4)]) == pytest.approx(6.8)
    assert uncertainty([slow]) == pytest.approx(12.0)
    assert uncertainty([slow, (112.0, 119.2, 112.4)]) == pytest.approx(0.4)
