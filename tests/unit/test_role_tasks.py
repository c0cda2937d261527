"""What the tasks show of the values that a user supplies, and that they need no setting of `ansible.cfg`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "roles"
FILE_MODULES = ("assemble", "blockinfile", "copy", "lineinfile", "replace", "template")
# Variables whose values may hold a secret, although they are no secrets by name. The requirements arrive as a lock.
FREE_FORM = {
    "airflow_api_server_environment",
    "airflow_config",
    "airflow_connections",
    "airflow_dag_processor_environment",
    "airflow_dags_git_url",
    "airflow_environment",
    "airflow_process_config",
    "airflow_process_environment",
    "airflow_runtime_extra_index_urls",
    "airflow_runtime_extra_requirements",
    "airflow_runtime_index_url",
    "airflow_runtime_lock",
    "airflow_runtime_proxy_url",
    "airflow_triggerer_environment",
    "airflow_users",
    "airflow_variables",
    "airflow_worker_environment",
    "airflow_worker_extra_requirements",
    "backup_settings",
    "postgres_settings",
}
# Computed from free-form values, and shows none of them.
HARMLESS = {"backup_repository_is_directory"}


def tasks_below(tasks: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the tasks of a list, and those of its blocks."""
    for task in tasks or []:
        yield task
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks_below(task.get(part))


ALL_TASKS = [
    (path, task)
    for path in sorted([*ROLES.glob("*/tasks/*.yml"), *ROLES.glob("*/handlers/*.yml"), *ROOT.glob("playbooks/*.yml")])
    for task in tasks_below(yaml.safe_load(path.read_text()))
]


def module_of(task: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any] | None:
    """Return the arguments of a task that runs one of these modules."""
    for name in names:
        for spelling in (name, f"ansible.builtin.{name}"):
            if isinstance(task.get(spelling), dict):
                return task[spelling]
    return None


def variables() -> dict[str, str]:
    """Return what the roles compute, as text, by the name of the variable."""
    found: dict[str, str] = {}
    for path in ROLES.glob("*/vars/main.yml"):
        found |= {name: yaml.safe_dump(value) for name, value in (yaml.safe_load(path.read_text()) or {}).items()}
    return found


def names_in(text: str, computed: Mapping[str, str]) -> set[str]:
    """Return the variables that a text uses, also through variables that the roles compute."""
    names: set[str] = set()
    todo = set(re.findall(r"\w+", text)) - HARMLESS
    while todo:
        name = todo.pop()
        names.add(name)
        todo |= set(re.findall(r"\w+", computed.get(name, ""))) - names - HARMLESS
    return names


def written_by(path: Path, task: Mapping[str, Any]) -> str:
    """Return what a task writes into a file, as a template; "" if it writes none."""
    arguments = module_of(task, FILE_MODULES)
    if arguments is None:
        return ""
    text = yaml.safe_dump({**arguments, "dest": "", "loop": task.get("loop"), "vars": task.get("vars")})
    source = path.parent.parent / "templates" / str(arguments.get("src", ""))
    return text + (source.read_text() if source.is_file() else "")


