"""Bring declared connections, variables, pools, roles and users of Airflow to their declared state.

Reads one JSON object from stdin, so that no value is in a command line or in the environment:
``{"connections": {id: {...}}, "variables": {key: ...}, "pools": {...}, "roles": {...}, "users": {...}}``.
Objects that are not declared stay as they are. Nothing is changed if one declaration cannot be applied.

Prints one JSON object as its last line: ``{"changes": [...], "problems": [...]}``. A change has kind, name, action and
the names of the fields that differ. No value of an object is ever printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Declared = Mapping[str, Any]

CONNECTION_FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")
POOL_FIELDS = ("slots", "description", "include_deferred")
# ``airflow sync-perm`` gives it to each role.
HOME_PAGE = ("can_read", "Website")
# Permissions on single DAGs also come from access_control in DAG files.
DAG_RESOURCES = ("DAG:", "DAG Run:")


@dataclass(frozen=True)
class Change:
    """One object that differs from its declaration.

    :param action: ``create``, ``change`` or ``remove``.
    :param fields: names of the fields that differ.
    """

    kind: str
    name: str
    action: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pending:
    """A change, and how to make it."""

    change: Change
    apply: Callable[[], Any]


class Undeclarable(Exception):
    """A declaration that cannot be applied. The message shows no value but names."""


def is_absent(declared: Any) -> bool:
    """Return whether a declaration asks for the removal of the object."""
    return isinstance(declared, Mapping) and declared.get("state", "present") == "absent"


def differing(have: Mapping[str, Any], want: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the wanted fields that the object does not have."""
    return tuple(field for field, value in want.items() if have.get(field) != value)


