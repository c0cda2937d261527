#!/usr/bin/python
"""Ensure that declared objects of Airflow's metadata database are current."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: airflow_objects
short_description: Ensure that declared connections, variables, pools, roles and users of Airflow are current
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Creates, changes and removes objects in the metadata database of Airflow. Objects that are not declared stay as they
    are. An object is removed only if its declaration says C(state=absent).
  - Nothing is changed if one of the declarations cannot be applied.
  - The result and the difference of C(--diff) name objects and fields, and show no value.
  - Run it on a host with C(airflow-run) and the secrets of process C(database).
options:
  objects:
    description:
      - The declarations as JSON, with the keys C(connections), C(variables), C(pools), C(roles) and C(users).
      - Text, so that Ansible hides it as a whole. Single words of it, such as a host name, may be part of other output.
    type: str
    required: true
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
  diff_mode:
    description: Whether the module returns the difference in diff mode.
    support: full
"""

EXAMPLES = r"""
- name: Ensure the declared connections are current
  airflow_celery.cluster.airflow_objects:
    objects: "{{ {'connections': airflow_connections} | to_json }}"
"""

RETURN = r"""
changes:
  description: One line for each object that differed, with its fields.
  returned: always
  type: list
  elements: str
  sample: ["connection smtp_default: change host, password"]
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PROGRAM = ["/usr/local/sbin/airflow-run", "database", "airflow_celery_cluster.objects"]


def line(change: dict[str, Any]) -> str:
    """Return a change as a person reads it."""
    fields = ", ".join(change["fields"])
    return f"{change['kind']} {change['name']}: {change['action']}{' ' if fields else ''}{fields}"


def report_of(output: str) -> dict[str, Any] | None:
    """Return what the program reported in its last line, or None if it did not."""
    try:
        report = json.loads(output.strip().rpartition("\n")[2])
    except ValueError:
        return None
    return report if isinstance(report, dict) else None


def main() -> None:
    module = AnsibleModule(
        argument_spec={"objects": {"type": "str", "required": True, "no_log": True}}, supports_check_mode=True
    )
    command = PROGRAM + (["--check"] if module.check_mode else [])
    status, output, errors = module.run_command(command, data=module.params["objects"])
    report = report_of(output)
    if report is None:
        if module.check_mode and "No module named" in errors:
            module.exit_json(
                changed=True, changes=["not compared: the release on this host is older than the declarations"]
            )
        # Before its report the program has read no declaration.
        module.fail_json(msg=f"{' '.join(command)} ended with {status}: {errors.strip()[-500:]}")
        return
    if report["problems"]:
        module.fail_json(msg="Nothing was changed. " + "; ".join(report["problems"]) + ".")
    changes = [line(change) for change in report["changes"]]
    module.exit_json(
        changed=bool(changes), changes=changes, diff={"prepared": "".join(f"{text}\n" for text in changes)}
    )


if __name__ == "__main__":
    main()
