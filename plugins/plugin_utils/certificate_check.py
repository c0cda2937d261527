"""Whether certificates and keys are what the services and their clients need, found out from the files' bytes alone.

The answers are those that OpenSSL gives the services' clients; tests/unit/test_certificate_check.py asks both.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

# ansible-core depends on cryptography. Only ansible-test imports this file without it.
with contextlib.suppress(ImportError):
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Unusable(Exception):
    """A file does not hold what it should; the text says what it holds."""


@dataclass(frozen=True)
class Need:
    """A name that a certificate must have.

    :param name: host name or IP address.
    :param who: who connects by it, as text that follows "for".
    :param haproxy: whether HAProxy looks for it (``verifyhost``): among the DNS names and in the common name, never
        among the IP addresses.
    """

    name: str
    who: str
    haproxy: bool = False


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a certificate or its key.

    :param of_key: whether the file of the key has to be fixed, and not that of the certificate.
    """

    value: str
    expected: str
    remedy: str
    of_key: bool = False


def day(moment: datetime) -> str:
    """Return a moment as a person would look for it in a calendar."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def load_certificates(data: bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one; raises Unusable."""
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise Unusable("no certificate in PEM form") from error
    try:
        for certificate in found:
            # Read only when they are asked for, and then no place for an error.
            certificate.public_key()
            _extensions = certificate.extensions
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Unusable(f"a certificate that cannot be read ({error})") from error
    return found


