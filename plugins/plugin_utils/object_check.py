"""Check the declared objects of Airflow's metadata database: connections, variables, pools, roles and users.

A message names the object and the field, and never shows a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

# As in Airflow's models.
CONNECTION_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")
VARIABLE_KEY = re.compile(r"\S(?:.{0,248}\S)?")
POOL_NAME = re.compile(r"\S(?:.{0,254}\S)?")
ROLE_NAME = re.compile(r"\S(?:.{0,62}\S)?")
USER_NAME = re.compile(r"[^\s/]{1,512}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")

STATE = "state"
CONNECTION_FIELDS = {"conn_type", "description", "host", "login", "password", "schema", "port", "extra", "uri"}
POOL_FIELDS = {"slots", "description", "include_deferred"}
ROLE_FIELDS = {"permissions"}
USER_FIELDS = {"email", "roles", "first_name", "last_name", "active", "password", "update_password"}
VARIABLE_FIELDS = {"value", "description"}

# Objects that the deployment manages itself, and the variable that is for them.
OWN_POOLS = {
    "default_pool": "airflow_default_pool_slots",
    "cluster_canary": "no variable: upgrades use it",
}
# Airflow itself writes the permissions of these roles.
OWN_ROLES = frozenset({"Admin", "Op", "Public", "User", "Viewer"})


def is_text(value: Any) -> bool:
    """Return whether a value is text or a number, which YAML may make of text."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _state(kind: str, name: str, fields: Mapping[str, Any]) -> str | None:
    if fields.get(STATE, "present") not in ("present", "absent"):
        return f"present or absent as state of {kind} {name}"
    return None


def _unknown(kind: str, name: str, fields: Mapping[str, Any], known: set[str]) -> str | None:
    unknown = sorted(str(field) for field in fields if field not in known | {STATE})
    if unknown:
        return f"fields {', '.join(sorted(known | {STATE}))} for {kind} {name}, of which {', '.join(unknown)} is none"
    return None


