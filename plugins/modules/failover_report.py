#!/usr/bin/python
"""Documentation of an action plugin: see plugins/action/failover_report.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: failover_report
short_description: Report the results of a failover drill
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Runs on the controller and connects to no host. Reads the ledgers that the tasks of C(failover_load) kept, counts
    and measures, and writes a page of HTML that needs no other file.
options:
  path:
    description: Where the page is written. Its directory is made.
    type: path
    required: true
  ledgers:
    description: Lines of each worker's ledger, by inventory name.
    type: dict
    required: true
  clocks:
    description: Result of M(airflow_celery.cluster.clock_offset) of each worker, by inventory name.
    type: dict
    required: true
  worker:
    description: Inventory name of the worker that was cut off.
    type: str
    required: true
  tasks:
    description: How many tasks the load had.
    type: int
    required: true
  cut:
    description: When the worker was cut off, by its own clock.
    type: float
    required: true
  healed:
    description: When the cut ended, by its own clock.
    type: float
    required: true
  back:
    description: When the worker answered Celery's ping again, by its own clock. Without it, it did not.
    type: float
  run_id:
    description: The DAG run.
    type: str
    required: true
  run_state:
    description: How the DAG run ended.
    type: str
    required: true
  failover_seconds:
    description: C(airflow_failover_seconds); 0 where the failover tuning is off.
    type: int
    required: true
  retry_delay:
    description: C(airflow_default_task_retry_delay).
    type: int
    required: true
attributes:
  action:
    description: Whether an action plugin runs the module on the controller.
    support: full
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Report
  airflow_celery.cluster.failover_report:
    path: artifacts/failover-drill.html
    ledgers: {worker1: [], worker2: []}
    clocks: {worker1: {offset: 0.0, uncertainty: 0.001}, worker2: {offset: 0.0, uncertainty: 0.001}}
    worker: worker2
    tasks: 4
    cut: 1790000000.0
    healed: 1790000020.0
    run_id: manual
    run_state: success
    failover_seconds: 20
    retry_delay: 1
"""

RETURN = r"""
text:
  description: The report for a terminal, line by line.
  returned: success
  type: list
  elements: str
problems:
  description: Every promise that was broken, in words.
  returned: success
  type: list
  elements: str
path:
  description: The page.
  returned: success
  type: str
"""
