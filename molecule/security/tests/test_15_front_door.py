"""What a stranger can send to the front door, and what a key that left the control node can forge."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import re
import socket
import ssl
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from cluster_inventory import Cluster
from faults.machines import Machines

TIMEOUT = 30
TRIES = 20
MIB = 1 << 20
# Makes HAProxy forget who has tried to log in, so that no test depends on the one before.
FORGET = """
import socket
for table in (b"front_door", b"flower_logins"):
    link = socket.socket(socket.AF_UNIX)
    link.connect("/run/haproxy/admin.sock")
    link.sendall(b"clear table " + table + b"\\n")
    assert not link.makefile().read().strip()
"""
# Sends a request from a machine of the cluster; prints status and text.
REQUEST = """
import json, ssl, sys, urllib.error, urllib.request
url, headers = json.load(sys.stdin)
context = ssl.create_default_context(cafile="/etc/airflow/tls/ca.pem")
try:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context, timeout=20) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
"""
FOR_PEOPLE, FOR_TASKS = "apache-airflow", "urn:airflow.apache.org:task"
# What is on a worker, in a triggerer, in the memory of a task, or in Flower.
LEFT_THE_CONTROL_NODE = (
    "airflow_api_secret_key",
    "airflow_broker_password",
    "airflow_results_password",
    "flower_broker_password",
    "flower_password",
)
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


class Answer(NamedTuple):
    """What a request was answered."""

    status: int
    headers: Message
    text: str

    def cookies(self) -> dict[str, str]:
        """Return the cookies that the answer sets, name to value with attributes."""
        lines = [line.partition("=") for line in self.headers.get_all("Set-Cookie") or []]
        return {name: value for name, _, value in lines}


def send(
    cluster: Cluster, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
) -> Answer:
    """Send one request to the front door, with the path spelt exactly so."""
    where = urlsplit(cluster.url)
    context = ssl.create_default_context(cafile=cluster.ca_file)
    link = http.client.HTTPSConnection(where.hostname or "", where.port or 443, timeout=TIMEOUT, context=context)
    try:
        link.request(method, path, body, headers or {})
        answer = link.getresponse()
        return Answer(answer.status, answer.msg, answer.read().decode(errors="replace"))
    finally:
        link.close()


def raw(cluster: Cluster, text: bytes, port: int = 443) -> str:
    """Send bytes, and return the head of the answer."""
    plain = socket.create_connection((cluster.address(cluster.first("haproxy")), port), timeout=TIMEOUT)
    context = ssl.create_default_context(cafile=cluster.ca_file)
    host = cluster.address(cluster.first("haproxy"))
    with plain if port == 80 else context.wrap_socket(plain, server_hostname=host) as link:
        link.sendall(text)
        found = b""
        # Not to the end of the connection: HAProxy waits there for the rest of a body.
        while b"\r\n\r\n" not in found and (part := link.recv(65536)):
            found += part
    return found.decode(errors="replace")


@pytest.fixture(autouse=True)
def _nobody_has_tried(cluster: Cluster) -> Iterator[None]:
    """No address has tried to log in before a test, nor after it."""
    machines, host = Machines(cluster), cluster.first("haproxy")
    machines.run(host, "python3", "-c", FORGET)
    yield
    machines.run(host, "python3", "-c", FORGET)


# --- Forged with a key -----------------------------------------------------------------------------------------------
def encoded(content: bytes) -> bytes:
    """Return base64 as tokens have it."""
    return urlsafe_b64encode(content).rstrip(b"=")


def token(secret: str, audience: str, subject: str, kid: str) -> str:
    """Return a token that is signed as Airflow signs its own."""
    now = int(time.time())
    claims = {"sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": now + 600, "jti": f"forged {now}"}
    claims |= {"scope": "execution"} if audience == FOR_TASKS else {}
    header = {"alg": "HS512", "typ": "JWT", "kid": kid}
    signed = encoded(json.dumps(header).encode()) + b"." + encoded(json.dumps(claims).encode())
    return (signed + b"." + encoded(hmac.digest(secret.encode(), signed, hashlib.sha512))).decode()


def key_id(secret: str) -> str:
    """Return the name of a signing key, which every token shows."""
    return hashlib.sha256(f"kid:{secret}".encode()).hexdigest()[:16]


def remembered(secret: str) -> str:
    """Return the cookie of Flask-Login that says that user 1 is to be remembered."""
    return f"remember_token=1|{hmac.new(secret.encode(), b'1', hashlib.sha512).hexdigest()}"


def signed_session(secret: str) -> str:
    """Return a session of user 1 as Flask keeps one in a signed cookie."""
    key = hmac.digest(secret.encode(), b"cookie-session", hashlib.sha1)
    payload = encoded(json.dumps({"_user_id": "1", "_fresh": True}).encode())
    payload += b"." + encoded(int(time.time()).to_bytes(4, "big"))
    return "session=" + (payload + b"." + encoded(hmac.digest(key, payload, hashlib.sha1))).decode()


def ask_as_task(cluster: Cluster, bearer: str) -> int:
    """Ask the Execution API for a variable, from a worker; return the status."""
    host = cluster.first("haproxy")
    port = cluster.variables[host]["haproxy_execution_api_port"]
    address = cluster.variables[host]["airflow_address"] or cluster.address(host)
    wanted = [f"https://{address}:{port}/execution/variables/nothing", {"Authorization": f"Bearer {bearer}"}]
    answer = Machines(cluster).told(cluster.workers[0], json.dumps(wanted), "python3", "-c", REQUEST)
    return int(json.loads(answer)[0])


def is_let_in(cluster: Cluster, cookie: str) -> bool:
    """Return whether a cookie opens the UI."""
    answers = [send(cluster, "GET", path, headers={"Cookie": cookie}) for path in ("/auth/", "/auth/users/list/")]
    return any("_token" in answer.cookies() for answer in answers) or answers[1].status == 200


@pytest.mark.parametrize("name", LEFT_THE_CONTROL_NODE)
def test_a_secret_that_left_the_control_node_opens_nothing(cluster: Cluster, name: str) -> None:
    secret = cluster.password(name)
    assert not is_let_in(cluster, remembered(secret))
    assert not is_let_in(cluster, signed_session(secret))
    for audience, right in ((FOR_PEOPLE, "airflow_login_jwt_secret"), (FOR_TASKS, "airflow_jwt_secret")):
        # The name of a key is in every token that is signed with it, so a forger knows it.
        for kid in (key_id(cluster.password(right)), key_id(secret)):
            for_people = {"Authorization": f"Bearer {token(secret, audience, '1', kid)}"}
            assert send(cluster, "GET", "/api/v2/connections", headers=for_people).status in (401, 403)
            for_task = token(secret, audience, "00000000-0000-7000-8000-000000000000", kid)
            assert ask_as_task(cluster, for_task) in (401, 403)


def test_the_right_keys_open_what_the_others_do_not(cluster: Cluster) -> None:
    """Otherwise the refusals above would mean nothing."""
    assert is_let_in(cluster, remembered(cluster.password("airflow_session_secret")))
    people, tasks = cluster.password("airflow_login_jwt_secret"), cluster.password("airflow_jwt_secret")
    bearer = {"Authorization": f"Bearer {token(people, FOR_PEOPLE, '1', key_id(people))}"}
    assert send(cluster, "GET", "/api/v2/connections", headers=bearer).status == 200
    assert ask_as_task(cluster, token(tasks, FOR_TASKS, "00000000-0000-7000-8000-000000000000", key_id(tasks))) == 404


def test_the_key_of_tasks_signs_nothing_for_people_and_the_other_way_round(cluster: Cluster) -> None:
    people, tasks = cluster.password("airflow_login_jwt_secret"), cluster.password("airflow_jwt_secret")
    for kid in (key_id(people), key_id(tasks)):
        bearer = {"Authorization": f"Bearer {token(tasks, FOR_PEOPLE, '1', kid)}"}
        assert send(cluster, "GET", "/api/v2/connections", headers=bearer).status in (401, 403)
        forged = token(people, FOR_TASKS, "00000000-0000-7000-8000-000000000000", kid)
        assert ask_as_task(cluster, forged) in (401, 403)


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
        answers = list(pool.map(lambda _: guess(cluster), range(60)))
    # Two threads of HAProxy may each let one in at the limit.
    assert TRIES <= len([status for status in answers if status != 429]) <= TRIES + 2, answers
    assert guess(cluster) == 429


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


# --- Headers, cookies, sessions --------------------------------------------------------------------------------------
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


def test_cookies_are_for_tls_and_for_a_day(cluster: Cluster) -> None:
    cookies = log_in(cluster)
    for name in ("session", "_token"):
        attributes = [attribute.strip().lower() for attribute in cookies[name].split(";")[1:]]
        assert "secure" in attributes, cookies[name]
        assert "httponly" in attributes or name == "_token"
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
