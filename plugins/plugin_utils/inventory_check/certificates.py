"""Rules for certificates and authorities."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import addresses, topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import certificate_check as tls
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.commands import command
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import UNSET, Finding, show
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    Host,
    Inventory,
    text_of,
)

CA_FILE, CA_DIR = "certificates_ca_file", "certificates_dir"
HOST_FILE, HOST_KEY_FILE = "certificates_host_file", "certificates_host_key_file"
PUBLIC_FILE, PUBLIC_KEY_FILE = "haproxy_certificate_file", "haproxy_certificate_key_file"


def check_certificates(inventory: Inventory) -> Iterator[Finding]:
    """Certificates that a person brings are fit for their services, and so is the authority that the cluster has made.

    Those that the cluster's own authority signs are renewed by each run and need no look.
    """
    seen: set[str] = set()
    for host in inventory.cluster:
        if not inventory.sound(host, CA_FILE, CA_DIR, HOST_FILE, HOST_KEY_FILE, "certificates_renew_days"):
            continue
        path = text_of(host, CA_FILE)
        needs = names_needed(inventory, host)
        authorities = None
        if path:
            data, problem = read_file(inventory, host, CA_FILE)
            if data is not None:
                authorities, problem = authorities_of(data, path, inventory.now)
            if problem:
                yield Finding(f"host {host.name}", CA_FILE, *problem)
            yield from _served(inventory, host, HOST_FILE, HOST_KEY_FILE, needs, authorities)
        else:
            for name in (HOST_FILE, HOST_KEY_FILE):
                if text_of(host, name):
                    yield Finding(
                        f"host {host.name}",
                        name,
                        show(text_of(host, name)),
                        f"{CA_FILE} beside it; without it the cluster makes certificates itself and ignores this one",
                        f"set {CA_FILE} to the authorities that signed it, or remove {name}",
                    )
            directory = text_of(host, CA_DIR)
            if directory and directory not in seen:
                seen.add(directory)
                yield from _own_authority(inventory, host, directory)
    for host in inventory.members("haproxy"):
        if inventory.sound(host, PUBLIC_FILE, PUBLIC_KEY_FILE) and text_of(host, PUBLIC_FILE):
            yield from _served(inventory, host, PUBLIC_FILE, PUBLIC_KEY_FILE, (), None)


def check_service_authorities(inventory: Inventory) -> Iterator[Finding]:
    """The authorities of an external service are a file of certificates that may sign others."""
    for host in inventory.cluster:
        for external in topology.EXTERNAL.values():
            if not inventory.sound(host, external.ca_file) or not text_of(host, external.ca_file):
                continue
            data, problem = read_file(inventory, host, external.ca_file)
            if data is not None:
                _authorities, problem = authorities_of(
                    data, text_of(host, external.ca_file), inventory.now, external.ca_file
                )
            if problem:
                yield Finding(f"host {host.name}", external.ca_file, *problem)


def names_needed(inventory: Inventory, host: Host) -> list[tls.Need]:
    """Return the names by which the services of a host are connected to over TLS, each once."""
    found: dict[tuple[str, bool], tls.Need] = {}

    def add(name: str, who: str, haproxy: bool = False) -> None:
        found.setdefault((name, haproxy), tls.Need(name, who, haproxy))

    add(host.name, "the log shippers and log stores of the other hosts", haproxy=True)
    if "postgres" in host.groups:
        other_name = "airflow_database_host" in host.names and inventory.sound(host, "airflow_database_host")
        add(text_of(host, "airflow_database_host") if other_name else host.address, "the clients of PostgreSQL")
    if "redis" in host.groups:
        add(host.address, "the clients of Redis")
    if "haproxy" in host.groups:
        add(host.address, "the workers, at the Execution API")
        add(local_address_of(host, "haproxy_bind"), "the deployment, which waits for HAProxy on its host")
    for group, bind, service in (
        ("airflow_api_server", "airflow_api_server_bind", "the API server"),
        ("flower", "airflow_flower_bind", "Flower"),
    ):
        # On loopback they speak plain HTTP to the HAProxy beside them.
        if group in host.groups and inventory.sound(host, bind) and text_of(host, bind) not in ("", "127.0.0.1"):
            add(host.name, f"HAProxy, at {service}", haproxy=True)
            add(local_address_of(host, bind), f"the deployment, which waits for {service} on its host")
    return list(found.values())


def local_address_of(host: Host, bind: str) -> str:
    """Return the address at which site.yml waits for a service on the service's host."""
    value = host.get(bind, "0.0.0.0")
    return addresses.local_address(value if isinstance(value, list) else str(value))


