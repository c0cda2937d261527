#!/usr/bin/python
"""Documentation of an action plugin: see plugins/action/validate_inventory.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: validate_inventory
short_description: Check the whole inventory before any machine is touched
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Runs on the controller and connects to no host. Run it once, with C(run_once).
  - Always looks at the whole inventory, under C(--limit) too, because what is wrong with one host concerns the others.
  - >-
    Looks for missing and empty groups, hosts in groups that exclude each other, unknown variables with the prefixes of
    this collection, wrong types, choices, ranges and forms (by the argument specs of all roles), values that differ
    between hosts and must not, ports that collide, missing and weak secrets, certificates that are
    expired or do not fit (C(docs/certificates.md)), and sections and options of
    C(airflow_config) that Airflow does not know.
  - Warns of certificates that a person has brought and that expire soon.
  - Looks for the programs that the run needs on the controller, and refuses passwords that they cannot use.
  - Fails once, with everything that it found.
options:
  steps:
    description:
      - >-
        Steps of the playbook that need programs on the controller, besides those that connect to the hosts:
        C(backup_copies) for copies of backups on the controller, C(log_copies) for copies of logs between the log
        stores, C(runtime) for the build of the runtime.
    type: list
    elements: str
    choices: [backup_copies, log_copies, runtime]
    default: []
attributes:
  action:
    description: Whether an action plugin runs the module on the controller.
    support: full
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Validate the inventory
  airflow_celery.cluster.validate_inventory:
    steps: [runtime]
  run_once: true
  register: preflight
"""

RETURN = r"""
msg:
  description: Everything that is wrong, as text.
  returned: failure
  type: str
machines:
  description: For each host of the play what M(airflow_celery.cluster.host_check) is to look at on it.
  returned: success
  type: dict
"""
