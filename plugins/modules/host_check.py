#!/usr/bin/python
"""Check a machine before it is changed."""

# Says what a machine with an older Python lacks, so it must run there: no syntax newer than Python 3.8.
from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_check
short_description: Check whether a machine meets the requirements of its part of the cluster
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Reads, and changes nothing. One run answers every question that the preflight has about a machine.
  - Does not fail on a finding, so that the findings of all machines can be told together.
  - The clock is compared by the action plugin of this name, which knows the controller's time before and after. It also
    compares what the inventory gives to the parts of the cluster with the machine's memory.
options:
  min_memory_mb:
    description: Memory in MB that the machine must have.
    type: int
    default: 0
  min_memory_variable:
    description: Variable that I(min_memory_mb) comes from, to be named in a finding.
    type: str
    default: preflight_min_memory_mb
  min_disk_mb:
    description: Space in MB that must be free on the file systems of I(disk_paths).
    type: int
    default: 0
  disk_paths:
    description: Where space is needed. For a path that does not exist, its nearest parent that does.
    type: list
    elements: path
    default: [/opt, /var/lib]
  max_clock_offset:
    description: Seconds by which the machine's clock may differ from the controller's.
    type: int
    default: 5
  airflow_version:
    description: Airflow version to install; a newer one on the machine is a finding. Empty for none.
    type: str
    default: ""
  ports:
    description: TCP ports that processes of the cluster will listen on.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      variable:
        description: Variable that says so.
        type: str
        required: true
      units:
        description: systemd units that may hold it already, as patterns.
        type: list
        elements: str
        default: []
  endpoints:
    description: Services that this machine will connect to.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Host name or address.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        required: true
      variable:
        description: Variable that says so.
        type: str
        required: true
      host:
        description: Inventory name of the host behind the address, if there is one.
        type: str
        default: ""
      filtered:
        description:
          - Whether that host has the cluster's firewall, which may not know this machine yet. Silence is no finding
            then.
        type: bool
        default: false
  names:
    description: Names that this machine must be able to resolve.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Host name or address.
        type: str
        required: true
      host:
        description: Inventory name of the host behind it.
        type: str
        required: true
  firewall:
    description: Whether the cluster keeps a firewall on this machine. Another one that is active is a finding then.
    type: bool
    default: false
  packages:
    description:
      - Debian packages that will be installed. A name that the package lists of the machine do not have is a finding,
        unless the machine has no lists yet.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the package, with C(:ARCHITECTURE) or C(=VERSION) if the inventory says so.
        type: str
        required: true
      variable:
        description: Variable that says so.
        type: str
        required: true
  components:
    description:
      - Components that the cluster installs on this machine. One that something else has installed is a finding.
      - Known are C(postgres), C(backup), C(redis), C(haproxy) and C(airflow).
    type: list
    elements: str
    choices: [postgres, backup, redis, haproxy, airflow]
    default: []
  binds:
    description: Addresses that services of this machine will listen on.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable that says so.
        type: str
        required: true
      addresses:
        description: Addresses to listen on.
        type: list
        elements: str
        required: true
      reached:
        description: Name or address at which clients connect. Empty for loopback.
        type: str
        default: ""
  sandbox:
    description:
      - Settings of a systemd unit as C(NAME=VALUE), which systemd must be able to apply. A transient unit that runs
        C(true) tries them.
    type: list
    elements: str
    default: []
  take_over:
    description: Components that the cluster may take over although something else has installed them.
    type: list
    elements: str
    default: []
  account:
    description: User that the cluster creates for Airflow; with I(components) C(airflow).
    type: str
    default: ""
  repository:
    description:
      - Directory of the backups. Empty for none. One that holds files of another application is a finding.
    type: str
    default: ""
  log_store:
    description:
      - Directory of the log store. Empty for none. One that holds files of another application is a finding.
    type: str
    default: ""
  restoring:
    description: Whether the run restores the database from I(repository).
    type: bool
    default: false
  identity:
    description:
      - What the controller has of the cluster's identity. The action plugin compares the deployed identity with it.
      - Empty for no comparison.
    type: dict
    default: {}
  connect_timeout:
    description: Seconds after which an attempt to connect is given up.
    type: int
    default: 5
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check the machine
  airflow_celery.cluster.host_check:
    min_memory_mb: 1800
    min_disk_mb: 2000
    ports:
      - port: 20514
        variable: log_store_port
        units: [airflow-log-store.service]
    endpoints:
      - address: control1
        port: 6379
        variable: airflow_broker_url
        host: control1
"""

RETURN = r"""
findings:
  description: What is wrong with the machine.
  returned: always
  type: list
  elements: dict
  contains:
    variable:
      description: Variable or property of the machine.
      type: str
    value:
      description: What it is.
      type: str
    expected:
      description: What would be right.
      type: str
    remedy:
      description: How to get there.
      type: str
    about:
      description: Inventory name of another host that the finding is about, if any.
      type: str
held:
  description: Ports of I(ports) that the cluster's own units hold already, at an address that other hosts can reach.
  returned: always
  type: list
  elements: int
identity:
  description: >-
    What the machine was deployed with: the text of the authority that it trusts, salted digests of the secrets of the
    control plane, and the broker of the worker.
  returned: always
  type: dict
owned:
  description: Components that this project has installed on the machine.
  returned: always
  type: list
  elements: str
refused:
  description: Entries of I(endpoints) whose host answered, but where nothing listens.
  returned: always
  type: list
  elements: dict
ansible_facts:
  description: The fact C(memtotal_mb).
  returned: always
  type: dict
silent:
  description: Entries of I(endpoints) that are I(filtered), and did not answer.
  returned: always
  type: list
  elements: dict
time:
  description: The machine's clock, in seconds since the epoch.
  returned: always
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.host_examination import examine


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "min_memory_mb": {"type": "int", "default": 0},
            "min_memory_variable": {"type": "str", "default": "preflight_min_memory_mb"},
            "min_disk_mb": {"type": "int", "default": 0},
            "disk_paths": {"type": "list", "elements": "path", "default": ["/opt", "/var/lib"]},
            "max_clock_offset": {"type": "int", "default": 5},
            "airflow_version": {"type": "str", "default": ""},
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "port": {"type": "int", "required": True},
                    "variable": {"type": "str", "required": True},
                    "units": {"type": "list", "elements": "str", "default": []},
                },
            },
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "variable": {"type": "str", "required": True},
                    "host": {"type": "str", "default": ""},
                    "filtered": {"type": "bool", "default": False},
                },
            },
            "names": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "address": {"type": "str", "required": True},
                    "host": {"type": "str", "required": True},
                },
            },
            "firewall": {"type": "bool", "default": False},
            "packages": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "variable": {"type": "str", "required": True},
                },
            },
            "components": {
                "type": "list",
                "elements": "str",
                "choices": ["postgres", "backup", "redis", "haproxy", "airflow"],
                "default": [],
            },
            "binds": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "variable": {"type": "str", "required": True},
                    "addresses": {"type": "list", "elements": "str", "required": True},
                    "reached": {"type": "str", "default": ""},
                },
            },
            "sandbox": {"type": "list", "elements": "str", "default": []},
            "take_over": {"type": "list", "elements": "str", "default": []},
            "account": {"type": "str", "default": ""},
            "repository": {"type": "str", "default": ""},
            "log_store": {"type": "str", "default": ""},
            "restoring": {"type": "bool", "default": False},
            "identity": {"type": "dict", "default": {}},
            "connect_timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **examine(module))


if __name__ == "__main__":
    main()
