"""All that the preflight asks of a machine, in one run.

Runs on hosts, for the module host_check: no syntax newer than Python 3.8.
"""

from __future__ import annotations

import glob
import os
import platform
import re
import secrets
import sys
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils import data_directories, host_state
from ansible_collections.airflow_celery.cluster.plugins.module_utils.host_state import finding, read
from ansible_collections.airflow_celery.cluster.plugins.module_utils.machine_checks import (
    check_disk,
    check_downgrade,
    check_firewalls,
    check_interpreter,
    check_locale,
    check_memory,
    check_packages,
    check_sandbox,
    check_system,
    sandbox_command,
    total_mb,
)
from ansible_collections.airflow_celery.cluster.plugins.module_utils.network_checks import (
    check_binds,
    check_network,
    check_ports,
    holders,
    listening_ports,
)

RELEASE_FILE = "/opt/airflow/current/release.json"


def examine(module: AnsibleModule) -> dict[str, Any]:
    """Return the findings, and what the report compares with other hosts. Changes nothing."""
    params = module.params
    found = check_system(
        read("/etc/os-release"), platform.machine(), sys.version_info[:3], os.path.isdir("/run/systemd/system")
    )
    if os.geteuid() != 0:
        found.append(
            finding(
                "become",
                f"user {os.geteuid()}",
                "root, by login or by sudo",
                "set become: true and, where sudo asks for a password, --ask-become-pass",
            )
        )
    found += check_memory(read("/proc/meminfo"), params["min_memory_mb"], params["min_memory_variable"])
    found += check_disk(params["disk_paths"], params["min_disk_mb"])
    found += check_downgrade(RELEASE_FILE, params["airflow_version"])

    def output_of(*command: str) -> str:
        # Not every machine has the program, and a very old one not the option; it only adds detail.
        if not module.get_bin_path(command[0]):
            return ""
        code, out, _error = module.run_command(list(command))
        return str(out) if code == 0 else ""

    sockets = output_of("ss", "--no-header", "--numeric", "--tcp", "--listening", "--processes", "--cgroup")

    def is_active(units: list[str]) -> bool:
        command = ("systemctl", "list-units", "--state=active", "--plain", "--no-legend")
        return bool(output_of(*command, *units).strip())

    tables = [read("/proc/net/tcp"), read("/proc/net/tcp6")]
    of_ports, held = check_ports(params["ports"], listening_ports(tables), holders(sockets), is_active)
    # A package starts its service on the loopback address. Until the cluster has configured it, others cannot connect.
    reachable = listening_ports(tables, loopback=False)
    found += check_interpreter(sys.executable, sys.path)
    found += check_locale(sys.getfilesystemencoding(), os.environ)
    found += check_binds(params["binds"])
    if params["sandbox"] and os.path.isdir("/run/systemd/system") and os.geteuid() == 0:
        code, _out, error = module.run_command(sandbox_command(params["sandbox"]))
        found += check_sandbox(code, error)
    if params["packages"] and glob.glob("/var/lib/apt/lists/*_Packages*"):
        packages = [entry["name"].split("=")[0] for entry in params["packages"]]
        found += check_packages(params["packages"], output_of("apt-cache", "policy", *packages))
    if params["firewall"]:
        known = check_firewalls(read("/etc/ufw/ufw.conf"), is_active(["firewalld.service"]))
        found += known or host_state.check_rules(
            output_of("nft", "--json", "list", "ruleset"),
            output_of("iptables", "-S", "INPUT"),
            os.path.exists(host_state.FIREWALL_FILE),
        )
    owned = host_state.own_components()
    account = params["account"] if params["account"] and host_state.has_account(params["account"]) else ""
    found += host_state.check_components(params["components"], params["take_over"], owned, account)
    found += host_state.check_files(params["components"], params["take_over"])
    found += data_directories.check_log_store(params["log_store"])
    if "postgres" in params["components"]:
        release = re.search(r'^VERSION_ID="?(\d+)', read("/etc/os-release"), re.MULTILINE)
        found += host_state.check_postgres_version(release.group(1) if release else "", owned)
        found += host_state.check_repository(params["repository"], params["restoring"])
        found += data_directories.check_repository_directory(params["repository"])
    of_network, refused, silent = check_network(params["endpoints"], params["names"], params["connect_timeout"])
    return {
        "findings": found + of_ports + of_network,
        "held": [port for port in held if port in reachable],
        "owned": owned,
        "identity": host_state.identity(secrets.token_hex(16)),
        "refused": refused,
        "silent": silent,
        "time": time.time(),
        # Read already, and under the name that Ansible's own fact has, whose subset takes a second or more to gather.
        "ansible_facts": {"memtotal_mb": total_mb(read("/proc/meminfo"))},
    }
