#!/usr/bin/python
"""Wait until an API server calls every component of the cluster healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cluster_health
short_description: Wait until the cluster is healthy
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Asks an API server for the state of metadata database, scheduler, triggerer and DAG processor until each is healthy.
  - Runs on a host with an API server and speaks to it over loopback, so the controller needs SSH and nothing else.
    Needs no user of Airflow.
options:
  url:
    description: Where an API server listens.
    type: str
    required: true
  ca_file:
    description: PEM file with the authorities that may sign the certificate of an C(https) O(url).
    type: path
  timeout:
    description: Seconds to wait. Then the task fails.
    type: int
    default: 120
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Wait for a healthy cluster
  airflow_celery.cluster.cluster_health:
    url: http://127.0.0.1:8081
    timeout: 300
"""

RETURN = r"""
components:
  description: State of each component.
  returned: success
  type: dict
"""

import http.client
import json
import ssl
import time
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule

HEALTH = "/api/v2/monitor/health"
TRANSIENT = (OSError, http.client.HTTPException, json.JSONDecodeError, KeyError, TypeError, AttributeError)


def states(answer: Any) -> dict[str, str]:
    """Return the state of each component: the request answers 200 even when one is unhealthy."""
    return {str(name): str(part["status"]) for name, part in answer.items()}


def main() -> None:
    """Poll until all components are healthy."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "ca_file": {"type": "path"},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    given = module.params
    url = given["url"].rstrip("/") + HEALTH
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=given["ca_file"]))
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls).open
    deadline = time.monotonic() + given["timeout"]
    while True:
        try:
            with ask(url, timeout=30) as answer:
                found = states(json.loads(answer.read()))
            ill = ", ".join(f"{name} is {state}" for name, state in found.items() if state != "healthy")
            if not ill:
                module.exit_json(changed=False, components=found)
        except TRANSIENT as error:
            ill = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            module.fail_json(msg=f"{url}: the cluster is not healthy after {given['timeout']} s: {ill}")
        time.sleep(0.5)  # paces the asking; what is waited for is the answer


if __name__ == "__main__":
    main()
