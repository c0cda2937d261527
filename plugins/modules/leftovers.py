#!/usr/bin/python
"""Find what a host has of the groups that it is not in."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: leftovers
short_description: Find units and files of the groups that a host is not in
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - An inventory group says on which hosts a part of the cluster runs. This module finds what a host still has of a part
    after the host has left the group. Reads, and changes nothing.
  - A unit of a Debian package is found only where the cluster has a drop-in for the unit. Data and logs are not found.
  - The configuration of pgBackRest and the users of Redis are found only where the cluster has installed the service.
options:
  groups:
    description: Groups that the host is in; C(airflow_scheduler[0]) for the first scheduler.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Find what belongs to other groups
  airflow_celery.cluster.leftovers:
    groups: "{{ group_names }}"
  register: leftovers
"""

RETURN = r"""
units:
  description: Units to stop and disable, in order.
  returned: always
  type: list
  elements: str
files:
  description: Files and directories to remove afterwards.
  returned: always
  type: list
  elements: str
"""

import glob

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.host_state import own_components
from ansible_collections.airflow_celery.cluster.plugins.module_utils.parts import (
    UNITS,
    emptied_directories,
    leftover_patterns,
    leftover_units,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"groups": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    groups = module.params["groups"]
    paths = [path for pattern in (f"{UNITS}/airflow-*", f"{UNITS}/*/airflow-*") for path in sorted(glob.glob(pattern))]
    units, files = leftover_units(paths, groups)
    patterns = leftover_patterns(groups, own_components())
    files += [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    module.exit_json(changed=False, units=units, files=files + emptied_directories(files))


if __name__ == "__main__":
    main()
