"""Each playbook has a check mode, or refuses it before anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
REFUSAL = "refuse_check_mode"
# Their steps predict the change without the results of steps that check mode skips.
# A playbook that is added is here, or it refuses.
SUPPORTED = {
    # site.yml, its parts, and what it imports
    *("site", "preflight", "validate_inventory", "packages", "firewall", "logs", "postgres", "dags", "next_steps"),
    *("status", "secrets", "drain_worker", "undrain_worker", "patch"),
}
BOOKS: dict[str, list[dict[str, Any]]] = {
    path.stem: yaml.safe_load(path.read_text()) for path in ROOT.glob("playbooks/*.yml") if path.stem != REFUSAL
}


def refuses(entries: list[dict[str, Any]]) -> bool:
    """Return whether a playbook begins with the refusal, and says what to use instead."""
    first = entries[0]
    is_refusal = first.get("ansible.builtin.import_playbook") == f"{REFUSAL}.yml"
    return is_refusal and bool(first["vars"]["__check_mode_instead"])


def test_each_playbook_supports_check_mode_or_refuses_it_first() -> None:
    assert {name for name, entries in BOOKS.items() if not refuses(entries)} == SUPPORTED


def test_no_tag_skips_the_refusal() -> None:
    [play] = yaml.safe_load((ROOT / f"playbooks/{REFUSAL}.yml").read_text())
    assert play["tags"] == ["always"]
    [refusal] = play["tasks"]
    assert refusal["when"] == "ansible_check_mode"


def test_no_playbook_with_a_check_mode_imports_one_without() -> None:
    imports = {
        Path(str(entry["ansible.builtin.import_playbook"])).stem
        for name in SUPPORTED
        for entry in BOOKS[name]
        if "ansible.builtin.import_playbook" in entry
    }
    assert imports & (BOOKS.keys() - SUPPORTED) == set()
