"""Which certificate of a host is current; each case differs from the current certificate in one thing."""

from __future__ import annotations

import pytest
from ansible_collections.airflow_celery.cluster.plugins.filter.certificates import certificate_is_current
from certificate_maker import Made, make
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAMES = ("db.example.org", "192.0.2.10", "2001:db8::1")
WANTED = ["DNS:db.example.org", "IP:192.0.2.10", "IP:2001:db8::1"]
AUTHORITY = make("Authority", ca=True)
# The same name and another key, as an authority that was made anew.
OTHER = make("Authority", ca=True)
CURRENT = make("db", AUTHORITY, NAMES)


def public_key(made: Made) -> str:
    """Return the public key as openssl prints it."""
    return (
        made.key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def found(made: Made, key: Made | None = None) -> str:
    """Return what the role reads on a host."""
    return f"root 644\npostgres 600\n{made.pem.decode()}{public_key(key or made)}"


def is_current(text: str, *, name: str = "db", names: list[str] | None = None, renew_days: int = 30) -> bool:
    return certificate_is_current(text, name, WANTED if names is None else names, AUTHORITY.pem.decode(), renew_days)


def test_a_certificate_as_requested_is_current() -> None:
    assert is_current(found(CURRENT))
    assert is_current(found(CURRENT), names=WANTED[::-1])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param(CURRENT.pem.decode(), {}, id="no key"),
        pytest.param(public_key(CURRENT), {}, id="no certificate"),
        pytest.param(found(CURRENT).replace("MIIB", "MIIX"), {}, id="damaged"),
        pytest.param(found(CURRENT, make("db", AUTHORITY, NAMES)), {}, id="of another key"),
        pytest.param(found(make("db", OTHER, NAMES)), {}, id="of another authority"),
        pytest.param(found(make("db", None, NAMES)), {}, id="signed by itself"),
        pytest.param(found(CURRENT), {"name": "db2"}, id="another name"),
        pytest.param(found(CURRENT), {"names": WANTED[:2]}, id="a name too many"),
        pytest.param(found(CURRENT), {"names": [*WANTED, "DNS:db"]}, id="a name missing"),
        pytest.param(found(make("db", AUTHORITY)), {"names": []}, id="no names"),
        pytest.param(found(make("db", AUTHORITY, NAMES, days=(-10, 30))), {}, id="to be renewed"),
        pytest.param(found(make("db", AUTHORITY, NAMES, days=(-10, -1))), {"renew_days": 0}, id="expired"),
        pytest.param(found(make("db", AUTHORITY, NAMES, client_only=True)), {}, id="for clients"),
        pytest.param(
            found(make("db", AUTHORITY, NAMES, key=ec.generate_private_key(ec.SECP384R1()))), {}, id="another curve"
        ),
    ],
)
def test_a_certificate_that_differs_is_not_current(text: str, wanted: dict[str, object]) -> None:
    assert not is_current(text, **wanted)  # type: ignore[arg-type]


def test_a_certificate_for_clients_is_current_where_it_is_wanted() -> None:
    text = found(make("db", AUTHORITY, NAMES, client_only=True))
    arguments = (WANTED, AUTHORITY.pem.decode(), 30)
    assert certificate_is_current(text, "db", *arguments, "clientAuth")
    assert not certificate_is_current(text, "db", *arguments)
    assert not certificate_is_current(found(CURRENT), "db", *arguments, "clientAuth")
