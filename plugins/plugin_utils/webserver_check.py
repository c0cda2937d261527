"""Check the site's webserver_config.py on the controller, without running it."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# ansible-core depends on packaging. Only ansible-test imports this file without it.
with contextlib.suppress(ImportError):
    from packaging.requirements import InvalidRequirement, Requirement


# What the deployment sets itself, and where a site changes it. A name that ends with _ is a prefix.
# airflow_celery_cluster.site_config leaves out the same names.
OWNED = {
    "AUTH_RATE_LIMIT": "set haproxy_login_attempts instead",
    "AUTH_RATE_LIMITED": "remove it: HAProxy limits the logins, see haproxy_login_attempts",
    "PERMANENT_SESSION_LIFETIME": "set airflow_config.fab.session_lifetime_minutes instead",
    "RATELIMIT_": "remove it: HAProxy limits the logins, see haproxy_login_attempts",
    "REMEMBER_COOKIE_": "set airflow_web_url instead: with https, cookies are for TLS only",
    "SECRET_KEY": "remove it: airflow_session_secret is the key",
    "SESSION_": "set airflow_config.fab.cookie_secure, cookie_samesite or session_lifetime_minutes instead",
    "SQLALCHEMY_": "remove it: airflow_database_url is the database",
}
# Every form stays protected. The file that Airflow documents has the first one.
ALWAYS_TRUE = ("WTF_CSRF_ENABLED", "WTF_CSRF_CHECK_DEFAULT", "WTF_CSRF_SSL_STRICT")
NEVER_SET = ("WTF_CSRF_METHODS",)

# How people log in: the package that the login needs, and the extra of other packages that brings it.
NEEDED = {"AUTH_DB": None, "AUTH_LDAP": ("python-ldap", "ldap"), "AUTH_OAUTH": ("authlib", "oauth")}
# As in flask_appbuilder.const.
NUMBERS = {0: "AUTH_OID", 1: "AUTH_DB", 2: "AUTH_LDAP", 3: "AUTH_REMOTE_USER", 4: "AUTH_OAUTH", 5: "AUTH_SAML"}


@dataclass(frozen=True)
class Flaw:
    """What is wrong with the file.

    :param value: what the file has; no value of a setting.
    """

    value: str
    expected: str
    remedy: str


def _targets(tree: ast.AST) -> Iterator[tuple[str, ast.expr | None, int]]:
    """Yield each name that gets a value, with the value, outside of functions and classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        yield name.id, node.value, node.lineno
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.value, node.lineno
        else:
            yield from _targets(node)


def _owned(name: str) -> str | None:
    return next((OWNED[key] for key in OWNED if name == key or (key.endswith("_") and name.startswith(key))), None)


def _login(value: ast.expr | None) -> str | None:
    """Return the name of a kind of login; None for what only running the file tells."""
    if isinstance(value, ast.Constant):
        return NUMBERS.get(value.value, repr(value.value)) if isinstance(value.value, int) else repr(value.value)
    if isinstance(value, ast.Name | ast.Attribute):
        name = value.id if isinstance(value, ast.Name) else value.attr
        return name if name.startswith("AUTH_") else None
    return None


def brings(requirements: Sequence[str], package: str, extra: str) -> bool:
    """Return whether one of the requirements is a package, or has the extra that brings it."""
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if re.sub(r"[-_.]+", "-", requirement.name).lower() == package or extra in requirement.extras:
            return True
    return False


def flaws(text: str, requirements: Sequence[str]) -> list[Flaw]:
    """Return what is wrong with a file.

    :param text: the file, rendered as for a host.
    :param requirements: Python packages beside the lock.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        place = f"line {getattr(error, 'lineno', None)}, {getattr(error, 'msg', error)}"
        return [Flaw(place, "a file of Python", "correct that line")]
    found = []
    for name, value, line in _targets(tree):
        where = f"line {line}, {name}"
        constant = value.value if isinstance(value, ast.Constant) else None
        if remedy := _owned(name):
            found.append(Flaw(where, "no setting that the deployment makes itself", remedy))
        elif name in NEVER_SET or (name in ALWAYS_TRUE and constant is not True):
            found.append(Flaw(where, "the protection of forms against requests of other sites, as it is", "remove it"))
        elif name == "AUTH_TYPE" and (login := _login(value)) is not None:
            if login not in NEEDED:
                found.append(
                    Flaw(
                        f"{where} = {login}",
                        f"one of {', '.join(NEEDED)}: HAProxy does not authenticate, and passes what a client sends",
                        "set AUTH_TYPE to AUTH_OAUTH or AUTH_LDAP",
                    )
                )
            elif (needed := NEEDED[login]) and not brings(requirements, *needed):
                found.append(
                    Flaw(
                        f"{where} = {login}",
                        f"Python package {needed[0]}, without which no API server starts",
                        f"add {needed[0]} to airflow_runtime_extra_requirements (docs/operations/login.md)",
                    )
                )
    return found
