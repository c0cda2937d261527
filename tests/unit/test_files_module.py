"""The action plugin and the module `files`, in a playbook that Ansible runs on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.module_utils.file_contents import packed, unpacked

ROOT = Path(__file__).resolve().parents[2]
SECRET = "correct-horse-battery"
NOBODY = "airflow-test-no-such-account"
OLD = 1_000_000_000


@dataclass(frozen=True)
class Run:
    """What came of a run of ansible-playbook."""

    status: int
    output: str

    @property
    def result(self) -> dict[str, Any]:
        """The result of the last task."""
        account, _ = json.JSONDecoder().raw_decode(self.output, self.output.index("{\n"))
        return account["plays"][-1]["tasks"][-1]["hosts"]["here"]

    @property
    def files(self) -> list[str]:
        """The names of the changed files, in order."""
        return [Path(path).name for path in self.result["changed_files"]]


Ensure = Callable[..., Run]


@pytest.fixture
def ensure(tmp_path: Path) -> Ensure:
    """Return a function that runs the module in a role that another role includes."""
    for role in ("outer", "inner"):
        for folder in ("tasks", "templates", "files"):
            (tmp_path / "roles" / role / folder).mkdir(parents=True)
    (tmp_path / "host").mkdir()
    (tmp_path / "hosts").write_text("here ansible_connection=local\n")
    (tmp_path / "play.yml").write_text("- {hosts: here, gather_facts: false, roles: [outer]}\n")
    (tmp_path / "roles/outer/tasks/main.yml").write_text("- ansible.builtin.include_role: {name: inner}\n")

    def run(
        files: list[dict[str, Any]], *options: str, module: str = "airflow_celery.cluster.files", **arguments: Any
    ) -> Run:
        placed = [file | {"dest": f"{tmp_path}/host/{file['dest']}"} for file in files]
        task = {
            module: {"files": placed, "mode": "0644"} | arguments,
            "vars": {"secret": SECRET, "name": "task", "quoted": "it's \\n"},
        }
        (tmp_path / "roles/inner/tasks/main.yml").write_text(yaml.safe_dump([task]))
        return play(tmp_path, *options)

    return run


def play(directory: Path, *options: str) -> Run:
    """Run the playbook of a directory."""
    ours = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_LOCAL_TEMP": str(directory / "temporary"),
        "ANSIBLE_REMOTE_TEMP": str(directory / "remote"),
        "ANSIBLE_NOCOLOR": "1",
    }
    if not any(option.startswith("-v") for option in options):
        ours["ANSIBLE_STDOUT_CALLBACK"] = "ansible.posix.json"
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts", "play.yml", *options],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | ours,
        capture_output=True,
        text=True,
        check=False,
    )
    return Run(done.returncode, done.stdout if "ANSIBLE_STDOUT_CALLBACK" in ours else done.stdout + done.stderr)


def mode(path: Path) -> str:
    """Return the mode of a file as a task gives it."""
    return f"{path.stat().st_mode & 0o7777:04o}"


def test_contents_arrive_as_they_are() -> None:
    contents = [b"", "Grüße\n".encode(), bytes(range(256)), b"x" * 1_000_000]
    assert unpacked(packed(contents)) == contents
    assert len(packed(contents)) < 10_000


def test_a_file_is_created_changed_and_left_alone(ensure: Ensure, tmp_path: Path) -> None:
    path = tmp_path / "host/directory/file"
    files: list[dict[str, Any]] = [
        {"dest": "directory", "state": "directory", "mode": "0750"},
        {"dest": "directory/file", "content": "one\n", "mode": "0600"},
        {"dest": "directory/left_out", "content": "one\n", "when": "{{ name == 'other' }}"},
    ]
    created = ensure(files)
    assert (created.status, created.result["changed"], created.files) == (0, True, ["directory", "file"])
    assert (path.read_text(), mode(path), mode(path.parent)) == ("one\n", "0600", "0750")
    assert [one.name for one in path.parent.iterdir()] == ["file"]

    os.utime(path, (OLD, OLD))
    again = ensure(files)
    assert (again.result["changed"], again.files) == (False, [])
    assert path.stat().st_mtime == OLD

    # The module `unit` restarts what runs with a file that is older: a mode is no reason for it.
    number = path.stat().st_ino
    other_mode = ensure([files[0], files[1] | {"mode": "0640"}])
    assert (other_mode.result["changed"], other_mode.files, mode(path)) == (True, ["file"], "0640")
    assert (path.stat().st_mtime, path.stat().st_ino) == (OLD, number)

    changed = ensure([files[0] | {"mode": "0700"}, files[1] | {"content": "two\n"}])
    assert (changed.result["changed"], changed.files) == (True, ["directory", "file"])
    assert (path.read_text(), mode(path), mode(path.parent)) == ("two\n", "0600", "0700")
    assert path.stat().st_mtime > OLD


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_the_owner_alone_changes_and_the_owner_of_a_file_without_one_stays(ensure: Ensure, tmp_path: Path) -> None:
    path = tmp_path / "host/file"
    assert ensure([{"dest": "file", "content": "one\n"}], owner="daemon", group="daemon").status == 0
    os.utime(path, (OLD, OLD))
    numbers = (path.stat().st_uid, path.stat().st_gid)
    assert numbers == (1, 1)
    assert ensure([{"dest": "file", "content": "one\n", "owner": "root"}]).files == ["file"]
    assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mtime) == (0, 1, OLD)
    assert ensure([{"dest": "file", "content": "two\n"}]).files == ["file"]
    assert (path.stat().st_uid, path.stat().st_gid) == (0, 1)


def test_check_mode_predicts_changes_and_shows_them(ensure: Ensure, tmp_path: Path) -> None:
    (tmp_path / "host/file").write_text("one\n")
    (tmp_path / "host/mode").write_text("same\n")
    (tmp_path / "host/mode").chmod(0o600)
    (tmp_path / "host/old").write_text("gone\n")
    run = ensure(
        [
            {"dest": "new", "state": "directory", "mode": "0755"},
            {"dest": "new/file", "content": "text\n"},
            {"dest": "file", "content": "two\n"},
            {"dest": "mode", "content": "same\n"},
            {"dest": "old", "state": "absent"},
            {"dest": "hidden", "content": SECRET, "secret": True},
        ],
        "--check",
        "--diff",
    )
    assert run.files == ["new", "file", "file", "mode", "old", "hidden"]
    assert not (tmp_path / "host/new").exists()
    assert (tmp_path / "host/file").read_text() == "one\n"
    assert mode(tmp_path / "host/mode") == "0600"
    assert (tmp_path / "host/old").exists()
    diffs = {one["after_header"].removeprefix(f"{tmp_path}/host/"): one for one in run.result["diff"]}
    assert set(diffs) == {"new", "new/file", "file", "mode", "old"}
    assert (diffs["file"]["before"], diffs["file"]["after"]) == ("one\n", "two\n")
    assert (diffs["mode"]["before"], diffs["mode"]["after"]) == ("mode: 0600\n", "mode: 0644\n")


def test_a_missing_account_is_accepted_in_check_mode_only(ensure: Ensure, tmp_path: Path) -> None:
    (tmp_path / "host/file").write_text("one\n")
    files = [{"dest": "first", "content": "1"}, {"dest": "file", "content": "one\n", "owner": NOBODY}]
    assert ensure(files, "--check").files == ["first", "file"]
    refused = ensure(files)
    assert refused.status != 0
    for piece in (f"here: {tmp_path}/host/file: owner {NOBODY}", "expected: an account of this host"):
        assert piece in refused.result["msg"]
    # The accounts are looked up before the first file is written.
    assert not (tmp_path / "host/first").exists()


def test_no_secret_is_printed(ensure: Ensure, tmp_path: Path) -> None:
    (tmp_path / "roles/inner/templates/secret.j2").write_text("password={{ secret }}\n")
    files = [
        {"dest": "template", "template": "secret.j2", "secret": True, "mode": "0400"},
        {"dest": "content", "content": "{{ secret }}", "secret": True},
    ]
    for options in (["--check"], []):
        run = ensure(files, "-vvvvv", "--diff", *options)
        assert run.status == 0, run.output
        assert "changed=1" in run.output and f"{tmp_path}/host/template" in run.output
        assert SECRET not in run.output
        # Packed is not encrypted.
        assert "contents: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in run.output.replace('"', "")
    assert (tmp_path / "host/template").read_text() == f"password={SECRET}\n"
    assert (tmp_path / "host/content").read_text() == SECRET


def test_an_error_quotes_no_secret(ensure: Ensure, tmp_path: Path) -> None:
    (tmp_path / "roles/inner/templates/wrong.j2").write_text("{{ {}[secret] }}\n")
    hidden = ensure([{"dest": "file", "template": "wrong.j2", "secret": True}], "-vvvvv")
    assert hidden.status != 0 and SECRET not in hidden.output
    assert f"{tmp_path}/host/file: wrong.j2" in " ".join(hidden.output.split())
    shown = ensure([{"dest": "file", "template": "wrong.j2"}])
    assert f"here: {tmp_path}/host/file: wrong.j2: " in shown.result["msg"]
    # What would have been quoted.
    assert SECRET in shown.result["msg"]
    rejected = ensure(
        [{"dest": "file", "content": SECRET, "secret": True, "validate": "sh -c 'cat \"$0\"; exit 3' %s"}], "-vvvvv"
    )
    assert rejected.status != 0 and SECRET not in rejected.output and "ended with 3" in rejected.output


def test_templates_are_rendered_as_by_the_module_template(ensure: Ensure, tmp_path: Path) -> None:
    text = """{{ ansible_managed | comment }}
{% for number in [1, 2] %}
  {% if number %}
{{ number }} {{ name }} {{ quoted }} {{ template_destpath | basename }} {{ template_path }}
  {% endif %}
{% endfor %}
{% include 'part.j2' %}
{% include 'of_outer.j2' -%}
{{ 'no newline' -}}
"""
    (tmp_path / "roles/inner/templates/file.j2").write_text(text)
    (tmp_path / "roles/inner/templates/part.j2").write_text("part of {{ name }}\n")
    (tmp_path / "roles/outer/templates/of_outer.j2").write_text("outer\n\n")
    tasks = [
        {"ansible.builtin.template": {"src": "file.j2", "dest": f"{tmp_path}/host/{{{{ name }}}}/f", "mode": "0644"}},
        {
            "ansible.builtin.template": {
                "src": "of_outer.j2",
                "dest": f"{tmp_path}/host/{{{{ name }}}}/o",
                "mode": "0644",
            }
        },
    ]
    (tmp_path / "roles/outer/tasks/main.yml").write_text(
        yaml.safe_dump(
            [
                {"ansible.builtin.include_role": {"name": "inner", "tasks_from": "theirs"}, "vars": {"name": "theirs"}},
                {"ansible.builtin.include_role": {"name": "inner"}},
            ]
        )
    )
    (tmp_path / "roles/inner/tasks/theirs.yml").write_text(
        yaml.safe_dump([task | {"vars": {"quoted": "it's \\n"}} for task in tasks])
    )
    (tmp_path / "host/theirs").mkdir()
    run = ensure(
        [
            {"dest": "ours", "state": "directory", "mode": "0755"},
            {"dest": "ours/f", "template": "file.j2", "vars": {"name": "theirs"}},
            {"dest": "ours/o", "template": "of_outer.j2"},
        ]
    )
    assert run.status == 0, run.output
    for name in ("f", "o"):
        assert (tmp_path / "host/ours" / name).read_bytes() == (tmp_path / "host/theirs" / name).read_bytes()
    assert "part of theirs" in (tmp_path / "host/ours/f").read_text()


def test_a_file_of_the_role_is_copied_byte_by_byte(ensure: Ensure, tmp_path: Path) -> None:
    (tmp_path / "roles/inner/files/program").write_bytes(bytes(range(256)) + b"{{ name }}")
    files = [{"dest": "program", "copy": "program", "mode": "0755"}]
    assert ensure(files, "--diff").status == 0
    assert (tmp_path / "host/program").read_bytes() == bytes(range(256)) + b"{{ name }}"
    assert ensure(files).files == []


def test_the_list_is_ensured_in_its_order(ensure: Ensure, tmp_path: Path) -> None:
    run = ensure(
        [
            {"dest": "one", "state": "directory", "mode": "0700"},
            {"dest": "one/two", "state": "directory"},
            {"dest": "one/two/file", "content": "text"},
        ],
        mode="0750",
    )
    assert run.files == ["one", "two", "file"]
    assert (mode(tmp_path / "host/one"), mode(tmp_path / "host/one/two")) == ("0700", "0750")
    early = ensure([{"dest": "three/file", "content": "text"}, {"dest": "three", "state": "directory"}])
    assert f"here: {tmp_path}/host/three/file: there is no directory {tmp_path}/host/three" in early.result["msg"]


def test_what_is_absent_is_removed_once(ensure: Ensure, tmp_path: Path) -> None:
    (tmp_path / "host/kept").mkdir()
    (tmp_path / "host/kept/file").write_text("stays")
    (tmp_path / "host/tree/below").mkdir(parents=True)
    (tmp_path / "host/tree/below/file").write_text("goes")
    (tmp_path / "host/link").symlink_to("kept")
    files = [{"dest": name, "state": "absent"} for name in ("tree", "link", "nothing")]
    assert ensure(files).files == ["tree", "link"]
    assert sorted(path.name for path in (tmp_path / "host").iterdir()) == ["kept"]
    assert (tmp_path / "host/kept/file").read_text() == "stays"
    assert ensure(files).result["changed"] is False


def test_a_link_is_replaced_and_not_followed(ensure: Ensure, tmp_path: Path) -> None:
    (tmp_path / "host/other").write_text("same")
    (tmp_path / "host/link").symlink_to("other")
    assert ensure([{"dest": "link", "content": "same", "mode": "0600"}]).files == ["link"]
    assert not (tmp_path / "host/link").is_symlink()
    assert (mode(tmp_path / "host/link"), mode(tmp_path / "host/other")) == ("0600", "0644")


def test_a_link_is_created_changed_and_left_alone(ensure: Ensure, tmp_path: Path) -> None:
    host = tmp_path / "host"
    # A link may point to what does not exist yet. A link has no mode.
    for name in ("releases/1", "releases/2"):
        link = [{"dest": "current", "state": "link", "target": name}]
        assert ensure(link, "--check").files == ["current"]
        assert ensure(link).files == ["current"]
        assert (host / "current").readlink() == Path(name)
        assert ensure(link).files == []
    # An interrupted run
    (host / ".current.ansible-new").symlink_to("releases/3")
    assert ensure([{"dest": "current", "state": "link", "target": "releases/4"}]).files == ["current"]
    assert [(path.name, path.readlink()) for path in host.iterdir()] == [("current", Path("releases/4"))]


def test_an_interrupted_run_leaves_the_old_file(ensure: Ensure, tmp_path: Path) -> None:
    path = tmp_path / "host/file"
    path.write_text("old\n")
    # The new file is complete, and the module ends before the new file takes its place.
    killed = ensure([{"dest": "file", "content": "new\n", "validate": "sh -c 'kill -9 $PPID' %s"}])
    assert killed.status != 0
    assert path.read_text() == "old\n"
    assert [one.name for one in path.parent.iterdir() if one != path] == [".file.ansible-new"]
    # What it left is removed, also if nothing is to change any more.
    assert ensure([{"dest": "file", "content": "old\n"}]).files == []
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_a_file_that_does_not_validate_is_not_placed(ensure: Ensure, tmp_path: Path) -> None:
    path = tmp_path / "host/file"
    path.write_text("old\n")
    files = [{"dest": "file", "content": "new\n", "validate": "grep --quiet old %s"}]
    refused = ensure(files)
    assert refused.status != 0 and "ended with 1" in refused.result["msg"]
    assert (path.read_text(), refused.files) == ("old\n", [])
    assert [one.name for one in path.parent.iterdir()] == ["file"]
    assert ensure(files, "--check").files == ["file"]
    assert ensure([files[0] | {"content": "older\n"}]).files == ["file"]


@pytest.mark.parametrize(
    ("file", "pieces"),
    [
        ({"content": "a", "template": "b"}, ("template, content", "expected: one of template, content, copy")),
        ({}, ("no content", "expected: one of")),
        ({"content": "a", "state": "absent"}, ("state absent with content", "expected: no content")),
        ({"content": "a", "mod": "0644"}, ("mod: unknown", "expected: content, copy, dest")),
        ({"content": {"a": 1}}, ("content is no text", "expected: a text")),
        ({"content": "a", "mode": "u=rw"}, ("mode u=rw", "expected: an octal number")),
        ({"template": "missing.j2"}, ("missing.j2",)),
        ({"content": "a", "dest": "directory"}, ("is a directory", "expected: a file")),
        ({"state": "directory", "dest": "taken"}, ("is a file", "expected: a directory")),
        ({"state": "link", "dest": "taken", "target": "file"}, ("is no symbolic link", "expected: one, or nothing")),
        ({"state": "link"}, ("state link, target None", "expected: one of a link")),
        ({"content": "a", "target": "b"}, ("state file, target b", "expected: one of a link")),
    ],
    ids=str,
)
def test_a_wrong_file_is_refused_with_host_path_value_and_expectation(
    ensure: Ensure, tmp_path: Path, file: dict[str, Any], pieces: tuple[str, ...]
) -> None:
    (tmp_path / "host/directory").mkdir()
    (tmp_path / "host/taken").write_text("")
    run = ensure([{"dest": "file"} | file])
    assert run.status != 0
    assert run.result["msg"].startswith(f"here: {tmp_path}/host/{file.get('dest', 'file')}: ")
    for piece in pieces:
        assert piece in run.result["msg"]
    assert not (tmp_path / "host/file").exists()
