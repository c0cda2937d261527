"""What a run lacks on the controller, or cannot use there, is found before any machine is touched."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.controller import CommandLine, check_controller
from sample_inventory import inventory, only

COMMIT = "0" * 40
GIT = {"airflow_runtime_extra_requirements": [f"a @ git+https://h/a.git@{COMMIT}"]}
COPIES = {"backup_fetch_dir": "/srv/copies"}
NO_COPIES = {"backup_fetch_dir": ""}
TWO = {"airflow_api_server": ["control1", "control2"]}
PASSWORD = {"ansible_password": "x"}
BACKUP = ["backup_copies"]
LOGS = ["log_copies"]


@pytest.mark.parametrize(
    ("steps", "everywhere", "groups", "needed"),
    [
        ([], {}, {}, {"ssh"}),
        ([], {"ansible_connection": "local"}, {}, set()),
        ([], GIT | COPIES | PASSWORD, TWO, {"ssh"}),
        (["runtime"], {}, {}, {"ssh", "uv"}),
        (["runtime"], GIT, {}, {"ssh", "uv", "git"}),
        (BACKUP, COPIES, {}, {"ssh", "rsync"}),
        (BACKUP, NO_COPIES, TWO, {"ssh"}),
        (BACKUP, COPIES | {"backup_settings": {"repo1-type": "s3"}}, {}, {"ssh"}),
        (LOGS, COPIES, {}, {"ssh"}),
        (LOGS, NO_COPIES, TWO, {"ssh", "rsync"}),
        (LOGS, {"airflow_task_logs": "local"}, TWO, {"ssh"}),
        ([*BACKUP, *LOGS], NO_COPIES, TWO, {"ssh", "rsync"}),
        (BACKUP, COPIES | PASSWORD, {}, {"ssh", "rsync", "sshpass"}),
        (LOGS, {"ansible_ssh_pass": "x"}, TWO, {"ssh", "rsync", "sshpass"}),
        (BACKUP, COPIES | PASSWORD | {"ansible_connection": "local"}, {}, {"rsync"}),
        (BACKUP, NO_COPIES | PASSWORD, {}, {"ssh"}),
    ],
)
def test_what_a_run_needs(
    steps: list[str], everywhere: dict[str, Any], groups: dict[str, list[str]], needed: set[str]
) -> None:
    hosts = inventory(everywhere=everywhere, groups=groups)
    findings = list(check_controller(hosts, steps, CommandLine(), lambda name: None))
    assert {finding.variable.removeprefix("program ") for finding in findings} == needed
    assert list(check_controller(hosts, steps, CommandLine(), lambda name: f"/usr/bin/{name}")) == []


def test_only_a_pool_needs_git() -> None:
    pool = inventory({"worker2": {"airflow_worker_extra_requirements": GIT["airflow_runtime_extra_requirements"]}})
    findings = list(check_controller(pool, ["runtime"], CommandLine(), lambda name: None if name == "git" else name))
    assert only(findings).variable == "program git"


ASKS_SUDO = CommandLine(sudo_password=True)
ASKS_LOGIN = CommandLine(login_password=True)


@pytest.mark.parametrize(
    ("steps", "everywhere", "given", "refused"),
    [
        (BACKUP, COPIES, ASKS_SUDO, "--ask-become-pass"),
        (BACKUP, COPIES | {"ansible_become_password": "x"}, CommandLine(), "ansible_become_password"),
        (BACKUP, COPIES | {"ansible_sudo_pass": "x", "ansible_user": "admin"}, CommandLine(), "ansible_sudo_pass"),
        (LOGS, {}, ASKS_SUDO, "--ask-become-pass"),
        (BACKUP, COPIES, ASKS_LOGIN, "--ask-pass"),
        (BACKUP, COPIES | {"ansible_ssh_password": "x"}, CommandLine(), "ansible_ssh_password"),
        # What works
        (BACKUP, NO_COPIES, ASKS_SUDO, None),
        ([], COPIES, ASKS_SUDO, None),
        (BACKUP, COPIES | {"ansible_user": "root"}, ASKS_SUDO, None),
        (BACKUP, COPIES, CommandLine(user="root", sudo_password=True), None),
        (BACKUP, COPIES | {"ansible_user": "admin"}, CommandLine(user="root", sudo_password=True), "--ask-become-pass"),
        (BACKUP, COPIES | PASSWORD, ASKS_LOGIN, None),
        (BACKUP, COPIES | {"ansible_connection": "local"}, ASKS_SUDO, None),
    ],
)
def test_a_password_that_rsync_cannot_use(
    steps: list[str], everywhere: dict[str, Any], given: CommandLine, refused: str | None
) -> None:
    # The second API server is another host, because findings are those of each host.
    hosts = inventory(everywhere=everywhere, groups=TWO if steps == LOGS else {})
    findings = list(check_controller(hosts, steps, given, lambda name: name))
    assert {finding.variable for finding in findings} == ({refused} if refused else set())
    assert all("rsync" in finding.expected and finding.where.startswith("host control") for finding in findings)
    assert all(finding.value in ("given", "(hidden)") for finding in findings)


def test_sudo_is_for_the_hosts_that_rsync_reads_as_root() -> None:
    """The DAGs are copied without become."""
    apart = inventory(groups={"airflow_dag_processor": ["control2"]}, everywhere=COPIES)
    assert only(list(check_controller(apart, BACKUP, ASKS_SUDO, lambda name: name))).where == "host control1"
    found = check_controller(apart, BACKUP, ASKS_LOGIN, lambda name: name)
    assert [finding.where for finding in found] == ["host control1", "host control2"]
