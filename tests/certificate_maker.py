"""Keys and certificates for tests: right ones, and ones that are wrong in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate as the content of a file."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as the content of a file, not encrypted."""
        return self.encrypted_key(None)

    def encrypted_key(self, passphrase: str | None) -> bytes:
        """The key as the content of a file that a passphrase opens."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption(),
        )


def make(
    common_name: str,
    issuer: Made | None = None,
    names: Sequence[str] = (),
    *,
    ca: bool = False,
    days: tuple[int, int] = (-1, 365),
    path_length: int | None = None,
    key_usage: str | None = "",
    client: bool = False,
    client_only: bool = False,
    identifiers: bool = True,
    critical: bool = True,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Made:
    """Make a certificate that an issuer has signed, or it itself.

    :param names: alternative names: IP addresses, and DNS names.
    :param ca: whether it is an authority.
    :param days: from and until when it is valid, in days from now.
    :param key_usage: the one right thing that it is for; "" for what suits it, None for no key usage at all.
    :param client: whether its extended key usage is for clients, too.
    :param client_only: whether its extended key usage is for clients.
    :param critical: whether who does not understand its basic constraints has to refuse it.
    :param identifiers: whether it has identifiers of its key and of its issuer's.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=critical)
    )
    if key_usage is not None:
        right = key_usage or ("key_cert_sign" if ca else "digital_signature")
        all_of_them = [
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ]
        builder = builder.add_extension(x509.KeyUsage(**{each: each == right for each in all_of_them}), critical=True)
    if identifiers:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if issuer:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
    if not ca:
        purposes = [] if client_only else [ExtendedKeyUsageOID.SERVER_AUTH]
        purposes += [ExtendedKeyUsageOID.CLIENT_AUTH] if client or client_only else []
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([general_name(one) for one in names]), critical=False
        )
    return Made(builder.sign(signer, hashes.SHA256()), key)


def general_name(text: str) -> x509.GeneralName:
    """Return an alternative name."""
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
