"""The rules for the certificates of an inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import Finding
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import check
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.certificates import (
    certificate_warnings,
    names_needed,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import Inventory
from certificate_maker import make
from sample_inventory import SECRETS, inventory, only

ROOT = make("Root", ca=True)
SERVER_NAMES = ["control1", "192.0.2.0", "127.0.0.1"]
SERVER = make("control1", ROOT, SERVER_NAMES, client=True)
# Each host sends its logs with a certificate of its own.
WORKERS = make("worker", ROOT, ["worker1", "worker2"], client=True)
OF_A_HOST = ("certificates_host_file", "certificates_host_key_file")
PASSPHRASE = SECRETS["certificates_ca_passphrase"]


@dataclass
class Files:
    """Files on the controller, by the variables that name them: those of all hosts, and those of control1."""

    directory: Path
    own: dict[str, str] = field(default_factory=dict)
    workers: dict[str, str] = field(default_factory=dict)

    def put(self, variable: str, content: bytes) -> Files:
        path = self.directory / variable
        path.write_bytes(content)
        self.own[variable] = str(path)
        return self

    def cluster(
        self, everywhere: Mapping[str, Any] | None = None, worker1: Mapping[str, Any] | None = None
    ) -> Inventory:
        own = self.own | dict(everywhere or {})
        control1 = {name: own.pop(name) for name in OF_A_HOST if name in own}
        workers = {"worker1": self.workers | dict(worker1 or {}), "worker2": self.workers}
        return inventory({"control1": control1, **workers}, None, own)

    def findings(self, everywhere: Mapping[str, Any] | None = None) -> list[Finding]:
        return check(self.cluster(everywhere))

    def warnings(self) -> list[str]:
        return certificate_warnings(self.cluster())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The files of a person who brings certificates, with nothing wrong in them."""
    made = Files(tmp_path).put("certificates_ca_file", ROOT.pem)
    for name, content in zip(OF_A_HOST, (WORKERS.pem, WORKERS.key_pem), strict=True):
        (tmp_path / f"workers-{name}").write_bytes(content)
        made.workers[name] = str(tmp_path / f"workers-{name}")
    return made.put("certificates_host_file", SERVER.pem).put("certificates_host_key_file", SERVER.key_pem)


def test_sound_certificates_have_no_finding_and_no_warning(files: Files) -> None:
    assert (files.findings(), files.warnings()) == ([], [])


def test_a_wrong_certificate_is_told_with_host_file_and_remedy(files: Files) -> None:
    expired = make("control1", ROOT, SERVER_NAMES, days=(-9, -1), client=True)
    files.put("certificates_host_file", expired.pem).put("certificates_host_key_file", expired.key_pem)
    found = only(files.findings())
    assert (found.where, found.variable) == ("host control1", "certificates_host_file")
    assert files.own["certificates_host_file"] in found.value
    assert f"expired on {expired.certificate.not_valid_after_utc:%Y-%m-%d}" in found.value
    # Who knows about it by a refusal needs no warning beside it.
    assert files.warnings() == []


def test_a_wrong_key_is_told_with_its_own_variable(files: Files) -> None:
    assert (
        only(files.put("certificates_host_key_file", ROOT.key_pem).findings()).variable == "certificates_host_key_file"
    )


@pytest.mark.parametrize("variable", ["certificates_ca_file", "certificates_host_file", "certificates_host_key_file"])
def test_a_file_that_is_not_there_is_told(files: Files, variable: str) -> None:
    Path(files.own[variable]).unlink()
    found = {item.value for item in files.findings() if item.variable == variable}
    assert found == {f"'{files.own[variable]}', No such file or directory"}


@pytest.mark.parametrize("variable", ["certificates_host_file", "certificates_host_key_file"])
def test_who_brings_an_authority_brings_certificates(files: Files, variable: str) -> None:
    del files.own[variable]
    found = only(files.findings())
    assert (found.where, found.variable, found.value) == ("host control1", variable, "not set")


def test_a_relative_path_is_refused(files: Files) -> None:
    found = only(files.findings({"certificates_host_file": "tls/control1.pem"}))
    assert (found.value, "{{ inventory_dir }}/" in found.remedy) == ("'tls/control1.pem'", True)