FileProblem = tuple[str, str, str]


def read_file(inventory: Inventory, host: Host, variable: str) -> tuple[bytes | None, FileProblem | None]:
    """Return the content of the file that a variable names, or what is wrong with it: value, expected, remedy."""
    path = text_of(host, variable)
    remedy = f"set {variable} to the path of a PEM file on the controller"
    if not path:
        return None, (show(UNSET), "a PEM file on the controller", remedy)
    if not Path(path).is_absolute():
        # `copy` would look for it beside the role and the playbook, and not where a person stands.
        expected = "an absolute path, which means the same to every task"
        return None, (show(path), expected, f'start it with / or with "{{{{ inventory_dir }}}}/" in {variable}')
    try:
        return inventory.read(path), None
    except OSError as error:
        return None, (f"{show(path)}, {error.strerror or error}", "a file on the controller that can be read", remedy)


def authorities_of(
    data: bytes, path: str, now: datetime, variable: str = CA_FILE
) -> tuple[list[tls.x509.Certificate] | None, FileProblem | None]:
    """Return the authorities of a file, or what is wrong with it: value, expected, remedy."""
    try:
        found = tls.load_certificates(data)
    except tls.Unusable as error:
        return None, (f"{show(path)}, {error}", "authorities in PEM form", f"set {variable} to the right file")
    for certificate in found:
        if not tls.is_authority(certificate):
            return None, (
                f"{show(path)}, {tls.named(certificate)}, which is no authority",
                "certificates that may sign others (CA:TRUE, and keyCertSign if they have a key usage)",
                "remove it from the file; the authority that signed it belongs there",
            )
    # While one authority follows another both are in the file, and what hosts need of them their own chain tells.
    wrong = [tls.date_problem(certificate, now) for certificate in found]
    if all(wrong):
        return None, (
            f"{show(path)}, {tls.named(found[0])}, {wrong[0]}",
            f"an authority that is valid now, {tls.day(now)}",
            "put the authority's new certificate into the file",
        )
    return found, None


def _served(
    inventory: Inventory,
    host: Host,
    variable: str,
    key_variable: str,
    needs: Sequence[tls.Need],
    authorities: list[tls.x509.Certificate] | None,
) -> Iterator[Finding]:
    contents = []
    for name in (variable, key_variable):
        data, problem = read_file(inventory, host, name)
        if problem:
            yield Finding(f"host {host.name}", name, *problem)
        contents.append(data)
    certificate, key = contents
    if certificate is None or key is None:
        return
    for flaw in tls.server_flaws(certificate, key, inventory.now, needs, authorities, client=variable == HOST_FILE):
        name = key_variable if flaw.of_key else variable
        yield Finding(
            f"host {host.name}", name, f"{show(text_of(host, name))}, {flaw.value}", flaw.expected, flaw.remedy
        )


