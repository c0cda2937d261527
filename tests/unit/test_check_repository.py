"""The check of the repository finds what it is for."""

from __future__ import annotations

import re
from pathlib import Path

import check_repository
import pytest
from check_repository import (
    ansible_findings,
    empty_findings,
    long_findings,
    texts_of,
    tracked,
    unread_findings,
    unused_findings,
    version_findings,
)

TEXTS = texts_of(tracked())


@pytest.mark.parametrize(
    ("file", "old", "new", "finding"),
    [
        ("pyproject.toml", 'version = "0.', 'version = "9.', "pyproject.toml: version 9."),
        (
            "roles/airflow_runtime/files/runtime/pyproject.toml",
            'version = "0.',
            'version = "9.',
            "roles/airflow_runtime/files/runtime/pyproject.toml: version 9.",
        ),
        (
            "galaxy.yml",
            "version: 0.",
            "version: 0.0.",
            "version_added 0.1.0 is later than the version in galaxy.yml, 0.0.",
        ),
        (
            "plugins/modules/unit.py",
            "version_added: 0.",
            "version_added: 9.",
            "plugins/modules/unit.py: version_added 9.",
        ),
        ("changelogs/changelog.yaml", "\n  0.1.0:", "\n  0.0.9:", "changelogs/changelog.yaml: no release 0.1.0"),
    ],
)
def test_a_version_that_contradicts_galaxy_yml(file: str, old: str, new: str, finding: str) -> None:
    assert list(version_findings(TEXTS)) == []
    assert old in TEXTS[file]
    found = list(version_findings(TEXTS | {file: TEXTS[file].replace(old, new, 1)}))
    assert [line for line in found if finding in line], found


@pytest.mark.parametrize(
    ("file", "finding"),
    [
        ("meta/runtime.yml", "meta/runtime.yml: requires_ansible >=2.1.0; tested is"),
        ("roles/redis/meta/main.yml", "roles/redis/meta/main.yml: min_ansible_version 2.1; tested is"),
    ],
)
def test_a_release_of_ansible_that_is_not_tested(file: str, finding: str) -> None:
    assert list(ansible_findings(TEXTS)) == []
    (found,) = ansible_findings(TEXTS | {file: re.sub(r"2\.\d+", "2.1", TEXTS[file])})
    assert found.startswith(finding)


UNUSED = (
    "plugins/filter/xyzzy.yml",
    "plugins/module_utils/xyzzy.py",
    "plugins/modules/xyzzy.py",
    "plugins/plugin_utils/inventory_check/xyzzy.py",
    "roles/backup/files/xyzzy.py",
    "roles/redis/tasks/xyzzy.yml",
    "roles/redis/templates/xyzzy.j2",
    "tests/cluster/faults/xyzzy.py",
    "tools/xyzzy",
)


def test_a_file_that_nothing_uses() -> None:
    # A word is no use of a file, and this file is one of the texts.
    texts = {path: text for path, text in TEXTS.items() if not path.endswith("test_check_repository.py")}
    texts["docs/words.md"] = "xyzzy"
    found = unused_findings(texts | dict.fromkeys(UNUSED, "---"))
    assert sorted(found) == [f"{name}: no other file uses it" for name in UNUSED]


@pytest.mark.parametrize("file", ["roles/redis/defaults/main.yml", "roles/haproxy/vars/main.yml"])
def test_a_variable_that_nothing_reads(file: str) -> None:
    assert list(unread_findings(TEXTS)) == []
    found = list(unread_findings(TEXTS | {file: TEXTS[file] + "redis_xyzzy: 1\n"}))
    assert found == [f"{file}: nothing reads redis_xyzzy"]


@pytest.mark.parametrize(
    ("file", "most"),
    [
        ("plugins/modules/unit.py", 400),
        ("tests/unit/test_docs.py", 500),
        ("molecule/default/tests/test_10_hosts.py", 500),
        ("playbooks/upgrade.yml", 100),
        ("site.yml", 200),
    ],
)
def test_a_file_that_is_too_long(file: str, most: int) -> None:
    assert list(long_findings(TEXTS)) == []
    texts = {file: "- line\n\n# comment\n" * most} if file.endswith(".yml") else {file: "line\n" * most}
    assert list(long_findings(texts)) == []
    found = list(long_findings({file: texts[file] + "- line\n"}))
    assert found == [f"{file}: {most + 1} lines, at most {most}: split it by subject"]


def test_a_file_without_content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert list(empty_findings(tracked())) == []
    monkeypatch.setattr(check_repository, "ROOT", tmp_path)
    (tmp_path / "empty.yml").touch()
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    assert list(empty_findings(["empty.yml", "image.png"])) == ["empty.yml: empty"]
