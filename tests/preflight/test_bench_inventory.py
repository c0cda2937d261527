"""The inventories of `make bench`: the preflight accepts each number of workers that is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from bench import deploy, site

from .conftest import Play


@pytest.mark.parametrize("workers", [deploy.WORKERS, *(number + 1 for number in deploy.ADDED_TO)])
def test_the_inventory_of_the_benchmark_is_accepted(
    play: Play, secrets: dict[str, str], tmp_path: Path, workers: int
) -> None:
    one = site.Site(tmp_path)
    one.prepare(workers)
    (one.inventory / "group_vars/all/secrets.yml").write_text(yaml.safe_dump(secrets))
    run = play("validate_inventory.yml", one.inventory)
    assert run.status == 0, run.refusal
