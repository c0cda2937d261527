"""A host that leaves a group keeps no unit and no secret of the group."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.module_utils import host_state, parts
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import topology

ROLES = Path(__file__).resolve().parents[2] / "roles"
# Of every host.
EVERYWHERE = {"airflow-firewall.service"}
SYSTEM = "/etc/systemd/system"
PATHS = [
    f"{SYSTEM}/airflow-firewall.service",
    f"{SYSTEM}/multi-user.target.wants/airflow-firewall.service",
    f"{SYSTEM}/airflow-of-somebody-else.service",
    f"{SYSTEM}/airflow-api-server@.service",
    f"{SYSTEM}/multi-user.target.wants/airflow-api-server@8081.service",
    f"{SYSTEM}/airflow-log-clean.service",
    f"{SYSTEM}/airflow-log-clean.timer",
    f"{SYSTEM}/timers.target.wants/airflow-log-clean.timer",
    f"{SYSTEM}/airflow-worker.service",
    f"{SYSTEM}/airflow-worker.service.d/airflow-site.conf",
    f"{SYSTEM}/postgresql@.service.d/airflow-cluster.conf",
    f"{SYSTEM}/postgresql@17-main.service.d/airflow-memory.conf",
    f"{SYSTEM}/ssh.service.d/airflow-ssh.conf",
]


def written() -> set[str]:
    """Return the units that the roles write, with a letter in place of each variable."""
    text = "\n".join(path.read_text() for path in ROLES.glob("*/tasks/*.yml"))
    text = re.sub(r"\{\{[^}]*(?:\}(?!\})[^}]*)*\}\}", "x", text)
    units = set(re.findall(r"dest: \"?/etc/systemd/system/(airflow-[a-z@-]+\.(?:service|timer))", text))
    return units | {f"airflow-{name}.service" for name in re.findall(r"airflow_process: ([a-z-]+)\n", text)}


def test_each_unit_that_a_role_writes_belongs_to_a_part() -> None:
    found = written() - EVERYWHERE
    assert {"airflow-scheduler.service", "airflow-worker-watchdog.service", "airflow-backup-full.timer"} <= found
    # process.yml writes them under the name of the process; the steps have no unit.
    generic = {"airflow-x.service", "airflow-database.service"}
    instances = {"airflow-api-server.service", "airflow-execution-api.service"}
    names = {name.replace(".service", "@1.service") if name in instances else name for name in found - generic}
    assert {name for name in names if parts.part_of(name) is None} == set()
    assert parts.part_of("airflow-db-clean.timer") and parts.part_of("airflow-log-clean.timer")


def test_each_secret_file_of_a_role_belongs_to_a_part() -> None:
    text = "\n".join(path.read_text() for path in ROLES.glob("*/tasks/*.yml"))
    processes = set(re.findall(r"airflow_process: ([a-z-]+)\n", text))
    files = {f"/etc/airflow/secrets/{name}.env" for name in processes} | {f"/etc/airflow/{name}" for name in processes}
    # The steps of the deployment have no unit, and so no environment of their own.
    files |= {f"/etc/airflow/secrets/{name}-environment.env" for name in processes - {"database"}}
    files |= set(re.findall(r"dest: (/etc/airflow/secrets/[a-z-]+\.env)", text))
    services = set(re.findall(r"certificates_service: ([a-z-]+)\n", text))
    files |= {f"/etc/airflow/tls/{name}.pem{end}" for name in services for end in ("", ".key")}
    patterns = [pattern for part in parts.PARTS for pattern in part.files]
    assert len(files) > 20
    assert {path for path in files if not any(fnmatch.fnmatchcase(path, one) for one in patterns)} == set()


def test_each_drop_in_of_a_process_belongs_to_its_part() -> None:
    text = (ROLES / "airflow/tasks/process.yml").read_text()
    drop_ins = set(re.findall(r"process_drop_ins \}\}/(airflow-[a-z]+\.conf)", text))
    assert drop_ins
    for part in parts.PARTS:
        is_process = any(path.startswith("/etc/airflow/secrets/") for path in part.files)
        for unit in part.runs if is_process else ():
            for name in drop_ins:
                path = f"{SYSTEM}/{unit.replace('*', '')}.d/{name}"
                assert any(fnmatch.fnmatchcase(path, one) for one in part.files), path


def test_a_directory_of_drop_ins_goes_with_its_last_file(tmp_path: Path) -> None:
    files = {}
    for name, others in (("alone.service.d", ()), ("shared.service.d", ("site.conf",)), ("secrets", ())):
        (tmp_path / name).mkdir()
        for file in ("airflow-memory.conf", *others):
            (tmp_path / name / file).touch()
        files[name] = f"{tmp_path}/{name}/airflow-memory.conf"
    assert parts.emptied_directories(files.values()) == [f"{tmp_path}/alone.service.d"]


def test_each_group_has_a_unit_that_must_run() -> None:
    assert {group for part in parts.PARTS if part.runs for group in part.groups} == set(topology.PROCESS_GROUPS)


def test_a_host_of_every_group_has_no_leftovers() -> None:
    assert parts.leftover_units(PATHS, [*topology.PROCESS_GROUPS, parts.FIRST_SCHEDULER]) == ([], [])


@pytest.mark.parametrize(
    ("groups", "units", "files"),
    [
        (
            ["airflow_worker"],
            ["airflow-api-server@8081.service", "postgresql@17-main.service"],
            [
                f"{SYSTEM}/airflow-api-server@.service",
                f"{SYSTEM}/postgresql@.service.d/airflow-cluster.conf",
                f"{SYSTEM}/postgresql@17-main.service.d/airflow-memory.conf",
            ],
        ),
        (
            ["postgres", "flower"],
            [
                "airflow-log-clean.timer",
                "airflow-api-server@8081.service",
                "airflow-log-clean.service",
                "airflow-worker.service",
            ],
            [
                f"{SYSTEM}/airflow-api-server@.service",
                f"{SYSTEM}/airflow-log-clean.service",
                f"{SYSTEM}/airflow-log-clean.timer",
                f"{SYSTEM}/airflow-worker.service",
            ],
        ),
    ],
)
def test_what_a_host_keeps_of_other_groups_is_found(groups: list[str], units: list[str], files: list[str]) -> None:
    assert parts.leftover_units(PATHS, groups) == (units, files)


def test_a_service_of_another_application_on_a_worker_keeps_its_files() -> None:
    """A worker was never in group postgres, and its pgBackRest is that of somebody else."""
    files = {"/etc/pgbackrest.conf": "backup", "/etc/redis/users.acl": "redis"}
    assert not set(files) & set(parts.leftover_patterns(["airflow_worker"], ["airflow"]))
    for path, component in files.items():
        assert path in parts.leftover_patterns(["airflow_worker"], ["airflow", component])
    assert "/etc/airflow/database" in parts.leftover_patterns(["airflow_worker"], [])


def test_no_other_file_of_a_part_has_a_name_that_another_application_uses() -> None:
    own = re.compile(r"/etc/airflow/|/etc/systemd/system/airflow|/usr/local/s?bin/airflow|/usr/local/lib/airflow")
    files = {file for part in parts.PARTS if not part.component for file in part.files}
    assert {file for file in files if not own.match(file)} == set()
    assert {part.component for part in parts.PARTS} - {""} <= set(host_state.COMPONENTS)


def test_each_process_that_writes_log_files_has_their_removal() -> None:
    text = (ROLES / "airflow/vars/main.yml").read_text()
    processes: dict[str, list[str]] = yaml.safe_load(text)["airflow_group_processes"]
    groups = {group for group, names in processes.items() if set(names) - {"flower"}}
    assert "airflow_triggerer" in groups
    timer = parts.part_of("airflow-log-clean.timer")
    assert timer is not None
    assert set(timer.groups) == groups


@pytest.mark.parametrize(("group", "kept"), [("airflow_worker", False), ("postgres", False), ("flower", True)])
def test_the_slice_of_the_control_plane_goes_with_its_last_process(group: str, kept: bool) -> None:
    removed = {pattern for part in parts.absent_parts([group]) for pattern in part.files}
    assert (f"{parts.UNITS}/airflow.slice" in removed) != kept
