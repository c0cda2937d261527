"""Compare the identity of a cluster that a host was deployed with to the one that the controller has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.module_utils.host_state import digest, finding
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import certificate_check as tls
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command

BRING_BACK = "bring it back: inventory.tar.gz of the last backup has it (docs/operations/backup.md)"
CONSENT = (
    "if the hosts belong to another cluster, use other hosts; to give this cluster a new identity, run with "
    "-e preflight_new_identity=true"
)
# A URL of the inventory's own holds its own password.
URLS: Mapping[str, str] = {
    "airflow_broker_password": "airflow_broker_url",
    "airflow_database_password": "airflow_database_url",
    "airflow_results_password": "airflow_result_backend",
}
# docs/operations/backup.md: the passphrase of a repository stays.
PASSPHRASE = "backup_passphrase"


def accepted_values(name: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the values of a secret that a host may have been deployed with, those of a rotation included."""
    values = [variables.get(name)]
    for rotating in ("airflow_secrets_next", "airflow_secrets_previous"):
        secrets = variables.get(rotating)
        values.append(secrets.get(name) if isinstance(secrets, Mapping) else None)
    # A Fernet key may be several, separated by commas.
    return [part.strip() for value in values if value for part in [str(value), *str(value).split(",")]]


def identity_problems(
    expected: Mapping[str, Any], deployed: Mapping[str, Any], variables: Mapping[str, Any], restoring: bool
) -> list[dict[str, str]]:
    """Return findings for an authority and for secrets of a host that are not those of the controller.

    :param expected: as in the plan of the machine.
    :param deployed: as host_state.identity returns it.
    :param variables: variables of the host.
    :param restoring: whether the run sets all secrets anew, as those of the inventory are.
    """
    found = _authority(expected, str(deployed.get("authority", "")))
    if restoring:
        return found

    def known(name: str, value: str) -> bool:
        return value in {digest(str(deployed["salt"]), one) for one in accepted_values(name, variables)}

    for name, value in sorted(deployed.get("secrets", {}).items()):
        if not variables.get(name) or URLS.get(name, "") in variables or known(name, value):
            continue
        if name == PASSPHRASE and deployed.get("repository") != expected.get("repository"):
            continue
        change = (
            "for a new one set backup_repository to another directory"
            if name == PASSPHRASE
            else f"for a new one run {command('rotate_secrets')}"
        )
        found.append(
            finding(
                name,
                "(hidden), not the one that this host was deployed with",
                "the deployed secret: the secrets file is another one, or was made anew",
                f"{BRING_BACK}; {change}; {CONSENT}",
            )
        )
    broker = deployed.get("broker") or {}
    name = "airflow_broker_password"
    # A worker that missed a rotation has a former password, and still its broker.
    brokers = expected.get("brokers", ())
    if broker and broker["host"] not in brokers and variables.get(name) and not known(name, broker["password"]):
        found.append(
            finding(
                "cluster of the worker",
                f"one with the broker {broker['host']}",
                f"none, or this cluster, with the broker {', '.join(brokers)}",
                f"remove the host from the other cluster (docs/operations/workers.md#remove); {CONSENT}",
            )
        )
    return found


def _authority(expected: Mapping[str, Any], text: str) -> list[dict[str, str]]:
    if not text or expected.get("authorities") is None:
        return []
    try:
        trusted = tls.load_certificates(text.encode())
    except tls.Unusable:
        # A run writes the file anew.
        return []
    here = list(expected["authorities"])
    if {tls.key_digest(one.public_key()) for one in trusted} & set(here):
        return []
    what = "another authority" if here else "no authority"
    return [
        finding(
            str(expected["authority_variable"]),
            f"{str(expected['authority_path'])!r}, {what}",
            f"the authority that this host trusts ({tls.named(trusted[0])}, valid until "
            f"{tls.day(trusted[0].not_valid_after_utc)}): with another one no service would accept the others",
            f"{BRING_BACK}; {CONSENT}",
        )
    ]
