"""The site's webserver_config.py: what is refused before a deployment, and what is left out in an API server."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from airflow_celery_cluster.site_config import PROTECTED, site_settings
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.webserver_check import (
    ALWAYS_TRUE,
    NEVER_SET,
    OWNED,
    flaws,
)

# As in the documentation of the FAB provider, shortened.
OAUTH = """
import os
from flask_appbuilder.const import AUTH_OAUTH
basedir = os.path.abspath(os.path.dirname(__file__))
WTF_CSRF_ENABLED = True
WTF_CSRF_TIME_LIMIT = None
AUTH_TYPE = AUTH_OAUTH
OAUTH_PROVIDERS = [{"name": "sso", "remote_app": {"client_secret": "hunter22"}}]

def helper():
    SECRET_KEY = "local"
    return SECRET_KEY
"""
LDAP = "from flask_appbuilder.security.manager import AUTH_LDAP\nAUTH_TYPE = AUTH_LDAP\n"
PACKAGES = {OAUTH: ("Authlib>=1.3", "flask-appbuilder[oauth]"), LDAP: ("python_ldap==3.4.4", "x[ldap]")}


@pytest.mark.parametrize("text", PACKAGES, ids=["oauth", "ldap"])
def test_a_login_needs_its_package(text: str) -> None:
    assert [flaws(text, [one]) for one in PACKAGES[text]] == [[], []]
    for other in ([], ["apache-airflow-providers-http"], ["not a requirement !"]):
        (flaw,) = flaws(text, other)
        assert "AUTH_TYPE" in flaw.value
        assert "airflow_runtime_extra_requirements" in flaw.remedy


@pytest.mark.parametrize(
    "line",
    [
        'SECRET_KEY = "hunter22"',
        'if True:\n    SECRET_KEY = "hunter22"',
        'try:\n    pass\nexcept OSError:\n    SECRET_KEY: str = "hunter22"',
        'SECRET_KEY = OTHER = "hunter22"',
        '(SECRET_KEY, OTHER) = ("hunter22", 1)',
        "SESSION_COOKIE_SECURE = False",
        "SESSION_COOKIE_HTTPONLY = False",
        "SESSION_COOKIE_SAMESITE = None",
        "REMEMBER_COOKIE_SECURE = False",
        "PERMANENT_SESSION_LIFETIME = 10**9",
        "AUTH_RATE_LIMITED = False",
        'AUTH_RATE_LIMIT = "1000 per second"',
        "RATELIMIT_ENABLED = False",
        'SQLALCHEMY_DATABASE_URI = "postgresql://hunter22"',
        "WTF_CSRF_ENABLED = False",
        "WTF_CSRF_ENABLED = bool(0)",
        "WTF_CSRF_CHECK_DEFAULT = False",
        "WTF_CSRF_METHODS = []",
        "AUTH_TYPE = 3",
        "AUTH_TYPE = const.AUTH_REMOTE_USER",
        "AUTH_TYPE = AUTH_SAML",
        "AUTH_TYPE = 'ldap'",
        "AUTH_TYPE = \n",
    ],
)
def test_what_no_site_may_lose_is_refused_without_its_value(line: str) -> None:
    (flaw,) = flaws(line, [])
    assert flaw.value.startswith("line ")
    assert "hunter22" not in f"{flaw.value} {flaw.expected} {flaw.remedy}"


@pytest.mark.parametrize(
    "line", ["AUTH_TYPE = 1", "AUTH_TYPE = AUTH_DB", "AUTH_ROLE_PUBLIC = 'Viewer'", "", "X = AUTH_TYPE"]
)
def test_other_settings_are_accepted(line: str) -> None:
    assert flaws(line, []) == []


def test_an_api_server_leaves_out_the_same_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{name}X" if name.endswith("_") else name for name in (*OWNED, *ALWAYS_TRUE, *NEVER_SET)]
    file = tmp_path / "webserver_config.py"
    file.write_text(OAUTH.replace("from flask_appbuilder.const import AUTH_OAUTH", "AUTH_OAUTH = 4"))
    with caplog.at_level(logging.WARNING):
        assert site_settings(str(file)) == {
            "AUTH_OAUTH": 4,
            "AUTH_TYPE": 4,
            "OAUTH_PROVIDERS": [{"name": "sso", "remote_app": {"client_secret": "hunter22"}}],
            "WTF_CSRF_TIME_LIMIT": None,
        }
        file.write_text("KEPT = 1\n" + "".join(f"{name} = 'hunter22'\n" for name in names))
        assert site_settings(str(file)) == {"KEPT": 1}
    assert all(name in caplog.text for name in names)
    assert "hunter22" not in caplog.text
    assert {name for name in PROTECTED if not any(one.startswith(name) for one in names)} == set()


def test_a_site_without_a_file_has_no_settings(tmp_path: Path) -> None:
    assert site_settings(str(tmp_path / "none.py")) == {}
    (tmp_path / "broken.py").write_text("raise RuntimeError('mistake')")
    with pytest.raises(RuntimeError, match="mistake"):
        site_settings(str(tmp_path / "broken.py"))