def _own_authority(inventory: Inventory, host: Host, directory: str) -> Iterator[Finding]:
    """Check the authority that role certificates has created and will use again."""
    if not Path(directory).is_absolute():
        expected = "an absolute path, which means the same to every task"
        yield Finding("controller", CA_DIR, show(directory), expected, f"start {CA_DIR} with /, or remove it")
        return
    contents: dict[str, bytes | None] = {}
    for name in ("ca.pem", "ca.key"):
        try:
            contents[name] = inventory.read(f"{directory}/{name}")
        except FileNotFoundError:
            contents[name] = None
        except OSError as error:
            contents[name] = None
            yield Finding(
                "controller",
                CA_DIR,
                f"{show(directory)}, {name}: {error.strerror or error}",
                "files that whoever runs the playbooks can read",
                f"correct owner and mode of {directory}/{name}",
            )
            return
    certificate_data, key_data = contents["ca.pem"], contents["ca.key"]
    another = (
        "bring the old ca.key back; or, for another authority, remove ca.pem as well and run "
        f"{command('site')} without --limit, with -e preflight_new_identity=true: "
        "until it ends, hosts that have the new one and hosts that have the old "
        "one do not believe each other"
    )
    if key_data is None:
        if certificate_data is not None:
            yield Finding(
                "controller",
                CA_DIR,
                f"{show(directory)}, ca.pem without ca.key",
                "both; without its key nothing can be signed, and a run would make another authority",
                another,
            )
        # With none of them the run makes both.
        return
    key = None
    # Not every host needs to know it.
    passphrases = (one.get("certificates_ca_passphrase") for one in inventory.cluster)
    passphrase = next((one for one in passphrases if isinstance(one, str) and one), None)
    if passphrase:
        # While it is being rotated, a run encrypts the key anew.
        previous = (one.get("airflow_secrets_previous") for one in inventory.cluster)
        olds = [
            one["certificates_ca_passphrase"]
            for one in previous
            if isinstance(one, dict) and "certificates_ca_passphrase" in one
        ]
        try:
            key = _key_of_authority(key_data, [passphrase, *olds[:1]])
        except tls.Unusable as error:
            yield Finding(
                "controller",
                "certificates_ca_passphrase",
                f"(hidden), and {directory}/ca.key is {error}",
                "the passphrase with which ca.key was encrypted",
                "set the passphrase that it had when the key was made; to change it, change that of the key as well: "
                "openssl pkey -in ca.key -aes256 -out NEW",
            )
    # An interrupted run leaves a key without a certificate; so does the renewal of an authority.
    if certificate_data is None:
        return
    try:
        certificate = tls.load_certificates(certificate_data)[0]
    except tls.Unusable as error:
        yield Finding(
            "controller",
            CA_DIR,
            f"{show(directory)}, ca.pem with {error}",
            "the authority's certificate",
            f"bring the old file back, or remove it and run {command('site')}, which makes a new one for the same "
            "ca.key",
        )
        return
    if key is not None and not tls.belongs(key, certificate):
        yield Finding(
            "controller",
            CA_DIR,
            f"{show(directory)}, ca.pem for another key than ca.key",
            "one authority; a run would make another one for this ca.key",
            another,
        )
    days = host.number("certificates_renew_days") or 0
    left = certificate.not_valid_after_utc - inventory.now
    wrong = tls.date_problem(certificate, inventory.now)
    if wrong or left <= timedelta(days=days):
        yield Finding(
            "controller",
            CA_DIR,
            f"{show(directory)}, ca.pem {wrong or f'expires on {tls.day(certificate.not_valid_after_utc)}'}",
            f"more than the {days} days of certificates_renew_days to its end; no run renews an authority by itself",
            f"keep {directory}/ca.key, move ca.pem away, and run {command('site')} without --limit: it makes a new "
            "certificate for the same key, what the authority has signed stays valid, and the services are restarted",
        )


def _key_of_authority(data: bytes, passphrases: list[str]) -> Any:
    """Return the key that the first fitting passphrase opens; raises Unusable with what is wrong with the first."""
    for passphrase in passphrases[1:]:
        with contextlib.suppress(tls.Unusable):
            return tls.load_key(data, passphrase)
    return tls.load_key(data, passphrases[0])


def certificate_warnings(inventory: Inventory) -> list[str]:
    """Return what will be wrong soon, or on a newer Debian, with certificates that a person brings.

    To be asked after ``check``. What is wrong already is no matter of a warning.
    """
    found: list[str] = []
    for host in inventory.cluster:
        days = host.number("certificates_renew_days")
        brought = []
        if text_of(host, CA_FILE):
            brought.append(HOST_FILE)
        if "haproxy" in host.groups and text_of(host, PUBLIC_FILE):
            brought.append(PUBLIC_FILE)
        for variable in brought:
            data, _problem = read_file(inventory, host, variable)
            trusted, _problem = read_file(inventory, host, CA_FILE) if variable == HOST_FILE else (None, None)
            try:
                chain = tls.load_certificates(data or b"")
                if trusted:
                    chain, _problem = tls.find_chain(chain, tls.load_certificates(trusted), inventory.now)
                    found += [
                        f"host {host.name}: {variable} = {text_of(host, variable)}: {lack}, which Python 3.13 on "
                        "Debian 13 does not accept"
                        for lack in tls.lacks(chain)
                    ]
            except tls.Unusable:
                continue
            for certificate in chain:
                left = certificate.not_valid_after_utc - inventory.now
                if days is not None and timedelta() <= left <= timedelta(days=days):
                    found.append(
                        f"host {host.name}: {variable} = {text_of(host, variable)}: {tls.named(certificate)} expires "
                        f"on {tls.day(certificate.not_valid_after_utc)}, in {left.days} days; replace it, "
                        f"and run {command('site')}"
                    )
    return found
