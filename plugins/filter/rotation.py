"""What of a secret is accepted while it is rotated. Each filter is documented in the YAML file that bears its name."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping

Rotating = Mapping[str, str]


def accepted(value: str, name: str, rotating: Iterable[Rotating]) -> list[str]:
    """Return the present value of a secret, and the next or previous one if it is being rotated."""
    return list(dict.fromkeys([value, *(values[name] for values in rotating if name in values)]))


def accepted_logins(user: str, password: str, prefix: str, rotating: Iterable[Rotating]) -> list[dict[str, str]]:
    """Return the logins of a database: the present one, and the next or previous one if it is being rotated."""
    others = [
        {"name": values[f"{prefix}_user"], "password": values[f"{prefix}_password"]}
        for values in rotating
        if f"{prefix}_password" in values
    ]
    present = {"name": user, "password": password}
    return [present, *(other for other in others if other != present)]


def key_id(secret: str) -> str:
    """Return the name of a signing key, as it stands in the header of each token: it says nothing about the key."""
    return hashlib.sha256(f"kid:{secret}".encode()).hexdigest()[:16]


def json_web_keys(secrets: Iterable[str]) -> str:
    """Return signing keys as a JSON Web Key Set (RFC 7517)."""
    keys = [
        {
            "kty": "oct",
            "alg": "HS512",
            "kid": key_id(secret),
            "k": base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode("ascii"),
        }
        for secret in secrets
    ]
    return json.dumps({"keys": keys}, indent=1) + "\n"


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {
            "accepted": accepted,
            "accepted_logins": accepted_logins,
            "json_web_keys": json_web_keys,
            "key_id": key_id,
        }
