"""The defaults of the roles, for filters that read variables of hosts whose play may not have the role."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"


@cache
def role_defaults(role: str) -> Mapping[str, Any]:
    """Return the defaults of a role as they are written: templates are not rendered."""
    return MappingProxyType(yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8")))
