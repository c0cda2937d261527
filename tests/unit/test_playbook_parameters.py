"""Parameters of the playbooks are known, and misspelt ones are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.playbook_parameters import (
    parameters_of,
    unknown_parameters,
)

ROOT = Path(__file__).resolve().parents[2]
DRAIN = frozenset({"cluster_worker", "cluster_drain_timeout", "cluster_force", "cluster_why"})


@pytest.mark.parametrize("given", [str(ROOT / "playbooks/drain_worker.yml"), "airflow_celery.cluster.drain_worker"])
def test_a_playbook_has_the_parameters_that_it_reads(given: str) -> None:
    assert parameters_of([given]) == DRAIN


def test_a_deployment_has_no_parameters() -> None:
    assert parameters_of([str(ROOT / "site.yml")]) == frozenset()
    assert parameters_of([str(ROOT / "playbooks/preflight.yml")]) == frozenset()


@pytest.mark.parametrize("given", ["/home/me/nightly.yml", "/home/me/site.yml", "acme.airflow.site"])
def test_a_foreign_playbook_may_import_any_of_the_playbooks(given: str) -> None:
    assert parameters_of([given]) > DRAIN | {"cluster_rotate"}


def test_the_name_of_a_module_is_no_parameter(tmp_path: Path) -> None:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/status.yml").write_text(
        "- airflow_celery.cluster.cluster_status: {path: '{{ cluster_path }}'} # cluster_comment\n"
    )
    assert parameters_of([str(tmp_path / "playbooks/status.yml")], tmp_path) == {"cluster_path"}


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("cluster_forse", "use -e cluster_force=..."),
        ("force", "use -e cluster_force=..."),
        ("drain_timeuot", "use -e cluster_drain_timeout=..."),
        ("cluster_rotate", "leave out -e cluster_rotate=..."),
    ],
)
def test_what_the_playbook_does_not_read_is_refused_with_the_nearest_parameter(name: str, remedy: str) -> None:
    [finding] = unknown_parameters({name: "yes"}, DRAIN)
    assert (finding.variable, finding.remedy) == (name, remedy)
    assert "cluster_drain_timeout, cluster_force, cluster_why, cluster_worker" in finding.expected


@pytest.mark.parametrize(
    "name", ["cluster_force", "ansible_user", "airflow_version", "environment_name", "workers_of_mine"]
)
def test_parameters_and_variables_of_the_inventory_pass(name: str) -> None:
    assert list(unknown_parameters({name: "x"}, DRAIN)) == []


@pytest.mark.parametrize("playbook", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_every_extra_variable_in_the_head_of_a_playbook_is_a_parameter(playbook: Path) -> None:
    head = playbook.read_text().split("- name:", 1)[0]
    named = set(re.findall(r"-e (cluster_\w+)=", head))
    assert named <= parameters_of([str(playbook)])