def load_key(data: bytes, passphrase: str | None = None) -> PrivateKeyTypes:
    """Return the key of a PEM file; raises Unusable.

    :param passphrase: what the key is encrypted with; None for a key that is not.
    """
    try:
        return serialization.load_pem_private_key(data, None if passphrase is None else passphrase.encode())
    except TypeError as error:
        # Either it has a passphrase and none was given, or the other way round.
        raise Unusable("a key with a passphrase" if passphrase is None else "a key without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        what = "no key in PEM form" if passphrase is None else "a key that the passphrase does not open, or no key"
        raise Unusable(what) from error


def belongs(key: PrivateKeyTypes, certificate: x509.Certificate) -> bool:
    """Return whether a certificate was made for a key."""
    return _spki(key.public_key()) == _spki(certificate.public_key())


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_digest(key: PublicKeyTypes) -> str:
    """Return a digest by which two certificates for the same key are recognised."""
    return hashlib.sha256(_spki(key)).hexdigest()


def date_problem(certificate: x509.Certificate, now: datetime) -> str | None:
    """Return what is wrong with a certificate at a time, or None."""
    if now > certificate.not_valid_after_utc:
        return f"expired on {day(certificate.not_valid_after_utc)}"
    if now < certificate.not_valid_before_utc:
        return f"not valid before {day(certificate.not_valid_before_utc)}"
    return None


def _extension(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may sign others."""
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    return bool(constraints and constraints.value.ca and (usage is None or usage.value.key_cert_sign))


def has_name(certificate: x509.Certificate, need: Need) -> bool:
    """Return whether a certificate is valid for a name."""
    extension = _extension(certificate, x509.SubjectAlternativeName)
    names = extension.value if extension else x509.SubjectAlternativeName([])
    dns = names.get_values_for_type(x509.DNSName)
    common = [str(item.value) for item in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if need.haproxy:
        return any(_matches(pattern, need.name) for pattern in [*dns, *common])
    try:
        address = ip_address(need.name)
    except ValueError:
        # OpenSSL and libpq look at the common name only if there is no DNS name.
        return any(_matches(pattern, need.name) for pattern in dns or common)
    return address in names.get_values_for_type(x509.IPAddress)


def _matches(pattern: str, name: str) -> bool:
    pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
    if not pattern.startswith("*."):
        return pattern == name
    # The asterisk is one label, and not the whole domain of a company.
    label, dot, domain = name.partition(".")
    return bool(label and dot) and domain == pattern[2:] and "." in domain


def may_serve(certificate: x509.Certificate) -> bool:
    """Return whether clients accept a certificate as that of a TLS server."""
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    usage = _extension(certificate, x509.KeyUsage)
    # OpenSSL does not take anyExtendedKeyUsage for it.
    return (extended is None or ExtendedKeyUsageOID.SERVER_AUTH in extended.value) and (
        usage is None or usage.value.digital_signature or usage.value.key_encipherment or usage.value.key_agreement
    )


def may_connect(certificate: x509.Certificate) -> bool:
    """Return whether servers accept a certificate as that of a TLS client."""
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    return extended is None or ExtendedKeyUsageOID.CLIENT_AUTH in extended.value


def find_chain(
    certificates: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate], now: datetime
) -> tuple[list[x509.Certificate], str | None]:
    """Return the chain from the first certificate to a root, and what is wrong if there is none that holds.

    :param certificates: a server's own certificate, and intermediate ones in any order.
    :param authorities: what is trusted. One that has signed itself must be at the end, which libpq insists on.
    """
    chain = [certificates[0]]
    while True:
        top = chain[-1]
        wrong = date_problem(top, now)
        if wrong:
            return chain, f"{named(top)} is {wrong}" if wrong.startswith("not") else f"{named(top)} {wrong}"
        if top.issuer == top.subject and _signed(top, top):
            return chain, None if top in authorities else f"{named(top)} is no authority of certificates_ca_file"
        namesakes = [one for one in [*authorities, *certificates[1:]] if one.subject == top.issuer and one not in chain]
        signers = [one for one in namesakes if _signed(top, one)]
        if not signers:
            if namesakes:
                return chain, f"{named(top)} was signed with another key than that of {named(namesakes[0])}"
            return chain, f"{named(top)} was signed by {top.issuer.rfc4514_string()}, which is in neither file"
        # OpenSSL goes one way up, the first that is valid, and does not come back for another one.
        issuer = next((one for one in signers if date_problem(one, now) is None), signers[0])
        constraints = _extension(issuer, x509.BasicConstraints)
        if constraints is None or not is_authority(issuer):
            return chain, f"{named(issuer)} may not sign certificates"
        length = constraints.value.path_length
        if length is not None and length < len(chain) - 1:
            return chain, f"{named(issuer)} allows no more than {length} between it and a server"
        chain.append(issuer)


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def named(certificate: x509.Certificate) -> str:
    """Return a certificate as a person would tell it from another one."""
    return certificate.subject.rfc4514_string() or f"the certificate with serial number {certificate.serial_number}"


def lacks(chain: Sequence[x509.Certificate]) -> list[str]:
    """Return what Python 3.13, that of Debian 13, asks of a chain beside the rest (``VERIFY_X509_STRICT``)."""
    found = []
    for certificate in chain:
        constraints = _extension(certificate, x509.BasicConstraints)
        if certificate.issuer != certificate.subject and not _extension(certificate, x509.AuthorityKeyIdentifier):
            found.append(f"{named(certificate)} has no authorityKeyIdentifier")
        if constraints is None or not constraints.value.ca:
            continue
        if not constraints.critical:
            found.append(f"{named(certificate)} has basicConstraints that are not critical")
        for kind in (x509.SubjectKeyIdentifier, x509.KeyUsage):
            if not _extension(certificate, kind):
                found.append(f"{named(certificate)} has no {kind.oid._name}")
    return found


def server_flaws(
    certificate_data: bytes,
    key_data: bytes,
    now: datetime,
    needs: Sequence[Need] = (),
    authorities: Sequence[x509.Certificate] | None = None,
    client: bool = False,
) -> list[Flaw]:
    """Return what is wrong with a server's certificate, what links it to its authority, and its key.

    :param needs: names that it must have.
    :param authorities: what its clients trust; None if they are not known, as those of a public certificate.
    :param client: whether the host uses the certificate as a client, too.
    """
    flaws = []
    key = None
    try:
        key = load_key(key_data)
    except Unusable as error:
        flaws.append(
            Flaw(
                str(error),
                "a private key in PEM form without a passphrase, which a service could not ask for",
                "write the key without one: openssl pkey -in KEY -out NEW",
                of_key=True,
            )
        )
    try:
        certificates = load_certificates(certificate_data)
    except Unusable as error:
        expected = "PEM with the certificate first, then what links it to its authority"
        return [
            *flaws,
            Flaw(str(error), expected, "name the right file, or convert it: openssl x509"),
        ]
    own = certificates[0]
    if key is not None and not belongs(key, own):
        flaws.append(
            Flaw(
                f"the key of another certificate than {named(own)}",
                "the key for which the first certificate of the other file was made",
                "name the key that belongs to it, or put the host's own certificate first in its file",
                of_key=True,
            )
        )
    wrong = date_problem(own, now)
    if wrong:
        remedy = "get a new certificate" if wrong.startswith("expired") else "look at the controller's clock, or wait"
        flaws.append(Flaw(wrong, f"a certificate that is valid now, {day(now)}", f"{remedy}, then run this again"))
    elif authorities is not None:
        _chain, problem = find_chain(certificates, authorities, now)
        if problem:
            flaws.append(
                Flaw(
                    problem,
                    "a chain to a self-signed authority in certificates_ca_file",
                    "add the intermediate certificates after the host's own, or the authority to certificates_ca_file",
                )
            )
    missing = [need for need in needs if not has_name(own, need)]
    if missing:
        flaws.append(
            Flaw(
                f"without {', '.join(need.name for need in missing)}",
                "; ".join(f"{need.name} as {_kind(need)}, for {need.who}" for need in missing),
                "get a certificate with these subject alternative names",
            )
        )
    if not may_serve(own):
        expected = "a certificate for TLS servers: digitalSignature in its key usage, serverAuth in the extended one"
        flaws.append(Flaw(f"{named(own)} is not for servers", expected, "get one for TLS servers"))
    if client and not may_connect(own):
        expected = "a certificate for TLS clients, too: clientAuth in its extended key usage. Each host sends its logs"
        flaws.append(Flaw(f"{named(own)} is not for clients", expected, "get one for TLS servers and clients"))
    return flaws


def _kind(need: Need) -> str:
    if need.haproxy:
        return "a DNS name"
    try:
        ip_address(need.name)
    except ValueError:
        return "a DNS name"
    return "an IP address"
