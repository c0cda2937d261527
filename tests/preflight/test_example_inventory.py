"""Every line of the example inventory can be used as it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import EXAMPLE, Draft, Play


@pytest.mark.parametrize("source", ["local", "git"])
def test_each_line_can_be_uncommented(play: Play, sound: Callable[[], Draft], tmp_path: Path, source: str) -> None:
    inventory = sound().write(tmp_path / "inventory/production")
    (tmp_path / "dags").mkdir()
    main = inventory / "group_vars/all/main.yml"
    text = (EXAMPLE / "group_vars/all/main.yml").read_text()
    uncommented = re.sub(r"^# ((?:[a-z]\w*_\w+:|  ).*)", r"\1", text, flags=re.MULTILINE)
    # Of a name that now occurs twice, the later line counts.
    vaulted = "".join(f"{name}: secret-of-a-vault\n" for name in sorted(set(re.findall(r"\bvault_\w+", uncommented))))
    main.write_text(uncommented + f"airflow_dags_source: {source}\n{vaulted}")
    done = play("validate_inventory.yml", inventory, readable=False)
    assert done.status == 0, done.output
    for name in ("airflow_address", "airflow_dags_git_url", "airflow_runtime_proxy_url"):
        assert f"\n{name}: " in uncommented
    # Ansible warns of the names that occur twice, and of nothing else.
    assert len(re.findall(r"WARNING", done.output)) == len(re.findall(r"duplicate", done.output, re.IGNORECASE))
