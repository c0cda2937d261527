"""Whose files are in the directories for data, with files as hosts have them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.module_utils import data_directories as data
from ansible_collections.airflow_celery.cluster.plugins.module_utils import host_examination, host_state
from ansible_collections.airflow_celery.cluster.plugins.module_utils.host_examination import examine
from ansible_collections.airflow_celery.cluster.plugins.modules import host_check

ROLES = Path(__file__).resolve().parents[2] / "roles"
TASK = "tasks/dag_id=etl/run_id=manual/task_id=load/attempt=1.log.192.0.2.1"
UNIT = "units/192.0.2.1/airflow-scheduler.service/2026-11-28.log"
DEPLOYED = "[global]\ncompress-type=zst\nlock-path=/run/postgresql/pgbackrest\nrepo1-path=/srv/data\n\n[main]\n"


def put(root: Path, *names: str) -> str:
    """Write files below /srv/data; a name that ends with a slash is a directory."""
    for name in names:
        path = root / "srv/data" / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text("x")
    return f"{root}/"


def write(root: str, path: str, text: str) -> None:
    target = Path(root + path.lstrip("/"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


NEUTRAL = [
    (),  # nothing is there
    ("./",),
    ("lost+found/",),  # a new file system
    (".snapshot/x", "lost+found/"),
]
FOREIGN = [
    ("shop/index.html",),
    ("index.html", "lost+found/"),
    ("a", "b", "c", "d", "e"),
]


@pytest.mark.parametrize("names", NEUTRAL)
def test_an_empty_directory_is_accepted(tmp_path: Path, names: tuple[str, ...]) -> None:
    root = put(tmp_path, *names)
    assert data.check_log_store("/srv/data", root) == []
    assert data.check_repository_directory("/srv/data", root) == []


@pytest.mark.parametrize("names", FOREIGN)
def test_files_of_another_application_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    root = put(tmp_path, *names)
    (store,) = data.check_log_store("/srv/data", root)
    (repository,) = data.check_repository_directory("/srv/data", root)
    assert (store["variable"], repository["variable"]) == ("log_store_dir", "backup_repository")
    for found in (store, repository):
        assert found["value"].startswith(f"/srv/data, with files of another application: {names[0].split('/')[0]}")
        assert found["value"].endswith(", ...") == (len(names) > 4)
        assert "such as /srv/data/airflow-" in found["remedy"]


@pytest.mark.parametrize(
    ("names", "own"),
    [
        ((TASK, UNIT), True),
        ((TASK,), True),  # before there were logs of units
        (("tasks/", "units/", ".filling/x"), True),  # an interrupted first run, or a new one
        (("tasks/",), True),
        (("tasks/dag_processor/2026-11-28/x.log", "units/2001:db8::1/x/y.log", "lost+found/"), True),
        ((TASK, UNIT, "shop.db"), False),
        (("units/192.0.2.1/x",), False),
        (("tasks/todo.txt",), False),  # a directory of this name has somebody else, too
        ((TASK, "units/metres/x"), False),
        (("tasks",), False),
        (("dag_id=etl/run_id=1/task_id=x/attempt=1.log",), False),  # the logs of another Airflow
    ],
)
def test_what_a_log_store_is(tmp_path: Path, names: tuple[str, ...], own: bool) -> None:
    assert (data.check_log_store("/srv/data", put(tmp_path, *names)) == []) == own


@pytest.mark.parametrize(
    ("names", "own"),
    [
        (("archive/main/archive.info", "backup/main/backup.info"), True),
        # uninstall.yml leaves other files where the repository is.
        (("archive/main/archive.info", "backup/main/backup.info", "else/x"), True),
        ((".incoming", "archive/main/17-1/x", "else/x"), True),  # an interrupted restore
        (("archive/shop/archive.info", "backup/shop/backup.info"), True),  # shared with another database
        (("archive/", "backup/"), True),
        (("backup/2026-11-28.tar.gz",), False),
        (("backup/shop/x", "archive/"), False),
        (("archive/shop/archive.info", "else/x"), False),
        (("backup",), False),
    ],
)
def test_what_a_repository_is(tmp_path: Path, names: tuple[str, ...], own: bool) -> None:
    assert (data.check_repository_directory("/srv/data", put(tmp_path, *names)) == []) == own


def test_what_is_deployed_is_accepted_whatever_is_beside_it(tmp_path: Path) -> None:
    root = put(tmp_path, "index.html")
    write(root, data.LOG_STORE_CONFIG, 'global(\n    workDirectory="/srv/data"\n')
    write(root, data.PGBACKREST, DEPLOYED)
    assert data.check_log_store("/srv/data", root) == []
    assert data.check_repository_directory("/srv/data", root) == []


def test_another_directory_than_the_deployed_one_is_refused(tmp_path: Path) -> None:
    root = put(tmp_path, "index.html")
    write(root, data.LOG_STORE_CONFIG, 'global(\n    workDirectory="/srv/data2"\n')
    write(root, data.PGBACKREST, DEPLOYED.replace("/srv/data", "/srv/data2"))
    assert data.check_log_store("/srv/data", root)
    assert data.check_repository_directory("/srv/data", root)
    # The repository of another application
    write(root, data.PGBACKREST, DEPLOYED.replace("/run/postgresql/pgbackrest", "/tmp/pgbackrest"))
    assert data.check_repository_directory("/srv/data", root)


def test_the_role_writes_the_directory_as_it_is_recognised() -> None:
    text = (ROLES / "log_store/templates/log-store.conf.j2").read_text()
    assert 'workDirectory="{{ log_store_dir }}"' in text
    roots = re.findall(r"re_match\(\$\.path, '\^([a-z_]+[=/])", text)
    assert roots == ["dag_id=", "dag_processor/", "executor_callbacks/"]
    assert all(data._TASK_LOGS.fullmatch(name.rstrip("/")) for name in roots)


def test_a_file_in_the_place_is_refused(tmp_path: Path) -> None:
    root = put(tmp_path)
    write(root, "/srv/data", "")
    assert "no directory" in data.check_log_store("/srv/data", root)[0]["value"]


def test_a_host_without_log_store_and_backups_has_no_directory(tmp_path: Path) -> None:
    assert data.check_log_store("", f"{tmp_path}/") == data.check_repository_directory("", f"{tmp_path}/") == []


def test_a_network_file_system_that_root_may_not_read_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    root = put(tmp_path, "x")
    monkeypatch.setattr(data.os, "listdir", refuse)
    assert data.check_repository_directory("/srv/data", root) == []


class Module:
    """As much of AnsibleModule as the examination needs, with the defaults of host_check."""

    def __init__(self, **params: Any) -> None:
        options = yaml.safe_load(host_check.DOCUMENTATION)["options"]
        self.params = {name: option.get("default") for name, option in options.items()} | params

    def get_bin_path(self, name: str) -> str:
        return ""


def test_the_examination_looks_at_the_directories_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "index.html")
    monkeypatch.setattr(host_state, "AIRFLOW_COMMAND", f"{tmp_path}/srv/data/index.html")
    place = f"{tmp_path}/srv/data"
    module: Any = Module(log_store=place, repository=place, components=["postgres"], take_over=["postgres"])
    found = {item["variable"]: item["value"] for item in examine(module)["findings"]}
    foreign = f"{place}, with files of another application: index.html"
    assert (found["log_store_dir"], found["backup_repository"]) == (foreign, foreign)
    assert found["Airflow"] == f"{place}/index.html, not the command of this cluster"


def test_the_examination_looks_at_the_locale_of_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "tr_TR")
    monkeypatch.setattr(host_examination.sys, "getfilesystemencoding", lambda: "iso8859-9")
    module: Any = Module()
    assert "LC_ALL=tr_TR (encoding iso8859-9)" in [item["value"] for item in examine(module)["findings"]]


def test_the_code_names_no_syntax_that_an_old_python_lacks() -> None:
    ast.parse(Path(data.__file__).read_text(), feature_version=(3, 8))