def test_certificates_without_their_authority_are_refused(files: Files) -> None:
    del files.own["certificates_ca_file"]
    found = {item.variable: item.expected for item in files.findings() if item.where == "host control1"}
    assert found.keys() == {"certificates_host_file", "certificates_host_key_file"}
    assert "certificates_ca_file beside it" in found["certificates_host_file"]


def test_one_authority_for_all(files: Files) -> None:
    (files.directory / "other.pem").write_bytes(ROOT.pem)
    found = check(files.cluster(worker1={"certificates_ca_file": str(files.directory / "other.pem")}))
    assert (only(found).where, only(found).variable) == ("host worker1", "certificates_ca_file")


EXPIRED = make("Old", ca=True, days=(-9, -1))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no certificate in PEM form"),
        (SERVER.pem, "CN=control1, which is no authority"),
        (ROOT.pem + SERVER.pem, "CN=control1, which is no authority"),
        (EXPIRED.pem, "CN=Old, expired on"),
        (make("New", ca=True, days=(1, 9)).pem, "CN=New, not valid before"),
    ],
)
def test_authorities_that_are_none(files: Files, content: bytes, told: str) -> None:
    found = [item for item in files.put("certificates_ca_file", content).findings() if "ca_file" in item.variable]
    # Every host trusts it, so every host is told.
    assert [item.where for item in found] == ["host control1", "host worker1", "host worker2"]
    assert all(told in item.value for item in found)


def test_an_authority_may_follow_an_expired_one(files: Files) -> None:
    assert files.put("certificates_ca_file", EXPIRED.pem + ROOT.pem).findings() == []


ON_HOSTS_OF_THEIR_OWN: dict[str, Sequence[str]] = {
    "postgres": ["db1"],
    "redis": ["broker1"],
    "airflow_api_server": ["api1"],
    "flower": ["flower1"],
    "control_plane": ["control1", "db1", "broker1", "api1", "flower1"],
    "airflow": ["control1", "api1", "flower1", "worker1", "worker2"],
}
BINDS = {"airflow_api_server_bind": "0.0.0.0", "airflow_flower_bind": "0.0.0.0"}


@pytest.mark.parametrize(
    ("host", "own", "names"),
    [
        ("db1", {}, {("192.0.2.3", False)}),
        ("db1", {"airflow_database_host": "db.example.org"}, {("db.example.org", False)}),
        ("db1", {"airflow_address": "db1.example.org"}, {("db1.example.org", False)}),
        ("broker1", {}, {("192.0.2.1", False)}),
        ("control1", {}, {("192.0.2.2", False), ("127.0.0.1", False)}),
        ("control1", {"haproxy_bind": "192.0.2.2"}, {("192.0.2.2", False)}),
        ("api1", {"airflow_api_server_bind": "10.0.0.1"}, {("10.0.0.1", False)}),
        ("api1", {}, {("127.0.0.1", False)}),
        ("api1", {"airflow_api_server_bind": "127.0.0.1"}, set()),
        ("flower1", {}, {("127.0.0.1", False)}),
        ("flower1", {"airflow_flower_bind": "127.0.0.1"}, set()),
        ("worker1", {}, set()),
    ],
)
def test_the_names_by_which_services_are_connected_to(
    host: str, own: dict[str, Any], names: set[tuple[str, bool]]
) -> None:
    several = inventory({host: own}, ON_HOSTS_OF_THEIR_OWN, BINDS)
    # The inventory name, which is in the configuration of the other hosts' log shippers.
    expected = names | {(host, True)}
    assert {(need.name, need.haproxy) for need in names_needed(several, several.hosts[host])} == expected


def test_a_name_that_is_missing_is_told_with_who_needs_it(files: Files) -> None:
    bare = make("x", ROOT, ["192.0.2.0"], client=True)
    files.put("certificates_host_file", bare.pem).put("certificates_host_key_file", bare.key_pem)
    found = only(files.findings(BINDS))
    assert found.value.endswith("without control1, 127.0.0.1")
    assert "control1 as a DNS name, for the log shippers and log stores of the other hosts" in found.expected