def variable_text(value: Any) -> str:
    """Return the text that Airflow stores for a value: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, indent=2)


def variable_parts(declared: Any) -> tuple[Any, str | None]:
    """Return value and description of a declared variable, in the forms that ``airflow variables import`` accepts."""
    if isinstance(declared, Mapping) and "value" in declared:
        return declared["value"], declared.get("description") or None
    return declared, None


def same_value(stored: str | None, value: Any) -> bool:
    """Return whether a stored variable has this value, whatever the layout of its JSON is."""
    if isinstance(value, str) or stored is None:
        return stored == value
    try:
        return bool(json.loads(stored) == value)
    except ValueError:
        return False


def parsed_extra(extra: Any) -> dict[str, Any]:
    """Return the extra of a connection, a mapping or JSON, as a mapping."""
    return dict(json.loads(extra.strip() or "{}") if isinstance(extra, str) else extra or {})


# --- Connections, variables, pools ------------------------------------------------------------------------------------
def connection_fields(connection: Any) -> dict[str, Any]:
    """Return the fields of a connection in a form that can be compared: nothing and empty text are the same."""
    fields = {field: getattr(connection, field) or None for field in CONNECTION_FIELDS if field != "extra"}
    return {**fields, "extra": parsed_extra(connection.extra)}


def wanted_connection(name: str, declared: Any) -> dict[str, Any]:
    """Return the fields of a declared connection, a URI or a mapping."""
    from airflow.models import Connection

    given = {"uri": declared} if isinstance(declared, str) else dict(declared)
    given.pop("state", None)
    description = given.pop("description", None)
    try:
        if "uri" in given:
            connection = Connection(conn_id=name, uri=given["uri"], description=description)
        else:
            given["extra"] = json.dumps(extra) if (extra := parsed_extra(given.get("extra"))) else None
            given["conn_type"] = Connection._normalize_conn_type(given["conn_type"])
            connection = Connection(conn_id=name, description=description, **given)
        return connection_fields(connection)
    except Exception as error:
        # The message of the exception may hold a part of the URI or of the extra.
        raise Undeclarable(f"connection {name}: Airflow does not accept it ({type(error).__name__})") from None


def connections(session: Session, declared: Declared) -> Iterator[Pending]:
    """Return what is to be done about connections."""
    from airflow.models import Connection
    from sqlalchemy import select

    for name, wanted in declared.items():
        found = session.scalar(select(Connection).where(Connection.conn_id == name))
        if is_absent(wanted):
            if found is not None:
                yield Pending(Change("connection", name, "remove"), partial(session.delete, found))
            continue
        want = wanted_connection(name, wanted)
        write = partial(write_connection, session, name, found, want)
        if found is None:
            yield Pending(Change("connection", name, "create"), write)
        elif fields := differing(readable(found), want):
            yield Pending(Change("connection", name, "change", fields), write)


def write_connection(session: Session, name: str, found: Any, want: Mapping[str, Any]) -> None:
    """Create a connection, or change one that was found."""
    from airflow.models import Connection

    connection = Connection(conn_id=name) if found is None else found
    for field, value in want.items():
        if field == "extra":
            connection.extra = json.dumps(value) if value else None
        elif field == "password" and not value:
            # The property of the model ignores an empty password.
            connection._password, connection.is_encrypted = None, False
        else:
            setattr(connection, field, value)
    session.add(connection)


def readable(connection: Any) -> dict[str, Any]:
    """Return the fields of a stored connection; {} if it was encrypted with a key that is not there any more."""
    from cryptography.fernet import InvalidToken

    try:
        return connection_fields(connection)
    except (InvalidToken, ValueError):
        return {}


def variables(session: Session, declared: Declared) -> Iterator[Pending]:
    """Return what is to be done about variables."""
    from airflow.models import Variable
    from sqlalchemy import select

    for key, wanted in declared.items():
        found = session.scalar(select(Variable).where(Variable.key == key))
        if is_absent(wanted):
            if found is not None:
                yield Pending(Change("variable", key, "remove"), partial(session.delete, found))
            continue
        value, description = variable_parts(wanted)
        if found is None:
            variable = Variable(key=key, val=variable_text(value), description=description)
            yield Pending(Change("variable", key, "create"), partial(session.add, variable))
            continue
        same = {"value": same_value(found.val, value), "description": (found.description or None) == description}
        if fields := tuple(field for field, equal in same.items() if not equal):
            yield Pending(Change("variable", key, "change", fields), partial(write_variable, found, value, description))


def write_variable(found: Any, value: Any, description: str | None) -> None:
    """Change a variable that was found."""
    found.val, found.description = variable_text(value), description


def pools(session: Session, declared: Declared) -> Iterator[Pending]:
    """Return what is to be done about pools."""
    from airflow.models.pool import Pool
    from sqlalchemy import select

    for name, wanted in declared.items():
        found = session.scalar(select(Pool).where(Pool.pool == name))
        if is_absent(wanted):
            if found is not None:
                yield Pending(Change("pool", name, "remove"), partial(session.delete, found))
            continue
        want = {
            "slots": int(wanted["slots"]),
            "description": wanted.get("description") or "",
            "include_deferred": bool(wanted.get("include_deferred", False)),
        }
        write = partial(Pool.create_or_update_pool, name, session=session, **want)
        if found is None:
            yield Pending(Change("pool", name, "create"), write)
            continue
        have = {**{field: getattr(found, field) for field in POOL_FIELDS}, "description": found.description or ""}
        if fields := differing(have, want):
            yield Pending(Change("pool", name, "change", fields), write)


# --- Roles and users --------------------------------------------------------------------------------------------------
def wanted_permissions(declared: Declared) -> set[tuple[str, str]]:
    """Return the permissions of a declared role as (action, resource)."""
    permissions: Mapping[str, list[str]] = declared.get("permissions") or {}
    return {(action, resource) for resource, actions in permissions.items() for action in actions} | {HOME_PAGE}


def roles(security: Any, declared: Declared) -> Iterator[Pending]:
    """Return what is to be done about roles."""
    for name, wanted in declared.items():
        found = security.find_role(name)
        if is_absent(wanted):
            if found is not None:
                yield Pending(Change("role", name, "remove"), partial(security.delete_role, name))
            continue
        want = wanted_permissions(wanted)
        for action, resource in sorted(want):
            on_a_dag = resource.startswith(DAG_RESOURCES)
            if not on_a_dag and security.get_resource(resource) is None:
                raise Undeclarable(f"role {name}: Airflow has no resource {resource!r}")
            if security.get_action(action) is None:
                raise Undeclarable(f"role {name}: Airflow has no action {action!r}")
        have = {(one.action.name, one.resource.name) for one in found.permissions} if found is not None else set()
        excess = {one for one in have - want if not one[1].startswith(DAG_RESOURCES)}
        write = partial(write_role, security, name, want - have, excess)
        if found is None:
            yield Pending(Change("role", name, "create"), write)
        elif want - have or excess:
            yield Pending(Change("role", name, "change", ("permissions",)), write)


def write_role(security: Any, name: str, missing: set[tuple[str, str]], excess: set[tuple[str, str]]) -> None:
    """Create a role if it is missing, and change its permissions."""
    role = security.add_role(name)
    for action, resource in sorted(missing):
        security.add_permission_to_role(role, security.create_permission(action, resource))
    for action, resource in sorted(excess):
        security.remove_permission_from_role(role, security.get_permission(action, resource))


def users(security: Any, declared: Declared, declared_roles: Declared) -> Iterator[Pending]:
    """Return what is to be done about users."""
    from werkzeug.security import check_password_hash

    for name, wanted in declared.items():
        found = security.find_user(username=name)
        if is_absent(wanted):
            if found is not None:
                yield Pending(Change("user", name, "remove"), partial(remove_user, security, name))
            continue
        for role in wanted["roles"]:
            declaration = declared_roles.get(role)
            if is_absent(declaration) or (declaration is None and security.find_role(role) is None):
                raise Undeclarable(f"user {name}: there is no role {role!r}")
        other = security.find_user(email=wanted["email"])
        if other is not None and other.username.lower() != name.lower() and not is_absent(declared.get(other.username)):
            raise Undeclarable(f"user {name}: user {other.username} has the same email")
        want = {
            "email": wanted["email"],
            "first_name": wanted.get("first_name") or name,
            "last_name": wanted.get("last_name") or "-",
            "active": bool(wanted.get("active", True)),
            "roles": sorted(wanted["roles"]),
        }
        password = wanted.get("password")
        always = wanted.get("update_password", "on_create") == "always"
        write = partial(write_user, security, name, want, password, always)
        if found is None:
            yield Pending(Change("user", name, "create"), write)
            continue
        have = {field: getattr(found, field) for field in ("email", "first_name", "last_name")}
        have |= {"active": bool(found.active), "roles": sorted(role.name for role in found.roles)}
        fields = differing(have, want)
        if password and always and not check_password_hash(found.password or "", password):
            fields += ("password",)
        if fields:
            yield Pending(Change("user", name, "change", fields), write)


def write_user(security: Any, name: str, want: Mapping[str, Any], password: str | None, always: bool) -> None:
    """Create or change a user. A user without a declared password gets one that nobody knows."""
    from werkzeug.security import check_password_hash

    user = security.find_user(username=name)
    given = [security.find_role(role) for role in want["roles"]]
    if user is None:
        user = security.add_user(
            name, want["first_name"], want["last_name"], want["email"], given, password or secrets.token_urlsafe(32)
        )
    elif password and always and not check_password_hash(user.password or "", password):
        security.reset_password(user.id, password)
    for field in ("email", "first_name", "last_name", "active"):
        setattr(user, field, want[field])
    user.roles = given
    if not want["active"]:
        security.reset_user_sessions(user)
    if not security.update_user(user):
        raise Undeclarable(f"user {name}: the database refuses the change")


def remove_user(security: Any, name: str) -> None:
    """End the sessions of a user, and delete the user."""
    user = security.find_user(username=name)
    security.reset_user_sessions(user)
    user.roles.clear()
    user.groups.clear()
    if not security.del_register_user(user):
        raise Undeclarable(f"user {name}: other rows of the database refer to the user; declare active: false instead")


# --- All of them ------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def security_manager(needed: bool) -> Iterator[Any]:
    """Yield the security manager of Flask-AppBuilder, whose import takes seconds; None if it is not needed."""
    if not needed:
        yield None
        return
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        yield builder.sm


def apply(declared: Mapping[str, Declared], check: bool) -> tuple[list[Change], list[str]]:
    """Apply the declarations, or with ``check`` only compare them. Return changes, and what cannot be applied."""
    from airflow.utils.session import create_session

    pending: list[Pending] = []
    problems: list[str] = []
    with (
        security_manager(bool(declared.get("roles") or declared.get("users"))) as security,
        create_session(scoped=False) as session,
    ):
        declared_roles, declared_users = declared.get("roles") or {}, declared.get("users") or {}
        found: list[Iterator[Pending]] = [
            connections(session, declared.get("connections") or {}),
            variables(session, declared.get("variables") or {}),
            pools(session, declared.get("pools") or {}),
        ]
        if security is not None:
            found += [roles(security, declared_roles), users(security, declared_users, declared_roles)]
        for changes in found:
            try:
                pending += changes
            except Undeclarable as error:
                problems.append(str(error))
        if problems:
            return [], problems
        # A removed role may still be that of a user who gets another one below, and a removed user may free an email.
        pending.sort(key=lambda one: (one.change.kind == "user", one.change.action != "remove"))
        if not check:
            for one in pending:
                one.apply()
    return [one.change for one in pending], []


def main() -> int:
    """Read the declarations, apply them, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only report what would change")
    arguments = parser.parse_args()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            changes, problems = apply(json.load(sys.stdin), arguments.check)
    except Exception as error:
        # No traceback: a message of the database or of a parser may show the values.
        changes, problems = [], [str(error) if isinstance(error, Undeclarable) else type(error).__name__]
    print(json.dumps({"changes": [asdict(change) for change in changes], "problems": problems}))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
