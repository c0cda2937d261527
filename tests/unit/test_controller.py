"""Programs that a run needs on the controller are found missing before any machine is touched."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.controller import check_programs
from sample_inventory import inventory

COMMIT = "0" * 40
GIT = {"airflow_runtime_extra_requirements": [f"a @ git+https://h/a.git@{COMMIT}"]}
COPIES = {"backup_fetch_dir": "/srv/copies"}


@pytest.mark.parametrize(
    ("wanted", "everywhere", "needed"),
    [
        ([], {}, {"ssh"}),
        ([], {"ansible_connection": "local"}, set()),
        ([], GIT | COPIES, {"ssh"}),
        (["uv"], {}, {"ssh", "uv"}),
        (["uv"], GIT, {"ssh", "uv", "git"}),
        (["rsync"], COPIES, {"ssh", "rsync"}),
        (["rsync"], {"backup_fetch_dir": ""}, {"ssh"}),
        (["rsync"], COPIES | {"backup_settings": {"repo1-type": "s3"}}, {"ssh"}),
    ],
)
def test_what_a_run_needs(wanted: list[str], everywhere: dict[str, Any], needed: set[str]) -> None:
    hosts = inventory(everywhere=everywhere)
    findings = list(check_programs(hosts, wanted, lambda name: None))
    assert {finding.variable.removeprefix("program ") for finding in findings} == needed
    assert list(check_programs(hosts, wanted, lambda name: f"/usr/bin/{name}")) == []


def test_only_a_pool_needs_git() -> None:
    pool = inventory({"worker2": {"airflow_worker_extra_requirements": GIT["airflow_runtime_extra_requirements"]}})
    assert [found.variable for found in check_programs(pool, ["uv"], lambda name: None if name == "git" else name)] == [
        "program git"
    ]
