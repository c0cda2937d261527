#!/usr/bin/python
"""Documentation of an action plugin: see plugins/action/cluster_status_report.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cluster_status_report
short_description: Report the state of a cluster
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Runs on the controller and connects to no host. Reads what the plays before it registered on each host as
    C(cluster_status), C(cluster_status_clock) and C(cluster_status_probe), prints the report, and fails when the
    cluster is not healthy.
options:
  output:
    description: What is printed. C(json) is one line that begins with C({).
    type: str
    choices: [text, json]
    default: text
  path:
    description: File of the controller into which the JSON is written, too.
    type: path
  max_disk_percent:
    description: Used share of a file system from which on its host is unhealthy.
    type: float
    default: 90
  min_certificate_days:
    description: Days that a certificate must still be valid.
    type: float
    default: 14
  max_clock_offset:
    description: Seconds that a host's clock may be off the controller's.
    type: float
    default: 5
  max_backup_days:
    description: Days since the end of the last backup from which on its host is unhealthy.
    type: float
    default: 2
attributes:
  action:
    description: Whether an action plugin runs the module on the controller.
    support: full
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Report
  airflow_celery.cluster.cluster_status_report:
    output: json
"""

RETURN = r"""
healthy:
  description: Whether the report has no reason why not.
  returned: always
  type: bool
"""