def _json_mapping(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else {}
        except ValueError:
            return False
    return isinstance(value, Mapping) or value is None


def _uri_problem(name: str, uri: Any) -> str | None:
    if isinstance(uri, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", uri):
        try:
            # A port that is no number is an error of its own.
            _port = urlsplit(uri).port
            return None
        except ValueError:
            pass
    return f"a URI such as postgres://login:password@host:5432/schema for connection {name}"


def connection_problem(name: str, declared: Any) -> str | None:
    """Return what is expected of a connection that cannot be declared like this."""
    if not CONNECTION_ID.fullmatch(name):
        return f"letters, digits and # ! ( ) - . : / \\ _ in the id of a connection, which {name!r} is not"
    if isinstance(declared, str):
        return _uri_problem(name, declared)
    if not isinstance(declared, Mapping):
        return f"a URI or a mapping for connection {name}"
    problem = _state("connection", name, declared) or _unknown("connection", name, declared, CONNECTION_FIELDS)
    if problem or declared.get(STATE) == "absent":
        return problem
    if "uri" in declared:
        others = sorted(set(declared) - {"uri", "description", STATE})
        if others:
            return (
                f"uri, or conn_type and other fields, but not both (uri and {', '.join(others)}) for connection {name}"
            )
        return _uri_problem(name, declared["uri"])
    if not isinstance(declared.get("conn_type"), str) or not declared["conn_type"]:
        return f"conn_type, such as postgres, for connection {name}"
    for field in ("description", "host", "login", "password", "schema"):
        value = declared.get(field)
        if value is not None and not isinstance(value, str):
            return f"text as {field} of connection {name} (quote a number)"
    port = declared.get("port")
    if port not in (None, "") and not (is_text(port) and str(port).isdecimal() and 0 < int(port) < 65536):
        return f"a whole number from 1 to 65535 as port of connection {name}"
    if not _json_mapping(declared.get("extra")):
        return f"a mapping, or JSON of one, as extra of connection {name}"
    return None


def variable_problem(name: str, declared: Any) -> str | None:
    """Return what is expected of a variable that cannot be declared like this."""
    if not VARIABLE_KEY.fullmatch(name):
        return f"at most 250 characters as key of a variable, which {name!r} is not"
    if declared is None:
        return f"a value for variable {name}"
    if isinstance(declared, Mapping) and ("value" in declared or declared.get(STATE) == "absent"):
        problem = _unknown("variable", name, declared, VARIABLE_FIELDS) or _state("variable", name, declared)
        if problem:
            return f"{problem}; a mapping that is itself the value belongs below value"
        if declared.get("value") is None and declared.get(STATE) != "absent":
            return f"a value for variable {name}"
    return None


def pool_problem(name: str, declared: Any) -> str | None:
    """Return what is expected of a pool that cannot be declared like this."""
    if name in OWN_POOLS:
        return f"no pool {name}, which the deployment manages itself ({OWN_POOLS[name]})"
    if not POOL_NAME.fullmatch(name):
        return f"at most 256 characters as name of a pool, which {name!r} is not"
    if not isinstance(declared, Mapping):
        return f"a mapping such as {{slots: 8}} for pool {name}"
    problem = _state("pool", name, declared) or _unknown("pool", name, declared, POOL_FIELDS)
    if problem or declared.get(STATE) == "absent":
        return problem
    slots = declared.get("slots")
    if not is_text(slots) or not re.fullmatch(r"-1|[0-9]{1,9}", str(slots)):
        return f"a whole number, or -1 for no limit, as slots of pool {name}"
    if not isinstance(declared.get("description") or "", str):
        return f"text as description of pool {name}"
    if not isinstance(declared.get("include_deferred", False), bool):
        return f"true or false as include_deferred of pool {name}"
    return None


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)


def role_problem(name: str, declared: Any) -> str | None:
    """Return what is expected of a role that cannot be declared like this."""
    if name in OWN_ROLES:
        return f"no role {name}, of which Airflow writes the permissions itself; declare a role with another name"
    if not ROLE_NAME.fullmatch(name):
        return f"at most 64 characters as name of a role, which {name!r} is not"
    if not isinstance(declared, Mapping):
        return f"a mapping such as {{permissions: {{DAGs: [can_read]}}}} for role {name}"
    problem = _state("role", name, declared) or _unknown("role", name, declared, ROLE_FIELDS)
    if problem or declared.get(STATE) == "absent":
        return problem
    permissions = declared.get("permissions") or {}
    if not isinstance(permissions, Mapping) or not all(_texts(actions) for actions in permissions.values()):
        return (
            f"a mapping of resources to lists of actions, such as {{DAGs: [can_read]}}, as permissions of role {name}"
        )
    return None


def user_problem(name: str, declared: Any) -> str | None:
    """Return what is expected of a user that cannot be declared like this."""
    if not USER_NAME.fullmatch(name):
        return f"a name without blanks and slashes for a user, which {name!r} is not"
    if not isinstance(declared, Mapping):
        return f"a mapping such as {{email: name@example.org, roles: [Op]}} for user {name}"
    problem = _state("user", name, declared) or _unknown("user", name, declared, USER_FIELDS)
    if problem or declared.get(STATE) == "absent":
        return problem
    if not isinstance(declared.get("email"), str) or not EMAIL.fullmatch(declared["email"]):
        return f"an e-mail address as email of user {name}"
    if not _texts(declared.get("roles")) or not declared["roles"]:
        return f"a list with the name of at least one role as roles of user {name}"
    if not isinstance(declared.get("active", True), bool):
        return f"true or false as active of user {name}"
    for field in ("first_name", "last_name"):
        if not isinstance(declared.get(field) or "", str):
            return f"text as {field} of user {name}"
    password = declared.get("password")
    if password is not None and (not isinstance(password, str) or len(password) < 8):
        return f"text of at least 8 characters as password of user {name} (quote a number)"
    if declared.get("update_password", "on_create") not in ("always", "on_create"):
        return f"always or on_create as update_password of user {name}"
    if declared.get("update_password") == "always" and password is None:
        return f"a password for user {name}, or no update_password"
    return None


CHECKS: Mapping[str, Callable[[str, Any], str | None]] = {
    "airflow_connections": connection_problem,
    "airflow_variables": variable_problem,
    "airflow_pools": pool_problem,
    "airflow_roles": role_problem,
    "airflow_users": user_problem,
}


def objects_problem(variable: str, declared: Mapping[Any, Any]) -> str | None:
    """Return what is expected of the first declared object of a variable that is not right."""
    return next(_problems(variable, declared), None)


def _problems(variable: str, declared: Mapping[Any, Any]) -> Iterator[str]:
    for name, value in declared.items():
        problem = CHECKS[variable](str(name), value)
        if problem:
            yield problem
