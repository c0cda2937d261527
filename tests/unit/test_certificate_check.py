"""What is said of a certificate, and that OpenSSL, in the place of the services' clients, says the same."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import certificate_check as tls
from certificate_maker import NOW, Made, make
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NAMES = ("db.example.org", "192.0.2.10", "127.0.0.1")
ROOT = make("Root", ca=True)
OTHER_ROOT = make("Other root", ca=True)
# The same name and another key, as an authority that was made anew.
ROOT_AGAIN = make("Root", ca=True)
MIDDLE = make("Middle", ROOT, ca=True, path_length=0)
EXPIRED_ROOT = make("Old root", ca=True, days=(-100, -2))
NEW_ROOT = make("Root", ROOT, ca=True)
# One intermediate authority, certified three times.
MIDDLE_BEFORE = make("Middle", ROOT, ca=True, days=(-100, -2), key=MIDDLE.key)
MIDDLE_ELSEWHERE = make("Middle", OTHER_ROOT, ca=True, key=MIDDLE.key)
EXPIRED_MIDDLE = make("Old middle", ROOT, ca=True, days=(-100, -2))
NO_AUTHORITY = make("Somebody", ROOT, key_usage="key_cert_sign")
NO_SIGNER = make("Reader", ROOT, ca=True, key_usage="digital_signature")
SERVER = make("db", ROOT, NAMES)
BELOW = make("db", MIDDLE, NAMES)
BOTTOM = make("Bottom", MIDDLE, ca=True)
SELF_SIGNED = make("db", None, NAMES)


def handshake(certificate: bytes, key: bytes, authorities: bytes, name: str, directory: Path, strict: bool) -> str:
    """Return why OpenSSL as a client of a server with these files hangs up, or "" if it does not."""
    (directory / "server.pem").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(directory / "server.pem", directory / "server.key")
    asking = ssl.create_default_context(cadata=authorities.decode())
    # Python has other defaults from release to release: these are said.
    asking.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | (ssl.VERIFY_X509_STRICT if strict else 0)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(there, back, server_side=True)
    client = asking.wrap_bio(back, there, server_hostname=name)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    assert len(done) == 2
    return ""


@dataclass(frozen=True)
class Case:
    """A server's files, and what is wrong with them.

    :param said: a part of each flaw's value; none for files that are right.
    :param refused: a part of why OpenSSL hangs up; "" where it does not.
    """

    name: str
    server: Made
    file: Sequence[Made]
    authorities: Sequence[Made]
    said: tuple[str, ...] = ()
    refused: str = ""
    needs: tuple[str, ...] = ("db.example.org",)


CASES = [
    Case("signed by the root", SERVER, [SERVER], [ROOT]),
    Case("by address", SERVER, [SERVER], [ROOT], needs=("192.0.2.10",)),
    Case("signed below", BELOW, [BELOW, MIDDLE], [ROOT]),
    Case("signed below, the root as well", BELOW, [BELOW, MIDDLE, ROOT], [ROOT]),
    Case("intermediate among the authorities", BELOW, [BELOW], [ROOT, MIDDLE]),
    Case("an expired intermediate beside the right one", BELOW, [BELOW, MIDDLE_BEFORE, MIDDLE], [ROOT]),
    Case("an intermediate of two roots", BELOW, [BELOW, MIDDLE, MIDDLE_ELSEWHERE], [ROOT]),
    Case(
        "an intermediate of two roots, the other one first",
        BELOW,
        [BELOW, MIDDLE_ELSEWHERE, MIDDLE],
        [ROOT],
        ("CN=Middle was signed by CN=Other root",),
        "unable to get",
    ),
    Case(
        "a root with a new key, certified by the old one",
        (m := make("db", NEW_ROOT, NAMES)),
        [m, NEW_ROOT],
        [ROOT],
    ),
    Case("an expired authority beside the right one", SERVER, [SERVER], [EXPIRED_ROOT, ROOT]),
    Case("two authorities of one name", SERVER, [SERVER], [ROOT_AGAIN, ROOT]),
    Case("no key usage", (m := make("db", ROOT, NAMES, key_usage=None)), [m], [ROOT]),
    Case("wildcard", (m := make("db", ROOT, ["*.example.org"])), [m], [ROOT]),
    Case("no alternative name", (m := make("db.example.org", ROOT)), [m], [ROOT]),
    Case("expired", (m := make("db", ROOT, NAMES, days=(-9, -2))), [m], [ROOT], ("expired on 20",), "has expired"),
    Case(
        "not yet valid",
        (m := make("db", ROOT, NAMES, days=(2, 9))),
        [m],
        [ROOT],
        ("not valid before 20",),
        "not yet valid",
    ),
    Case("intermediate missing", BELOW, [BELOW], [ROOT], ("CN=Middle, which is in neither",), "unable to get"),
    Case("of another authority", SERVER, [SERVER], [OTHER_ROOT], ("CN=Root, which is in neither",), "unable to get"),
    Case(
        "of an authority of the same name",
        (m := make("db", ROOT, NAMES, identifiers=False)),
        [m],
        [make("Root", ca=True, identifiers=False)],
        ("another key than that of CN=Root",),
        "signature failure",
    ),
    Case("self-signed", SELF_SIGNED, [SELF_SIGNED], [ROOT], ("CN=db is no authority of",), "self"),
    Case("root unknown", BELOW, [BELOW, MIDDLE, ROOT], [OTHER_ROOT], ("CN=Root is no authority of",), "self"),
    Case("root missing", BELOW, [BELOW], [MIDDLE], ("CN=Root, which is in neither",), "unable to get issuer"),
    Case(
        "expired root",
        (m := make("db", EXPIRED_ROOT, NAMES)),
        [m],
        [EXPIRED_ROOT, ROOT],
        ("CN=Old root expired on 20",),
        "has expired",
    ),
    Case(
        "expired intermediate",
        (m := make("db", EXPIRED_MIDDLE, NAMES)),
        [m, EXPIRED_MIDDLE],
        [ROOT],
        ("CN=Old middle expired on 20",),
        "has expired",
    ),
    Case(
        "signed by a server",
        (m := make("db", NO_AUTHORITY, NAMES)),
        [m, NO_AUTHORITY],
        [ROOT],
        ("CN=Somebody may not sign",),
        "invalid CA",
    ),
    Case(
        "signed by who may not sign",
        (m := make("db", NO_SIGNER, NAMES)),
        [m, NO_SIGNER],
        [ROOT],
        ("CN=Reader may not sign",),
        "invalid CA",
    ),
    Case(
        "chain too long",
        (m := make("db", BOTTOM, NAMES)),
        [m, BOTTOM, MIDDLE],
        [ROOT],
        ("CN=Middle allows no more than 0",),
        "path length",
    ),
    Case("another name", SERVER, [SERVER], [ROOT], ("without other.example.org",), "mismatch", ("other.example.org",)),
    Case("another address", SERVER, [SERVER], [ROOT], ("without 192.0.2.11",), "mismatch", ("192.0.2.11",)),
    Case(
        "a name below a wildcard",
        (m := make("db", ROOT, ["*.example.org"])),
        [m],
        [ROOT],
        ("without a.b.example.org",),
        "mismatch",
        ("a.b.example.org",),
    ),
    Case(
        "a common name beside alternative ones",
        (m := make("db.example.org", ROOT, ["x.example.org"])),
        [m],
        [ROOT],
        ("without db.example.org",),
        "mismatch",
    ),
    Case(
        "for clients only",
        (m := make("db", ROOT, NAMES, client_only=True)),
        [m],
        [ROOT],
        ("CN=db is not for servers",),
        "purpose",
    ),
    Case(
        "for signing lists only",
        (m := make("db", ROOT, NAMES, key_usage="crl_sign")),
        [m],
        [ROOT],
        ("CN=db is not for servers",),
        "purpose",
    ),
]


def flaws_of(case: Case) -> list[tls.Flaw]:
    return tls.server_flaws(
        b"".join(made.pem for made in case.file),
        case.server.key_pem,
        NOW,
        [tls.Need(name, "clients") for name in case.needs],
        [made.certificate for made in case.authorities],
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_of_a_certificate(case: Case) -> None:
    found = flaws_of(case)
    assert [flaw.value for flaw in found if not any(piece in flaw.value for piece in case.said)] == []
    assert len(found) == len(case.said)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_client_sees_it_as_well(case: Case, tmp_path: Path) -> None:
    reason = handshake(
        b"".join(made.pem for made in case.file),
        case.server.key_pem,
        b"".join(made.pem for made in case.authorities),
        case.needs[0],
        tmp_path,
        strict=False,
    )
    assert case.refused in reason
    assert bool(reason) == bool(case.refused)


# --- Names that HAProxy looks for -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("made", "name", "right"),
    [
        (make("x", ROOT, ["api1"]), "api1", True),
        (make("api1", ROOT, ["x"]), "api1", True),
        (make("192.0.2.10", ROOT, ["192.0.2.10"]), "192.0.2.10", True),
        (make("x", ROOT, ["192.0.2.10"]), "192.0.2.10", False),
        (make("x", ROOT, ["API1.Example.org"]), "api1.example.org", True),
        (make("x", ROOT, ["api2"]), "api1", False),
    ],
)
def test_haproxy_looks_among_dns_names_and_the_common_name(made: Made, name: str, right: bool) -> None:
    assert tls.has_name(made.certificate, tls.Need(name, "HAProxy", haproxy=True)) is right


# --- Keys and files ---------------------------------------------------------------------------------------------------
def key_flaws(certificate: bytes, key: bytes) -> list[tls.Flaw]:
    return tls.server_flaws(certificate, key, NOW)


def test_a_key_belongs_to_the_first_certificate() -> None:
    assert key_flaws(BELOW.pem + MIDDLE.pem, BELOW.key_pem) == []
    for certificate, key in ((SERVER.pem, BELOW.key_pem), (MIDDLE.pem + BELOW.pem, BELOW.key_pem)):
        found, *_ = key_flaws(certificate, key)
        assert found.of_key
        assert "the key of another certificate" in found.value


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_a_key_with_a_passphrase_is_refused(form: serialization.PrivateFormat) -> None:
    data = SERVER.key.private_bytes(
        serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"hunter22")
    )
    (found,) = key_flaws(SERVER.pem, data)
    assert (found.of_key, found.value) == (True, "a key with a passphrase")
    assert "openssl pkey" in found.remedy


@pytest.mark.parametrize(
    "data",
    [b"", b"no key", SERVER.pem, SERVER.key_pem[:90]],
    ids=["nothing", "another text", "a certificate", "half of one"],
)
def test_what_is_no_key_is_refused(data: bytes) -> None:
    (found,) = key_flaws(SERVER.pem, data)
    assert (found.of_key, found.value) == (True, "no key in PEM form")


@pytest.mark.parametrize(
    "data", [b"", b"no certificate", SERVER.key_pem, SERVER.certificate.public_bytes(serialization.Encoding.DER)]
)
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    (found,) = key_flaws(data, SERVER.key_pem)
    assert (found.of_key, found.value) == (False, "no certificate in PEM form")


def test_what_is_a_certificate_only_in_form_is_refused() -> None:
    der = bytearray(SERVER.certificate.public_bytes(serialization.Encoding.DER))
    name = der.index(b"db.example.org")
    # Not a character of a DNS name.
    der[name] = 0xFF
    text = base64.encodebytes(bytes(der)).decode()
    pem = f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n".encode()
    (found,) = key_flaws(pem, SERVER.key_pem)
    assert "a certificate that cannot be read" in found.value


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=lambda key: type(key).__name__,
)
@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_keys_of_every_kind_and_form_are_read(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, form: serialization.PrivateFormat
) -> None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        form = serialization.PrivateFormat.PKCS8
    data = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    assert tls.load_key(data).public_key() == key.public_key()


def test_what_openssl_writes_before_a_key_is_no_matter() -> None:
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert tls.belongs(tls.load_key(parameters + SERVER.key_pem), SERVER.certificate)


def test_a_passphrase_opens_a_key_or_does_not() -> None:
    data = ROOT.encrypted_key("correct")
    assert tls.belongs(tls.load_key(data, "correct"), ROOT.certificate)
    with pytest.raises(tls.Unusable, match="does not open") as told:
        tls.load_key(data, "hunter22")
    assert "hunter22" not in str(told.value)
    with pytest.raises(tls.Unusable, match="a key without a passphrase"):
        tls.load_key(ROOT.key_pem, "correct")


# --- What a newer Python asks -----------------------------------------------------------------------------------------
BARE_ROOT = make("Bare", ca=True, identifiers=False)
STRICT = [
    ("nothing", SERVER, ROOT, []),
    (
        "identifier of the issuer's key",
        make("db", ROOT, NAMES, identifiers=False),
        ROOT,
        ["CN=db has no authorityKeyIdentifier"],
    ),
    (
        "identifier of its own key",
        make("db", BARE_ROOT, NAMES),
        BARE_ROOT,
        ["CN=Bare has no subjectKeyIdentifier"],
    ),
    (
        "critical constraints",
        make("db", (r := make("Lax", ca=True, critical=False)), NAMES),
        r,
        ["CN=Lax has basicConstraints that are not critical"],
    ),
    (
        "key usage",
        make("db", (r := make("Free", ca=True, key_usage=None)), NAMES),
        r,
        ["CN=Free has no keyUsage"],
    ),
]


@pytest.mark.parametrize(("lacking", "server", "root", "told"), STRICT, ids=[row[0] for row in STRICT])
def test_what_strict_verification_asks(lacking: str, server: Made, root: Made, told: list[str], tmp_path: Path) -> None:
    assert tls.lacks([server.certificate, root.certificate]) == told
    for strict in (False, True):
        reason = handshake(server.pem, server.key_pem, root.pem, "db.example.org", tmp_path, strict)
        assert bool(reason) == (strict and bool(told)), reason
