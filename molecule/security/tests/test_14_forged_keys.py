"""A key that left the control node forges nothing that Airflow, Flask-AppBuilder or Flask accept."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode

import pytest
from cluster_inventory import Cluster
from front_door import ask_as_task, send

FOR_PEOPLE, FOR_TASKS = "apache-airflow", "urn:airflow.apache.org:task"
# What is on a worker, in a triggerer, in the memory of a task, or in Flower.
LEFT_THE_CONTROL_NODE = (
    "airflow_broker_password",
    "airflow_results_password",
    "flower_broker_password",
    "flower_password",
)


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