def test_a_worker_needs_a_certificate_for_its_logs(files: Files) -> None:
    files.workers.clear()
    found = [(item.where, item.variable) for item in files.findings()]
    assert found == [(f"host {host}", name) for host in ("worker1", "worker2") for name in OF_A_HOST]


def test_a_certificate_for_servers_alone_is_told(files: Files) -> None:
    alone = make("control1", ROOT, SERVER_NAMES)
    files.put("certificates_host_file", alone.pem).put("certificates_host_key_file", alone.key_pem)
    found = only(files.findings())
    assert found.value.endswith("CN=control1 is not for clients")
    assert "clientAuth" in found.expected


# The public certificate
@pytest.fixture
def public(tmp_path: Path) -> Files:
    """A public certificate; who signed it and for which name is nobody's business here."""
    made = make("airflow.example.org")
    return Files(tmp_path).put("haproxy_certificate_file", made.pem).put("haproxy_certificate_key_file", made.key_pem)


def test_a_public_certificate_is_looked_at(public: Files) -> None:
    assert (public.findings(), public.warnings()) == ([], [])
    found = only(public.put("haproxy_certificate_key_file", SERVER.key_pem).findings())
    assert (found.where, found.variable) == ("host control1", "haproxy_certificate_key_file")
    expired = make("airflow.example.org", days=(-9, -1))
    public.put("haproxy_certificate_file", expired.pem).put("haproxy_certificate_key_file", expired.key_pem)
    assert "expired on" in only(public.findings()).value


@pytest.mark.parametrize("variable", ["haproxy_certificate_file", "haproxy_certificate_key_file"])
def test_a_public_certificate_is_there(public: Files, variable: str) -> None:
    Path(public.own[variable]).unlink()
    assert only(public.findings()).variable == variable


def test_a_public_certificate_has_a_key(public: Files) -> None:
    del public.own["haproxy_certificate_key_file"]
    assert (only(public.findings()).variable, only(public.findings()).value) == (
        "haproxy_certificate_key_file",
        "not set",
    )


# Soon
def test_what_expires_soon_is_a_warning(files: Files) -> None:
    soon = make("control1", ROOT, SERVER_NAMES, days=(-300, 29), client=True)
    files.put("certificates_host_file", soon.pem).put("certificates_host_key_file", soon.key_pem)
    files.put("haproxy_certificate_file", soon.pem).put("haproxy_certificate_key_file", soon.key_pem)
    assert files.findings() == []
    own, public = files.warnings()
    assert own.startswith(f"host control1: certificates_host_file = {files.own['certificates_host_file']}: CN=control1")
    assert f"expires on {soon.certificate.not_valid_after_utc:%Y-%m-%d}" in own
    assert public.startswith("host control1: haproxy_certificate_file = ")
    files.own["certificates_renew_days"] = "28"
    assert files.warnings() == []


def test_an_authority_that_expires_soon_is_a_warning(files: Files) -> None:
    root = make("Root", ca=True, days=(-300, 29))
    server = make("control1", root, SERVER_NAMES, client=True)
    files.put("certificates_ca_file", root.pem + ROOT.pem)
    files.put("certificates_host_file", server.pem).put("certificates_host_key_file", server.key_pem)
    assert files.findings() == []
    assert ["CN=Root expires on" in told for told in files.warnings()] == [True]


def test_what_debian_13_will_refuse_is_a_warning(files: Files) -> None:
    bare = make("control1", ROOT, SERVER_NAMES, identifiers=False, client=True)
    files.put("certificates_host_file", bare.pem).put("certificates_host_key_file", bare.key_pem)
    assert files.findings() == []
    assert ["no authorityKeyIdentifier" in told and "Debian 13" in told for told in files.warnings()] == [True]


# The authority that the cluster makes
def authority(directory: Path, certificate: bytes | None, key: bytes | None) -> list[Finding]:
    for name, content in (("ca.pem", certificate), ("ca.key", key)):
        if content is not None:
            (directory / name).write_bytes(content)
    return check(inventory(everywhere={"certificates_dir": str(directory)}))


