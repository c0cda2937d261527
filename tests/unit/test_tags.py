"""A run of site.yml with --tags has what its plays need, and no operation takes tags."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SITE: list[dict[str, Any]] = yaml.safe_load((ROOT / "site.yml").read_text())
ROLES = {path.name for path in ROOT.glob("roles/*")}
IMPORT = "ansible.builtin.import_playbook"
# Plays of no role of their own: units of parts that a host does not have any more, and the message at the end.
OTHER_TAGS = {"leftovers", "next_steps"}
# Facts of a play with a tag that another play reads: it does without the fact.
OPTIONAL = {
    "airflow_scheduler_has_slots": "the slots of added workers are set if the scheduler's play was left out",
    "airflow_not_deployed": "set by role airflow, in the same play",
}


def text_of(entry: dict[str, Any]) -> str:
    """Return a play, or what it imports, and the files of its roles, as text."""
    if IMPORT in entry:
        return "\n".join(
            text_of(play) for play in yaml.safe_load((ROOT / entry[IMPORT]).read_text()) if "hosts" in play
        )
    text = yaml.safe_dump(entry)
    for role in roles_of(entry):
        text += "\n".join(path.read_text() for path in (ROOT / "roles" / role).rglob("*.[yj]*") if path.is_file())
    return text


def roles_of(play: dict[str, Any]) -> set[str]:
    """Return the roles of a play, but for the one that all plays have."""
    return set(re.findall(r"airflow_celery\.cluster\.(\w+)", yaml.safe_dump(play))) & ROLES - {"airflow"}


def facts_of(text: str) -> set[str]:
    """Return the facts that tasks set."""
    return {
        name
        for _, block in re.findall(r"^( *)ansible\.builtin\.set_fact:\n((?:\1 +.*\n)+)", text, re.MULTILINE)
        for name in re.findall(r"^ +(\w+): ", block, re.MULTILINE)
    } | set(re.findall(r"^ *register: (\w+)", text, re.MULTILINE))


def missing(site: list[dict[str, Any]]) -> list[str]:
    """Return the facts that a run of one tag lacks."""
    found = []
    for number, provider in enumerate(site):
        if provider.get("tags") == ["always"]:
            continue
        facts = facts_of(text_of(provider)) - OPTIONAL.keys()
        for reader in site[number + 1 :]:
            if reader["tags"] != provider["tags"]:
                text = text_of(reader)
                used = {name for name in facts - facts_of(text) if re.search(rf"\b{name}\b", text)}
                found += [f"{reader['name']} reads {name} of {provider['name']}" for name in sorted(used)]
    return found


def test_every_play_has_the_names_of_its_roles_as_tags_or_runs_always() -> None:
    for entry in SITE:
        tags = entry.get("tags", [])
        assert tags, entry["name"]
        # --skip-tags with another tag would take the play from those that need it.
        assert tags == ["always"] or "always" not in tags, entry["name"]
        assert set(tags) <= ROLES | OTHER_TAGS | {"always"}, entry["name"]
        if IMPORT not in entry and set(tags).isdisjoint(OTHER_TAGS | {"always"}):
            assert set(tags) <= roles_of(entry) | {"airflow_worker"}, entry["name"]


def test_what_another_play_reads_is_set_always() -> None:
    assert missing(SITE) == []


def test_a_play_that_must_run_always_is_found() -> None:
    name = "Airflow runtime and DAGs"
    changed = [entry | {"tags": ["changed"]} if entry["name"] == name else entry for entry in SITE]
    assert f"Workers reads airflow_runtime_release of {name}" in missing(changed)


def test_what_leaves_files_for_all_others_runs_always() -> None:
    always = {entry["name"] for entry in SITE if entry["tags"] == ["always"]}
    assert always == {"Preflight", "Debian packages", "Certificate authority", "Airflow runtime and DAGs"}


def test_no_operation_takes_tags() -> None:
    """A part of an upgrade, a rollback, a restore or a rotation would leave the cluster in between."""
    found = []
    for path in ROOT.glob("playbooks/*.yml"):
        entries = yaml.safe_load(path.read_text())
        imports = [entry for entry in entries if str(entry.get(IMPORT)).endswith("../site.yml")]
        if path.stem != "site" and imports:
            found.append(path.stem)
            assert all(entry["vars"]["__refuse_tags"] for entry in imports), path
    assert sorted(found) == ["restore", "rollback", "rotate_secrets", "upgrade"]
