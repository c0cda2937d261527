"""What a stranger can send to the front door."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from urllib.parse import urlencode

import pytest
from cluster_inventory import Cluster
from faults.machines import Machines
from front_door import MIB, ask_as_task, forget_logins, raw, send

TRIES = 20
# All that answers without a login. What it says is the same for every cluster of this version.
OPEN = {
    "GET /",
    "GET /api/v2/monitor/health",
    "GET /api/v2/version",
    "GET /api/v2/auth/login",
    "GET /api/v2/auth/logout",
    "GET /auth/logout",
    "GET /docs",
    "GET /openapi.json",
    "GET /redoc",
    "GET /auth/docs",
    "GET /auth/openapi.json",
    "GET /auth/redoc",
    # They ask for a password.
    "POST /auth/token",
    "POST /auth/token/cli",
}


@pytest.fixture(autouse=True)
def _nobody_has_tried(cluster: Cluster) -> Iterator[None]:
    """No address has tried to log in before a test, nor after it."""
    forget_logins(cluster)
    yield
    forget_logins(cluster)


# --- Guessed passwords -----------------------------------------------------------------------------------------------
def guess_token(path: str) -> Callable[[Cluster], int]:
    """Return a try of a wrong password for a token."""

    def guess(cluster: Cluster) -> int:
        body = json.dumps({"username": cluster.admin[0], "password": "a guess"})
        return send(cluster, "POST", path, body, {"Content-Type": "application/json"}).status

    return guess


def guess_form(path: str) -> Callable[[Cluster], int]:
    """Return a try of a wrong password in the form of a browser."""

    def guess(cluster: Cluster) -> int:
        body = urlencode({"username": cluster.admin[0], "password": "a guess"})
        return send(cluster, "POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"}).status

    return guess


def guess_basic(path: str) -> Callable[[Cluster], int]:
    """Return a try of a wrong password in a header, another one each time."""

    def guess(cluster: Cluster) -> int:
        login = b64encode(f"flower:guess {time.monotonic_ns()}".encode()).decode()
        return send(cluster, "GET", path, headers={"Authorization": f"Basic {login}"}).status

    return guess


GUESSES = {
    "token": guess_token("/auth/token"),
    "token, a letter encoded": guess_token("/%61uth/token"),
    "token, a slash encoded": guess_token("/auth%2Ftoken"),
    "token, letters encoded twice": guess_token("/auth/%74%6F%6b%65n"),
    "token, more slashes": guess_token("//auth//token"),
    "token, a query": guess_token("/auth/token?x=/flower"),
    "token for the command line": guess_token("/auth/token/cli"),
    "form": guess_form("/auth/login/"),
    "form without a slash": guess_form("/auth/login"),
    "form, a letter encoded": guess_form("/auth/l%6fgin/"),
    "Flower": guess_basic("/flower/api/workers"),
    "Flower, a letter encoded": guess_basic("/%66lower/api/workers"),
    "header": guess_basic("/auth/fab/v1/users"),
}


@pytest.mark.parametrize("guess", GUESSES.values(), ids=GUESSES)
def test_who_guesses_passwords_gets_twenty_tries_a_minute(cluster: Cluster, guess: Callable[[Cluster], int]) -> None:
    """All at once: what counts are requests, and not answers."""
    with ThreadPoolExecutor(60) as pool:
        guesses = [pool.submit(guess, cluster) for _ in range(60)]
        assert any(done.result() == 429 for done in as_completed(guesses))
        # Not after all answers: the accepted tries may take longer than the minute on a slow machine.
        assert guess(cluster) == 429
    answers = [done.result() for done in guesses]
    # Two threads of HAProxy may each let one in at the limit.
    assert TRIES <= len([status for status in answers if status != 429]) <= TRIES + 2, answers


def test_all_ways_to_guess_count_together(cluster: Cluster) -> None:
    guesses = (GUESSES["token"], GUESSES["form"], GUESSES["Flower"], GUESSES["header"])
    answers = [guess(cluster) for _ in range(6) for guess in guesses]
    assert answers.index(429) == TRIES, answers
    assert set(answers[TRIES:]) == {429}


def test_a_locked_address_loses_the_login_and_nothing_else(cluster: Cluster) -> None:
    client = cluster.client()
    client.version()  # logged in before
    flower = {"Authorization": "Basic " + b64encode(":".join(cluster.flower_login).encode()).decode()}
    assert send(cluster, "GET", "/flower/workers", headers=flower).status == 200
    answers = [GUESSES["token"](cluster) for _ in range(TRIES + 5)]
    assert answers[-1] == 429
    # The right password waits, too: otherwise the lock would tell which one is right.
    assert guess_right(cluster) == 429
    assert client.version()
    assert send(cluster, "GET", "/flower/workers", headers=flower).status == 200
    paths = ("/", "/api/v2/version", "/auth/login/", "/auth/logout", "/auth/static/appbuilder/css/ab.css", "/flower/")
    assert {path: send(cluster, "GET", path).status for path in paths} == {
        "/": 200,
        "/api/v2/version": 200,
        "/auth/login/": 200,
        "/auth/logout": 307,
        "/auth/static/appbuilder/css/ab.css": 200,
        "/flower/": 401,
    }


def guess_right(cluster: Cluster) -> int:
    """Log in; return the status."""
    user, password = cluster.admin
    body = json.dumps({"username": user, "password": password})
    return send(cluster, "POST", "/auth/token", body, {"Content-Type": "application/json"}).status


def test_logins_wait_for_each_other_and_for_nobody_else(cluster: Cluster) -> None:
    """A password costs a processor's time: as many logins as there are API servers are under way at once."""
    with ThreadPoolExecutor(TRIES) as pool:
        logins = [pool.submit(GUESSES["token"], cluster) for _ in range(TRIES)]
        pages = []
        while not all(login.done() for login in logins):
            begun = time.monotonic()
            assert send(cluster, "GET", "/api/v2/version").status == 200
            pages.append(time.monotonic() - begun)
    assert {login.result() for login in logins} == {401}
    assert pages