def files_of(path: Path, task: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield what a task with the module `files` writes into each file, as a template, and whether it is a secret."""
    for file in (task.get("airflow_celery.cluster.files") or {}).get("files", []):
        if isinstance(file, str):
            # Computed by the task; what it writes is in a template of its own.
            text = names = yaml.safe_dump(task.get("vars"))
            for source in re.findall(r"[\w.-]+\.j2", names):
                text += (path.parent.parent / "templates" / source).read_text()
            yield text, bool(re.search("'secret'+: true", names))
            continue
        source = path.parent.parent / "templates" / str(file.get("template"))
        text = yaml.safe_dump({key: file[key] for key in ("content", "vars") if key in file})
        yield text + (source.read_text() if source.is_file() else ""), file.get("secret") is True


def test_no_diff_shows_a_value_that_a_user_supplies() -> None:
    computed = variables()
    shown: list[str] = []
    hidden: list[str] = []
    for path, task in ALL_TASKS:
        for text, secret in [(written_by(path, task), False), *files_of(path, task)]:
            if found := sorted(names_in(text, computed) & FREE_FORM):
                quiet = task.get("diff") is False or task.get("no_log") is True or secret
                line = f"{path.relative_to(ROOT)}: {task['name']} shows {', '.join(found)}"
                (hidden if quiet else shown).append(line)
    assert not shown, "\n".join(shown)
    # The search finds the tasks for which it was written.
    assert {line.split(": ")[0] for line in hidden} >= {
        "roles/airflow/tasks/process.yml",
        "roles/airflow_runtime/tasks/build.yml",
        "roles/backup/tasks/present.yml",
        "roles/postgres/tasks/main.yml",
    }


SECRETS = re.compile(r"password|passphrase|secret|fernet|token|credentials|broker_url")


def test_files_with_secrets_are_marked_and_are_no_arguments_of_a_task() -> None:
    """A callback plugin may write down the arguments of a task."""
    found = [(path, text, secret) for path, task in ALL_TASKS for text, secret in files_of(path, task)]
    hidden = {str(path.relative_to(ROOT)) for path, _text, secret in found if secret}
    assert hidden >= {
        f"roles/{name}.yml" for name in ("airflow/tasks/process", "redis/tasks/main", "backup/tasks/present")
    }
    for path, text, secret in found:
        assert not (secret and "content:" in text), path
        # Without the names of files, which are no secrets.
        read = re.sub(r"\w+_file\b", "", "\n".join(re.findall(r"{{(.*?)}}", text)))
        assert secret or not SECRETS.search(read), f"{path}: {read}"


def test_files_that_follow_each_other_are_one_task() -> None:
    """A module run costs a quarter of a second of CPU on each host, and another one for each element of a loop."""

    def writes(task: Mapping[str, Any]) -> bool:
        arguments = module_of(task, ("copy", "file", "template")) or {}
        # Not the controller's files. A link is none that the module `files` makes.
        return bool(arguments) and arguments.get("state", "file") in ("directory", "file") and "delegate_to" not in task

    lists = {path: yaml.safe_load(path.read_text()) for path in sorted(ROLES.glob("*/tasks/*.yml"))}
    pairs = [(path, before, task) for path, tasks in lists.items() for before, task in itertools.pairwise(tasks)]
    assert len(pairs) > 100
    assert [f"{path}: {task['name']}" for path, before, task in pairs if writes(before) and writes(task)] == []
    loops = [(path, task) for path, tasks in lists.items() for task in tasks if writes(task) and "loop" in task]
    assert [f"{path}: {task['name']}" for path, task in loops] == []


def test_no_environment_of_a_task_holds_a_value_that_a_user_supplies() -> None:
    """Ansible puts the environment of a task into the command line, which every user of the host can read."""
    computed = variables()
    assert [
        f"{path.relative_to(ROOT)}: {task['name']}"
        for path, task in ALL_TASKS
        if names_in(yaml.safe_dump(task.get("environment", "")), computed) & FREE_FORM
    ] == []


def test_no_command_line_holds_a_value_that_a_user_supplies() -> None:
    modules = ("command", "raw", "script", "shell")
    names = FREE_FORM - {"airflow_runtime_lock"}  # as an argument, the name of the file
    one_option = re.compile(r"\(airflow_config\.\w+ \| default\({}\)\)\.\w+")
    assert [
        f"{path.relative_to(ROOT)}: {task['name']}"
        for path, task in ALL_TASKS
        if (arguments := module_of(task, modules))
        and set(re.findall(r"\w+", one_option.sub("", str(arguments)))) & names
    ] == []


def test_packages_are_installed_in_one_place_and_only_if_one_is_missing() -> None:
    """The module apt updates its lists, and so needs a mirror, before it looks at what is installed."""
    # The updates of patch.yml come from a mirror. The controller's script has looked at what is missing.
    # Packages of a build are installed for a build only, and removed after it.
    apart = {
        "roles/uninstall/tasks/main.yml",
        "roles/airflow_runtime/tasks/build_packages.yml",
        "roles/airflow_runtime/tasks/remove_build_packages.yml",
        "roles/local_machines/tasks/controller.yml",
        "roles/patch/tasks/host.yml",
    }
    found = {
        str(path.relative_to(ROOT)): task for path, task in ALL_TASKS if module_of(task, ("apt", "package", "apt_key"))
    }
    assert set(found) - apart == {"roles/debian_packages/tasks/install.yml"}
    assert all(module_of(task, ("apt",))["lock_timeout"] == 600 for task in found.values())  # type: ignore[index]
    assert "when" in found["roles/debian_packages/tasks/install.yml"]


PLAYS = [
    (path, play)
    for path in sorted([ROOT / "site.yml", *ROOT.glob("playbooks/*.yml"), *ROOT.glob("molecule/*/*.yml")])
    for play in yaml.safe_load(path.read_text())
    if isinstance(play, dict) and "hosts" in play
]


def test_no_play_gathers_facts_by_default() -> None:
    """The default of Ansible is to gather all of them at the start of each play."""
    assert {path.name for path, _ in PLAYS} >= {"site.yml", "status.yml", "prepare.yml"}
    # The playbooks of scenario `roles` are such as a stranger writes.
    own = [(path, play) for path, play in PLAYS if path.parent.name != "roles"]
    assert [f"{path.name}: {play['name']}" for path, play in own if play.get("gather_facts") is not False] == []


def test_no_task_becomes_an_unprivileged_user() -> None:
    """Without pipelining, Ansible needs setfacl on the host for it; with a login as root it needs sudo."""
    found = [(path.name, play["name"]) for path, play in PLAYS if "become_user" in play or "remote_user" in play]
    found += [(path.name, task["name"]) for path, task in ALL_TASKS if "become_user" in task or "remote_user" in task]
    assert found == []


def test_a_host_has_the_record_of_its_components_before_the_first_package() -> None:
    # Else the preflight of a run after an interruption, and that of site.yml in a restore, refuses the host.
    [play] = yaml.safe_load((ROOT / "playbooks/packages.yml").read_text())
    [first, packages, install] = play["tasks"]
    assert first["ansible.builtin.import_role"]["tasks_from"] == "claim"
    assert packages["ansible.builtin.include_role"]["tasks_from"] == "packages"
    assert packages["vars"] == {"debian_packages_collect": True}
    assert install["ansible.builtin.include_role"]["name"] == "airflow_celery.cluster.debian_packages"
    for name in ("site.yml", "playbooks/restore.yml", "playbooks/rollback.yml"):
        imported = [
            Path(play.get("ansible.builtin.import_playbook", "")).name
            for play in yaml.safe_load((ROOT / name).read_text())
        ]
        assert imported.index("preflight.yml") < imported.index("packages.yml")


def test_packages_that_an_earlier_play_has_installed_are_not_looked_at_again() -> None:
    """``playbooks/packages.yml`` installs those of all parts; a role alone installs its own."""
    unconditional = {
        path.relative_to(ROLES).as_posix()
        for path, task in ALL_TASKS
        if (
            task.get("ansible.builtin.include_tasks") == "packages.yml"
            or (task.get("ansible.builtin.include_role") or {}).get("tasks_from") == "packages"
        )
        and path.is_relative_to(ROLES)
        and task.get("when") != "debian_packages_collected is not defined"
    }
    # An interrupted build has packages to remove, which the runtime may need by now.
    assert unconditional == {"airflow_runtime/tasks/main.yml"}


# Directories that a bare Debian does not have, and that no role makes for another one.
NOT_IN_DEBIAN = {"/etc/sysusers.d"}


def test_a_task_makes_the_directory_that_a_bare_debian_does_not_have() -> None:
    """A host has the roles of its groups alone, so another role's directory is not there."""
    seen = set()
    for path, task in ALL_TASKS:
        made = set()
        files = (task.get("airflow_celery.cluster.files") or {}).get("files", [])
        # Some files are a template.
        for file in (file for file in files if isinstance(file, dict)):
            if file.get("state") == "directory":
                made.add(file["dest"])
            folder = str(file["dest"]).rpartition("/")[0]
            if folder in NOT_IN_DEBIAN:
                seen.add(folder)
                assert folder in made, (path, file)
    assert seen == NOT_IN_DEBIAN
