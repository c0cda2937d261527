#!/usr/bin/python
"""Documentation of an action plugin: see plugins/action/rotate_secrets.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: rotate_secrets
short_description: Apply one step of a rotation to the secrets file
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Runs on the controller and connects to no host. Run it once, with C(run_once), and load the file again afterwards.
  - Each step is one write of C(group_vars/all/secrets.yml) beside the inventory. A step that is done is not done again,
    and a rotation that was begun is finished before another one begins, whatever O(names) says.
  - An encrypted file stays encrypted. Never returns a value.
options:
  inventory_dir:
    description: Directory of the inventory.
    type: path
    required: true
  step:
    description:
      - V(begin) puts new values into C(airflow_secrets_next).
      - V(switch) makes them the present values, and keeps the old ones in C(airflow_secrets_previous).
      - V(retire) removes the old ones.
    type: str
    required: true
    choices: [begin, switch, retire]
  names:
    description: Secrets to rotate, or V(all). Only O(step=begin) reads it.
    type: list
    elements: str
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
- name: Make a new broker password beside the present one
  airflow_celery.cluster.rotate_secrets:
    inventory_dir: "{{ inventory_dir }}"
    step: begin
    names: [airflow_broker_password]
  run_once: true
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
resumed:
  description: Whether O(step=begin) found an interrupted rotation, and continues it.
  returned: success
  type: bool
rotating:
  description: Names of the secrets that are being rotated.
  returned: success
  type: list
  elements: str
"""