def test_each_entrance_has_its_own_limits(cluster: Cluster) -> None:
    """As docs/security.md states them."""
    program = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock'); "
        "s.sendall(b'show stat\\n'); print(s.makefile().read())"
    )
    lines = Machines(cluster).run(cluster.first("haproxy"), "python3", "-c", program).splitlines()
    head = lines[0].removeprefix("# ").split(",")
    rows = [dict(zip(head, line.split(","), strict=False)) for line in lines[1:] if line]
    limits = {(row["pxname"], row["svname"]): row["slim"] for row in rows}
    assert limits["front_door", "FRONTEND"] == "1000"
    assert limits["execution_api", "FRONTEND"] == "3000"
    server = f"{cluster.first('airflow_api_server')}-8081"
    found = {backend: limits[backend, server] for backend in ("api_servers", "logins", "uploads")}
    assert found == {"api_servers": "32", "logins": "1", "uploads": "2"}


# --- Bodies ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/auth/token", 8 << 10, 422),
        ("/auth/token", (8 << 10) + 1, 413),
        ("/auth/%74oken", (8 << 10) + 1, 413),
        ("/auth/login/", (8 << 10) + 1, 413),
        ("/api/v2/variables", 2 * MIB, 401),
        ("/api/v2/variables", 2 * MIB + 1, 413),
        ("/auth/fab/v1/users", 48 * MIB, 413),
        ("/nowhere", 48 * MIB, 413),
    ],
)
def test_a_body_has_a_limit(cluster: Cluster, path: str, size: int, status: int) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    body = b"x" * size if status != 413 else b""
    answer = raw(cluster, f"{head}Content-Length: {size}\r\n\r\n".encode() + body)
    assert answer.startswith(f"HTTP/1.1 {status} "), answer[:200]


@pytest.mark.parametrize("path", ["/auth/token", "/api/v2/variables", "/flower/tasks/datatable"])
def test_a_body_has_a_length(cluster: Cluster, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw(cluster, f"{head}5\r\nhello\r\n0\r\n\r\n".encode()).startswith("HTTP/1.1 411 ")


def test_who_sends_slowly_is_sent_away(cluster: Cluster) -> None:
    texts = (
        b"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow",
        b"POST /api/v2/variables HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow",
        b"GET / HTTP/1.1\r\nHost:",
    )
    with ThreadPoolExecutor(len(texts)) as pool:
        answers = list(pool.map(lambda text: raw(cluster, text), texts))
    assert [answer[:13] for answer in answers] == ["HTTP/1.1 408 "] * len(texts)


# --- Paths -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path", ["/execution/health", "/execution/variables/x", "/%65xecution/health", "//execution/health", "/execution"]
)
def test_the_execution_api_has_an_entrance_of_its_own(cluster: Cluster, path: str) -> None:
    assert send(cluster, "GET", path).status == 404


def test_a_worker_reaches_the_execution_api(cluster: Cluster) -> None:
    """With a token that is none: it is asked for, and not refused for where it comes from."""
    assert ask_as_task(cluster, "none") in (401, 403)


def routes(cluster: Cluster) -> set[str]:
    """Return method and path of everything that the API servers say they serve."""
    found = set()
    for prefix in ("", "/auth"):
        described: dict[str, Any] = json.loads(send(cluster, "GET", f"{prefix}/openapi.json").text)
        for path, methods in described["paths"].items():
            found |= {f"{method.upper()} {prefix}{re.sub(r'{[^}]+}', '1', path)}" for method in methods}
    return found


def test_what_answers_without_a_login_is_listed(cluster: Cluster) -> None:
    wanted = routes(cluster)
    assert len(wanted) > 100
    headers = {"Content-Type": "application/json"}
    answered = {}
    for route in sorted((wanted | OPEN) - {"POST /auth/token", "POST /auth/token/cli"}):
        method, _, path = route.partition(" ")
        answered[route] = send(cluster, method, path, None if method == "GET" else "{}", headers).status
    refused = {route for route, status in answered.items() if status in (401, 403)}
    assert set(answered) - refused == OPEN - {"POST /auth/token", "POST /auth/token/cli"}, answered


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/flower/metrics", 404),
        ("GET", "/flower/%6detrics", 404),
        ("GET", "/flower//metrics", 404),
        ("GET", "/flower/healthcheck", 404),
        ("GET", "/flower/workers", 200),
        ("HEAD", "/flower/workers", 405),
        ("POST", "/flower/tasks/datatable", 400),
        ("POST", "/flower/api/task/revoke/x", 405),
        ("POST", "/flower/api/worker/shutdown/celery@worker1", 405),
        ("POST", "/%66lower/api/worker/shutdown/celery@worker1", 405),
        ("POST", "/flower/api/task/async-apply/x", 405),
        ("PUT", "/flower/workers", 405),
        ("DELETE", "/flower/workers", 405),
    ],
)
def test_flower_is_looked_at_and_not_told(cluster: Cluster, method: str, path: str, status: int) -> None:
    login = "Basic " + b64encode(":".join(cluster.flower_login).encode()).decode()
    answer = send(cluster, method, path, "" if method in ("POST", "PUT") else None, {"Authorization": login})
    assert answer.status == status, answer.text[:500]
