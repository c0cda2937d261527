"""The tests' client of the REST API."""

from __future__ import annotations

import json

import pytest
from airflow_client import AirflowClient, ApiError

PASSWORDS = {"old": "token of old", "new": "token of new"}


def test_a_list_in_a_query_is_a_repeated_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def http(method: str, url: str, **rest: object) -> tuple[int, str]:
        asked.append(url)
        return 201, json.dumps({"access_token": "t"})

    monkeypatch.setattr("airflow_client.http", http)
    AirflowClient("https://host", "user", "password").call("GET", "/dags", state=["queued", "running"], limit=1)
    assert asked[-1] == "https://host/api/v2/dags?state=queued&state=running&limit=1"


@pytest.mark.parametrize("refused", [401, 403])
def test_a_rotation_of_secrets_is_one_more_login(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    valid = "old"
    bodies = []

    def http(method: str, url: str, **rest: object) -> tuple[int, str]:
        if url.endswith("/auth/token"):
            body = rest["body"]
            assert isinstance(body, dict)
            bodies.append(body["password"])
            if body["password"] != valid:
                return 401, ""
            return 201, json.dumps({"access_token": PASSWORDS[valid]})
        return (200 if f"Bearer {PASSWORDS[valid]}" in str(rest["headers"]) else refused), "{}"

    monkeypatch.setattr("airflow_client.http", http)
    client = AirflowClient("https://host", "admin", "old", read_password=lambda: "new")
    client.call("GET", "/dags")
    valid = "new"
    client.call("GET", "/dags")
    client.call("GET", "/dags")
    assert bodies == ["old", "old", "new"]


def test_a_wrong_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_client.http", lambda method, url, **rest: (401, ""))
    for read_password in (None, lambda: "also wrong"):
        with pytest.raises(ApiError) as refused:
            AirflowClient("https://host", "admin", "wrong", read_password=read_password).token()
        assert refused.value.status == 401
