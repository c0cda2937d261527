#!/usr/bin/python
"""Documentation of an action plugin: see plugins/action/generate_secrets.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: generate_secrets
short_description: Generate the missing secrets of the inventory
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Runs on the controller and connects to no host. Run it once, with C(run_once).
  - Adds each secret that no host of the inventory has to C(group_vars/all/secrets.yml) beside the inventory, with mode
    0600, in one step. What is in the file stays as it is.
  - Encrypts the file with the first vault password of the run, or with that of C(--encrypt-vault-id).
  - Never returns a value.
options:
  inventory_dir:
    description: Directory of the inventory.
    type: path
    required: true
  plaintext:
    description: Write the file in clear. Without it, a run without vault password is refused.
    type: bool
    default: false
attributes:
  action:
    description: Whether an action plugin runs the module on the controller.
    support: full
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Generate the missing secrets
  airflow_celery.cluster.generate_secrets:
    inventory_dir: "{{ inventory_dir }}"
  run_once: true
"""

RETURN = r"""
path:
  description: The file.
  returned: always
  type: str
generated:
  description: Names of the secrets that were missing.
  returned: success
  type: list
  elements: str
encrypted:
  description: Whether the file is encrypted.
  returned: success
  type: bool
"""
