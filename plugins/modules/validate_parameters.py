#!/usr/bin/python
"""Documentation of an action plugin: see plugins/action/validate_parameters.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: validate_parameters
short_description: Check the parameters that a playbook is given
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Runs on the controller and connects to no host. Run it once, with C(run_once).
  - >-
    The parameters of a playbook of the collection are the variables with the prefix C(cluster_) that it reads.
    Refuses other extra variables with that prefix, extra variables that would be parameters with the prefix, and
    extra arguments that are not assigned to a variable. Other extra variables belong to the inventory.
  - Fails once, with everything that it found.
attributes:
  action:
    description: Whether an action plugin runs the module on the controller.
    support: full
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Validate the parameters
  airflow_celery.cluster.validate_parameters:
  run_once: true
"""

RETURN = r"""
msg:
  description: Everything that is wrong, as text.
  returned: failure
  type: str
"""
