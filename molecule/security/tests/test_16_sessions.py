"""Headers, redirections, cookies and sessions."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urlsplit

import pytest
from cluster_inventory import Cluster
from front_door import forget_logins, raw, send


@pytest.fixture(autouse=True)
def _nobody_has_tried(cluster: Cluster) -> Iterator[None]:
    """No address has tried to log in before a test, nor after it."""
    forget_logins(cluster)
    yield
    forget_logins(cluster)


@pytest.mark.parametrize("path", ["/", "/auth/login/", "/api/v2/version", "/api/v2/dags", "/execution/x", "/flower/"])
def test_every_answer_says_how_it_may_be_used(cluster: Cluster, path: str) -> None:
    headers = send(cluster, "GET", path).headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    assert not headers["Server"] or "TornadoServer" not in headers["Server"]


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "X-Forwarded-Host", "X_Forwarded_Host", "X-Forwarded-Prefix", "X_Forwarded_Prefix"),
        *("X-Forwarded-Server", "Forwarded", "X-Forwarded-Proto", "X_Forwarded_Proto", "X-Forwarded-Port"),
    ],
)
def test_a_client_does_not_say_what_it_is_called(cluster: Cluster, name: str) -> None:
    value = "host=evil.example" if name == "Forwarded" else "evil.example"
    for path in ("/auth/users/list/", "/auth/", "/api/v2/auth/login", "/api/v2/auth/logout"):
        answer = send(cluster, "GET", path, headers={name: value})
        assert answer.status in (302, 307)
        where = urlsplit(answer.headers["Location"])
        assert where.netloc in ("", urlsplit(cluster.url).netloc)
        assert where.scheme in ("", "https")
        assert "evil" not in answer.headers["Location"] + answer.text


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "https:evil.example"]
)
def test_a_login_leads_nowhere_else(cluster: Cluster, target: str) -> None:
    cookies = log_in(cluster, f"/auth/login/?{urlencode({'next': target})}")
    assert urlsplit(cookies[""]).netloc in ("", urlsplit(cluster.url).netloc)


def test_plain_http_leads_to_the_name_of_the_ui(cluster: Cluster) -> None:
    def redirected(text: str) -> str:
        return raw(cluster, f"{text}\r\nConnection: close\r\n\r\n".encode(), 80)

    for text in (
        "GET /dags?tag=x HTTP/1.1\r\nHost: evil.example",
        "GET http://evil.example/dags?tag=x HTTP/1.1\r\nHost: evil.example",
    ):
        answer = redirected(text)
        assert answer.startswith("HTTP/1.1 308 ")
        assert f"location: {cluster.url}/dags?tag=x\r\n" in answer
    assert redirected("OPTIONS * HTTP/1.1\r\nHost: evil.example").startswith("HTTP/1.1 400 ")


def log_in(cluster: Cluster, path: str = "/auth/login/") -> dict[str, str]:
    """Log in at the form; return the cookies as name to value, and as "" where the login leads."""
    form = send(cluster, "GET", path)
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form.text)
    assert found
    user, password = cluster.admin
    body = urlencode({"csrf_token": found[1], "username": user, "password": password})
    session = form.cookies()["session"].partition(";")[0]
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": f"session={session}",
        "Referer": f"{cluster.url}{path}",
    }
    answer = send(cluster, "POST", path, body, headers)
    assert answer.status == 302, answer.text[:500]
    session = answer.cookies().get("session", session)
    entered = send(cluster, "GET", "/auth/", headers={"Cookie": f"session={session.partition(';')[0]}"})
    return {"session": session, "_token": entered.cookies()["_token"], "": answer.headers["Location"]}


def test_the_settings_of_the_site_are_in_force(cluster: Cluster) -> None:
    """The file of airflow_webserver_config is read, but what the same file does to cookies is not: see below."""
    answer = send(cluster, "GET", "/auth/static/appbuilder/css/ab.css")
    assert "max-age=4711" in answer.headers["Cache-Control"]


def test_cookies_are_for_tls_and_for_a_day(cluster: Cluster) -> None:
    cookies = log_in(cluster)
    for name in ("session", "_token"):
        attributes = [attribute.strip().lower() for attribute in cookies[name].split(";")[1:]]
        assert "secure" in attributes, cookies[name]
        assert "httponly" in attributes
        assert "samesite=lax" in attributes
    expires = re.search(r"Expires=([^;]+)", cookies["session"])
    assert expires
    assert 0 < parsedate_to_datetime(expires[1]).timestamp() - time.time() <= 24 * 3600


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout/", "/api/v2/auth/logout"])
def test_a_logout_ends_what_it_ends_for_everybody(cluster: Cluster, path: str) -> None:
    cookies = {name: value.partition(";")[0] for name, value in log_in(cluster).items()}
    session, bearer = {"Cookie": f"session={cookies['session']}"}, {"Authorization": f"Bearer {cookies['_token']}"}
    assert "_token" in send(cluster, "GET", "/auth/", headers=session).cookies()
    assert send(cluster, "GET", "/api/v2/dags", headers=bearer).status == 200
    both = {"Cookie": f"session={cookies['session']}; _token={cookies['_token']}"}
    answer = send(cluster, "GET", path, headers=both)
    assert answer.status in (302, 307)
    if path.startswith("/api"):
        send(cluster, "GET", urlsplit(answer.headers["Location"]).path, headers=both)
    # The browser has lost its cookies. A copy of them is worth nothing.
    assert "_token" not in send(cluster, "GET", "/auth/", headers=session).cookies()
    assert send(cluster, "GET", "/api/v2/dags", headers=bearer).status in (401, 403)
