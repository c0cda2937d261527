#!/usr/bin/python
"""Wait until every component of a cluster is healthy, as Airflow's REST API says."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.airflow_api import (
    TRANSIENT,
    Api,
    Late,
    Refused,
    wait,
)

DOCUMENTATION = r"""
---
module: cluster_health
short_description: Wait until every component of the cluster is healthy
version_added: 0.1.0
author: The airflow-celery-cluster maintainers
description:
  - >-
    Reads the health of metadata database, scheduler, DAG processor and triggerer from an API server on the same host.
    Fails if one of them is not healthy in time, and names the component and its state.
options:
  url:
    description: Where an API server listens.
    type: str
    required: true
  ca_file:
    description: PEM file with the authorities that may sign the certificate of an C(https) O(url).
    type: path
  timeout:
    description: Seconds to wait.
    type: int
    default: 120
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Wait for a healthy cluster
  airflow_celery.cluster.cluster_health:
    url: http://127.0.0.1:8081
"""

RETURN = r""" # """


def main() -> None:
    """Wait, and fail with the component that is not healthy."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "ca_file": {"type": "path"},
            "timeout": {"type": "int", "default": 120},
        }
    )
    given = module.params
    api = Api(given["url"], "", "", given["ca_file"])

    def healthy() -> bool:
        others = {name: state for name, state in api.health().items() if state != "healthy"}
        if others:
            raise OSError(", ".join(f"{name} is {state}" for name, state in others.items()))
        return True

    try:
        wait(healthy, "cluster healthy", given["timeout"])
    except (Refused, Late, *TRANSIENT) as error:
        module.fail_json(msg=f"{given['url']}: {error}")
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
