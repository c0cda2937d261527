"""Check a whole inventory on the controller, before any machine is touched.

Nothing here knows Ansible's objects: an inventory is groups and, for each host, its variables, so that every rule
can be tested by itself. Each module has the rules of one subject.
"""

from __future__ import annotations

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.backups import (
    check_data_directories,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.capacity import (
    check_connections,
    check_failover,
    check_memory,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.certificates import (
    check_certificates,
    check_service_authorities,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.configuration import (
    check_airflow_config,
    check_config_packages,
    check_task_logs,
    check_webserver_config,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.dags import (
    check_bundle_packages,
    check_dags,
    check_queues,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.external import check_external
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.groups import (
    check_exclusion,
    check_groups,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Inventory
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.names import check_names
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.network import (
    check_addresses,
    check_binds,
    check_ports,
    check_web_url,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.sandbox import check_sandbox
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.secrets import check_secrets
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.values import (
    check_objects,
    check_same_everywhere,
    check_values,
    check_worker_stop,
)


def check(inventory: Inventory) -> list[Finding]:
    """Return everything that is wrong with an inventory."""
    found: list[Finding] = []
    for rule in (
        check_groups,
        check_exclusion,
        check_names,
        check_values,
        check_same_everywhere,
        check_objects,
        check_worker_stop,
        check_addresses,
        check_ports,
        check_binds,
        check_web_url,
        check_secrets,
        check_external,
        check_certificates,
        check_service_authorities,
        check_dags,
        check_bundle_packages,
        check_data_directories,
        check_queues,
        check_airflow_config,
        check_config_packages,
        check_task_logs,
        check_webserver_config,
        check_failover,
        check_connections,
        check_memory,
        check_sandbox,
    ):
        found.extend(rule(inventory))
    return found
