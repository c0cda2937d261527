"""Filter of role certificates. Documented in certificate_is_current.yml."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

# ansible-core depends on cryptography. Only ansible-test imports this file without it.
with contextlib.suppress(ImportError):
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?", re.DOTALL)


def _common_names(certificate: x509.Certificate) -> list[str | bytes]:
    return [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def _subject_alt_names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {f"{'IP' if isinstance(name, x509.IPAddress) else 'DNS'}:{name.value}" for name in found}


def _is_for(usage: str, certificate: x509.Certificate) -> bool:
    wanted = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH, "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}[usage]
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [wanted]


def certificate_is_current(
    found: str,
    common_name: str,
    subject_alt_names: Iterable[str],
    authority: str,
    renew_days: int,
    usage: str = "serverAuth",
) -> bool:
    """Return whether a host has the certificate that it would get if it asked for one now."""
    parts = {match[1]: match[0].encode() for match in PEM.finditer(found)}
    if set(parts) != {"CERTIFICATE", "PUBLIC KEY"}:
        return False
    try:
        certificate = x509.load_pem_x509_certificate(parts["CERTIFICATE"])
        key = load_pem_public_key(parts["PUBLIC KEY"])
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
        return (
            isinstance(key, ec.EllipticCurvePublicKey)
            and isinstance(key.curve, ec.SECP256R1)
            and key == certificate.public_key()
            and _common_names(certificate) == [common_name]
            and _subject_alt_names(certificate) == set(subject_alt_names)
            and _is_for(usage, certificate)
            and certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=int(renew_days))
        )
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


class FilterModule:
    """What Ansible asks a filter plugin for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"certificate_is_current": certificate_is_current}
