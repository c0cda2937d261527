#!/usr/bin/python
"""Documentation of an action plugin: see plugins/action/clock_offset.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: clock_offset
short_description: Measure the offset of a host's clock from the controller's
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Asks the host for its time over the open connection, some times, and takes what they all agree on.
attributes:
  action:
    description: Whether an action plugin runs the module on the controller.
    support: full
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Measure the clock offset
  airflow_celery.cluster.clock_offset:
  register: clock
"""

RETURN = r"""
offset:
  description: Seconds by which the host is ahead of the controller.
  returned: success
  type: float
uncertainty:
  description: Seconds by which RV(offset) may be wrong.
  returned: success
  type: float
"""
