"""Airflow reads each value of ``airflow_config`` from ``airflow.cfg`` as the inventory has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_inventory import PROJECT, Cluster, ad_hoc
from testinfra.host import Host

pytestmark = pytest.mark.same_everywhere

# As in a file of the inventory, for the template of role airflow.
VARIABLES = r"""
airflow_process: scheduler
airflow_process_config: {}
__airflow_base_config: {}
__airflow_failover_config: {}
airflow_config:
  arrival:
    lines: |
      airflow.*
      my.*
    gap: "first\n\n\nthird"
    second_line: "\nsecond"
    section: "[core]\n[core]"
    options: "one = 1\ntwo: 2"
    comment: "# first line"
    comment_inside: "a # b ; c"
    percent: 100%
    interpolation: "%(here)s %% %"
    braces: ${a:b}
    quotes: '"x"'
    other_quotes: "'quoted'"
    characters: "Zürich 東京 \u2028 x"
    template: !unsafe "{{ not_a_template }} {% raw %}"
    empty: ""
    nothing:
    truth: true
    number: 1.5
    date: 2026-11-27
    list: ["a\nb", "# c", " d "]
    mapping: {c: null, a: {b: "50%\n"}}
    last: last
"""
ARRIVED = {
    "lines": "airflow.*\nmy.*",
    "gap": "first\n\n\nthird",
    "second_line": "\nsecond",
    "section": "[core]\n[core]",
    "options": "one = 1\ntwo: 2",
    "comment": "# first line",
    "comment_inside": "a # b ; c",
    "percent": "100%",
    "interpolation": "%(here)s %% %",
    "braces": "${a:b}",
    "quotes": '"x"',
    "other_quotes": "'quoted'",
    "characters": "Zürich 東京 \u2028 x",
    "template": "{{ not_a_template }} {% raw %}",
    "empty": "",
    "nothing": "",
    "truth": "True",
    "number": "1.5",
    "date": "2026-11-27",
    "list": r'["a\nb", "# c", " d "]',
    "mapping": r'{"a": {"b": "50%\n"}, "c": null}',
    "last": "last",
}
READ = """
import json, sys
from airflow.configuration import conf
print(json.dumps({option: conf.get("arrival", option) for option in sys.argv[1:]}))
"""


def test_airflow_reads_each_value_as_the_inventory_has_it(
    cluster: Cluster, connect: Callable[[str], Host], tmp_path: Path
) -> None:
    name = cluster.first("airflow_scheduler")
    host = connect(name)
    folder = host.check_output("mktemp -d")
    (tmp_path / "variables.yml").write_text(VARIABLES, encoding="utf-8")
    template = {
        "src": f"{PROJECT}/roles/airflow/templates/airflow.cfg.j2",
        "dest": f"{folder}/airflow.cfg",
        "mode": "0600",
    }
    variables = ("--become", "--extra-vars", f"@{tmp_path}/variables.yml")
    ad_hoc(cluster.options, name, "ansible.builtin.template", template, *variables)
    shown = host.check_output(
        f"env AIRFLOW_HOME={folder} AIRFLOW_CONFIG={folder}/airflow.cfg /opt/airflow/current/bin/python -c %s "
        + " ".join(ARRIVED),
        READ,
    )
    host.check_output(f"rm -r {folder}")
    assert json.loads(shown.splitlines()[-1]) == ARRIVED
