"""Certificates that no run could use are refused before any machine is touched, by our playbooks for real."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from certificate_maker import Made, make
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from .conftest import PROJECT, Draft, Play

Sound = Callable[[], Draft]
ROOT = make("Root", ca=True)
NAMES = ["control1", "192.0.2.10", "127.0.0.1"]
SERVER = make("control1", ROOT, NAMES, client=True)
WORKERS = make("workers", ROOT, ["worker1", "worker2", "worker3"], client=True)


def bring(draft: Draft, directory: Path, server: Made) -> None:
    """Have an inventory bring certificates, with its files beside it."""
    contents = {"ca": ROOT.pem, "control1": server.pem, "key": server.key_pem}
    contents |= {"workers": WORKERS.pem, "workers-key": WORKERS.key_pem}
    for name, content in contents.items():
        (directory / f"{name}.pem").write_bytes(content)
    for host in ("worker1", "worker2", "worker3"):
        draft.host(host).update(
            certificates_host_file="{{ inventory_dir }}/../workers.pem",
            certificates_host_key_file="{{ inventory_dir }}/../workers-key.pem",
        )
    draft.everywhere["certificates_ca_file"] = "{{ inventory_dir }}/../ca.pem"
    draft.host("control1").update(
        certificates_host_file="{{ inventory_dir }}/../{{ inventory_hostname }}.pem",
        certificates_host_key_file="{{ inventory_dir }}/../key.pem",
    )


def test_an_expired_certificate_stops_the_whole_site(play: Play, sound: Sound, tmp_path: Path) -> None:
    draft = sound()
    expired = make("control1", ROOT, NAMES, days=(-9, -1), client=True)
    bring(draft, tmp_path, expired)
    run = play("site.yml", draft.write(tmp_path / "inventory"))
    assert run.status != 0
    (found,) = run.findings
    assert "host control1: certificates_host_file = " in found
    assert f"control1.pem', expired on {expired.certificate.not_valid_after_utc:%Y-%m-%d}" in found
    assert "fix: get a new certificate" in found
    assert [result["host"] for result in run.results if result.get("unreachable")] == []
    assert [play["play"]["name"] for play in run.plays if play["tasks"]] == ["Inventory"]


def test_every_other_mistake_is_told_together(play: Play, sound: Sound, tmp_path: Path) -> None:
    draft = sound()
    bring(draft, tmp_path, make("control1", make("Other", ca=True), ["control1", "192.0.2.10"], client=True))
    (tmp_path / "key.pem").write_bytes(SERVER.encrypted_key("hunter22"))
    draft.everywhere["haproxy_certificate_file"] = str(tmp_path / "nothing.pem")
    run = play("validate_inventory.yml", draft.write(tmp_path / "inventory"))
    assert run.status != 0
    pieces = (
        ("certificates_host_key_file", "a key with a passphrase", "openssl pkey"),
        ("certificates_host_file", "CN=Other, which is in neither file", "add the intermediate certificates"),
        ("certificates_host_file", "without 127.0.0.1", "subject alternative names"),
        ("haproxy_certificate_file", "No such file or directory", "set haproxy_certificate_file"),
        ("haproxy_certificate_key_file", "not set", "set haproxy_certificate_key_file"),
    )
    for row in pieces:
        assert len([found for found in run.findings if all(piece in found for piece in row)]) == 1, run.refusal
    assert len(run.findings) == len(pieces)


def test_sound_certificates_pass_with_a_key_that_ansible_vault_encrypted(
    play: Play, sound: Sound, tmp_path: Path
) -> None:
    draft = sound()
    bring(draft, tmp_path, SERVER)
    (tmp_path / "vault").write_text("hunter22\n")
    subprocess.run(
        [
            Path(sys.executable).parent / "ansible-vault",
            "encrypt",
            tmp_path / "key.pem",
            "--vault-password-file",
            tmp_path / "vault",
        ],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    inventory = draft.write(tmp_path / "inventory")
    run = play("validate_inventory.yml", inventory, "--vault-password-file", str(tmp_path / "vault"))
    assert (run.refusal, run.status) == ("", 0)
    closed = play("validate_inventory.yml", inventory)
    assert "encrypted with ansible-vault, and no password opens it" in closed.refusal


def test_a_certificate_that_expires_soon_is_a_warning(play: Play, sound: Sound, tmp_path: Path) -> None:
    draft = sound()
    soon = make("control1", ROOT, NAMES, days=(-9, 29), client=True)
    bring(draft, tmp_path, soon)
    run = play("validate_inventory.yml", draft.write(tmp_path / "inventory"), readable=False)
    assert run.status == 0
    told = " ".join(run.output.split())
    assert "[WARNING]: host control1: certificates_host_file = " in told
    assert f"expires on {soon.certificate.not_valid_after_utc:%Y-%m-%d}" in told


def test_api_servers_on_a_host_of_their_own_need_names(play: Play, sound: Sound, tmp_path: Path) -> None:
    draft = sound()
    bring(draft, tmp_path, SERVER)
    draft.layout["all"]["hosts"]["api1"] = {"ansible_host": "192.0.2.11"}
    draft.group("airflow_api_server")["airflow_api_server"] = {"hosts": {"api1": {}}}
    api = make("api", ROOT, ["192.0.2.11"], client=True)
    (tmp_path / "api1.pem").write_bytes(api.pem)
    (tmp_path / "api1.key").write_bytes(api.key_pem)
    draft.host("api1").update(
        certificates_host_file=str(tmp_path / "api1.pem"), certificates_host_key_file=str(tmp_path / "api1.key")
    )
    run = play("validate_inventory.yml", draft.write(tmp_path / "inventory"))
    (found,) = run.findings
    assert "host api1: certificates_host_file" in found
    assert "without api1, 127.0.0.1" in found


# --- The authority that the cluster makes -----------------------------------------------------------------------------
@pytest.fixture
def make_authority(tmp_path: Path) -> Callable[[str], None]:
    """Return a function that has role certificates make the authority below a directory, or keep it."""
    book = tmp_path / "authority.yml"
    role = {"name": "airflow_celery.cluster.certificates", "tasks_from": "authority"}
    book.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "localhost",
                    "connection": "local",
                    "gather_facts": False,
                    "tasks": [{"name": "Make the authority", "ansible.builtin.include_role": role}],
                }
            ]
        )
    )

    def run(passphrase: str) -> None:
        subprocess.run(
            [
                Path(sys.executable).parent / "ansible-playbook",
                *("-i", "localhost,", book),
                *(
                    "-e",
                    f"certificates_dir={tmp_path}/inventory/.pki",
                    "-e",
                    f"certificates_ca_passphrase={passphrase}",
                ),
            ],
            cwd=PROJECT,
            check=True,
            capture_output=True,
        )

    return run


def test_an_authority_near_its_end_is_refused_and_renewed_as_the_refusal_says(
    play: Play, sound: Sound, tmp_path: Path, make_authority: Callable[[str], None]
) -> None:
    draft = sound()
    inventory, directory = draft.write(tmp_path / "inventory"), tmp_path / "inventory" / ".pki"
    make_authority(draft.secrets["certificates_ca_passphrase"])
    assert play("validate_inventory.yml", inventory).status == 0
    made = (directory / "ca.pem").read_bytes()

    refused = play("validate_inventory.yml", inventory, "-e", "certificates_renew_days=3651")
    (found,) = refused.findings
    assert "controller: certificates_dir = " in found
    assert "ca.pem expires on" in found
    assert f"keep {directory}/ca.key, move ca.pem away" in found

    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(signed_by(directory, draft.secrets["certificates_ca_passphrase"]).pem)
    (directory / "ca.pem").unlink()
    assert play("validate_inventory.yml", inventory).status == 0
    make_authority(draft.secrets["certificates_ca_passphrase"])
    assert (directory / "ca.pem").read_bytes() != made
    # What the authority signed before is believed by those who have its new certificate, and the other way round.
    verified = ["openssl", "verify", "-x509_strict", "-CAfile"]
    subprocess.run([*verified, directory / "ca.pem", leaf], check=True, capture_output=True)
    (tmp_path / "old.pem").write_bytes(made)
    leaf.write_bytes(signed_by(directory, draft.secrets["certificates_ca_passphrase"]).pem)
    subprocess.run([*verified, tmp_path / "old.pem", leaf], check=True, capture_output=True)


def signed_by(directory: Path, passphrase: str) -> Made:
    """Make a certificate that the authority in a directory has signed."""
    certificate = load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    key = load_pem_private_key((directory / "ca.key").read_bytes(), passphrase.encode())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return make("control1", Made(certificate, key), NAMES)


def test_another_passphrase_is_refused_and_not_told(
    play: Play, sound: Sound, tmp_path: Path, make_authority: Callable[[str], None]
) -> None:
    draft = sound()
    inventory = draft.write(tmp_path / "inventory")
    make_authority("hunter22hunter22")
    run = play("validate_inventory.yml", inventory)
    (found,) = run.findings
    assert "controller: certificates_ca_passphrase = (hidden)" in found
    assert draft.secrets["certificates_ca_passphrase"] not in run.output


def test_an_authority_without_its_key_is_refused(
    play: Play, sound: Sound, tmp_path: Path, make_authority: Callable[[str], None]
) -> None:
    draft = sound()
    inventory = draft.write(tmp_path / "inventory")
    make_authority(draft.secrets["certificates_ca_passphrase"])
    (inventory / ".pki" / "ca.key").unlink()
    (found,) = play("validate_inventory.yml", inventory).findings
    assert "ca.pem without ca.key" in found
    assert "bring the old ca.key back" in found
