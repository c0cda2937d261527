"""The preflight's filters. Each is documented in the YAML file that bears its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding, report

HEADING = "Host {host} is refused, {{count}} {{noun}}. {outcome}"


def machine_report(
    hostvars: Mapping[str, Mapping[str, Any]],
    host: str,
    variable: str,
    reachable: Collection[str],
    outcome: str = "No machine was changed.",
    also: str = "",
    also_host: str = "",
) -> str:
    """Return what is wrong with a machine as text, or "" for nothing.

    :param variable: name of the variable in which every host has the result of host_check.
    :param reachable: hosts of the play that are not dead.
    :param outcome: what the refusal means for the machines.
    :param also: name of a variable with a result of host_check from another host, for the cluster as a whole.
    :param also_host: that other host.
    """
    result = hostvars[host][variable]
    if result.get("failed"):
        reason = " ".join(str(result.get("msg", "")).split())
        findings = [
            Finding(
                f"host {host}",
                "the check of the machine",
                f"not run: {reason}",
                "Python 3.11 or newer at ansible_python_interpreter, and root by login or sudo",
                "install python3, or correct ansible_python_interpreter, become or --ask-become-pass",
            )
        ]
        return report(findings, HEADING.format(host=host, outcome=outcome))
    findings = [
        Finding(f"host {host}", item["variable"], item["value"], item["expected"], item["remedy"])
        for item in result.get("findings", ())
        # Ansible names a dead host itself, and a dead host must not stop the others.
        if not item.get("about") or item["about"] in reachable
    ]
    findings += [
        Finding(f"host {also_host}", item["variable"], item["value"], item["expected"], item["remedy"])
        for item in hostvars[host].get(also, {}).get("findings", ())
    ]
    for entry in result.get("refused", ()):
        other = hostvars[entry["host"]].get(variable, {}) if entry["host"] in reachable else {}
        if entry["port"] in other.get("held", ()):
            findings.append(
                Finding(
                    f"host {host}",
                    str(entry["variable"]),
                    f"{entry['address']}:{entry['port']}, connection refused",
                    f"a connection: the service runs on {entry['host']}",
                    f"let it listen on {entry['address']} (its *_bind or postgres_listen_addresses), or open the port "
                    f"in the firewall of {entry['host']}",
                )
            )
    return report(findings, HEADING.format(host=host, outcome=outcome))


class FilterModule:
    """The preflight's filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"machine_report": machine_report}
