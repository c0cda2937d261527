"""What Flower takes over from its airflow.cfg, and what it keeps of an event."""

from __future__ import annotations

import ssl
from configparser import ConfigParser
from typing import Any

import pytest
from airflow_celery_cluster.flower_app import celery_settings, setting, without_content

ENVIRONMENT = {"AIRFLOW__CELERY__BROKER_URL": "rediss://flower:secret@control1:6379/0"}
TLS = "[celery]\nssl_active = True\nssl_cacert = /ca.pem\nssl_cert = /cert.pem\nssl_key = /key.pem\n"


def settings(text: str) -> dict[str, Any]:
    """Return the settings of Celery for the text of an airflow.cfg."""
    config = ConfigParser()
    config.read_string(text)
    return celery_settings(config, ENVIRONMENT)


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 10), ("0.5", 0.5), ("True", True), ("false", False), ("mymaster", "mymaster"), ('{"a": 1}', {"a": 1})],
)
def test_an_option_of_the_transport_has_its_type(text: str, value: object) -> None:
    assert setting(text) == value
    assert type(setting(text)) is type(value)


def test_the_options_of_the_transport_are_taken_over() -> None:
    found = settings("[celery_broker_transport_options]\nsocket_timeout = 10\nmaster_name = 50%%\n")
    assert found["broker_transport_options"] == {"socket_timeout": 10, "master_name": "50%"}
    assert "broker_use_ssl" not in found


@pytest.mark.parametrize(
    ("mutual", "files"),
    [
        ("False", {"ssl_ca_certs": "/ca.pem"}),
        ("True", {"ssl_ca_certs": "/ca.pem", "ssl_certfile": "/cert.pem", "ssl_keyfile": "/key.pem"}),
    ],
)
def test_the_certificate_of_the_broker_is_checked(mutual: str, files: dict[str, str]) -> None:
    found = settings(f"{TLS}ssl_mutual_tls = {mutual}\n")
    assert found["broker_use_ssl"] == {"ssl_cert_reqs": ssl.CERT_REQUIRED} | files


def test_an_event_of_an_older_worker_loses_its_content() -> None:
    event = {"type": "task-received", "uuid": "1", "args": "(token,)", "kwargs": "{}", "retries": 0}
    assert without_content(event) == {"type": "task-received", "uuid": "1", "retries": 0}
    event = {"type": "task-failed", "uuid": "1", "exception": "ValueError('token')", "traceback": "token"}
    assert without_content(event) == {"type": "task-failed", "uuid": "1"}


def test_the_kind_of_an_exception_is_kept() -> None:
    event = {"type": "task-failed", "uuid": "1", "exception": "ValueError"}
    assert without_content(event) == event