@pytest.mark.parametrize(
    ("certificate", "key"),
    [(None, None), (None, ROOT.encrypted_key(PASSPHRASE)), (ROOT.pem, ROOT.encrypted_key(PASSPHRASE))],
    ids=["none yet", "an interrupted run", "both"],
)
def test_an_authority_that_a_run_can_use(tmp_path: Path, certificate: bytes | None, key: bytes | None) -> None:
    assert authority(tmp_path, certificate, key) == []


SOON = make("Root", ca=True, days=(-300, 29))
AUTHORITIES: list[tuple[str, bytes, bytes | None, str, str, str]] = [
    ("key lost", ROOT.pem, None, "certificates_dir", "ca.pem without ca.key", "bring the old ca.key back"),
    (
        "another passphrase",
        ROOT.pem,
        ROOT.encrypted_key("hunter22"),
        "certificates_ca_passphrase",
        "a key that the passphrase does not open",
        "set the passphrase that it had",
    ),
    (
        "no passphrase",
        ROOT.pem,
        ROOT.key_pem,
        "certificates_ca_passphrase",
        "a key without a passphrase",
        "openssl pkey",
    ),
    (
        "key of another one",
        ROOT.pem,
        SOON.encrypted_key(PASSPHRASE),
        "certificates_dir",
        "ca.pem for another key than ca.key",
        "bring the old ca.key back",
    ),
    ("no certificate", b"", ROOT.encrypted_key(PASSPHRASE), "certificates_dir", "no certificate", "remove it and run"),
    ("expired", EXPIRED.pem, EXPIRED.encrypted_key(PASSPHRASE), "certificates_dir", "expired on", "move ca.pem away"),
    ("soon", SOON.pem, SOON.encrypted_key(PASSPHRASE), "certificates_dir", "ca.pem expires on", "move ca.pem away"),
]


@pytest.mark.parametrize("row", AUTHORITIES, ids=lambda row: row[0])
def test_an_authority_that_a_run_cannot_use(
    tmp_path: Path, row: tuple[str, bytes, bytes | None, str, str, str]
) -> None:
    _, certificate, key, variable, value, remedy = row
    found = only(authority(tmp_path, certificate, key))
    assert (found.where, found.variable) == ("controller", variable)
    assert value in found.value
    assert remedy in found.remedy
    assert PASSPHRASE not in f"{found}"


def test_the_passphrase_of_any_host_is_tried(tmp_path: Path) -> None:
    assert authority(tmp_path, ROOT.pem, ROOT.encrypted_key("hunter22")) != []
    unknown: dict[str, Any] = {"certificates_ca_passphrase": ...}
    # The first host of this cluster is a worker.
    cluster = inventory(
        {"a-worker": unknown, "worker1": unknown, "worker2": unknown},
        {"airflow_worker": ["a-worker", "worker1"], "airflow": ["a-worker", "control1", "worker1"]},
        {"certificates_dir": str(tmp_path)},
    )
    found = [item for item in check(cluster) if item.where == "controller"]
    assert only(found).variable == "certificates_ca_passphrase"


def test_a_passphrase_that_is_being_rotated_may_be_the_old_one(tmp_path: Path) -> None:
    rotating = {"airflow_secrets_previous": {"certificates_ca_passphrase": "the old one"}}
    for passphrase, findings in (("the old one", 0), (PASSPHRASE, 0), ("another one", 1)):
        (tmp_path / "ca.pem").write_bytes(ROOT.pem)
        (tmp_path / "ca.key").write_bytes(ROOT.encrypted_key(passphrase))
        cluster = inventory(everywhere={"certificates_dir": str(tmp_path)} | rotating)
        assert len(check(cluster)) == findings, passphrase


def test_there_is_one_authority_at_one_place(tmp_path: Path) -> None:
    found = only(check(inventory({"worker1": {"certificates_dir": str(tmp_path)}}, None, {"certificates_dir": "/x"})))
    assert (found.where, found.variable) == ("host worker1", "certificates_dir")
    assert only(check(inventory(everywhere={"certificates_dir": "pki"}))).expected.startswith("an absolute path")


def test_an_authority_of_an_inventory_that_brings_another_is_nobodys_business(files: Files) -> None:
    (files.directory / "ca.pem").write_bytes(EXPIRED.pem)
    assert files.findings({"certificates_dir": str(files.directory)}) == []
