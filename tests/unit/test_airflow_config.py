"""Which process reads which setting."""

from __future__ import annotations

import pytest
from ansible_collections.airflow_celery.cluster.plugins.module_utils import airflow_config


def test_a_process_gets_only_what_it_reads() -> None:
    config = {
        "scheduler": {"max_tis_per_query": 16},
        "triggerer": {"default_capacity": 5},
        "core": {"load_examples": False},
    }
    assert airflow_config.for_process(config, "scheduler") == {
        "core": {"load_examples": "False"},
        "scheduler": {"max_tis_per_query": "16"},
    }
    assert "triggerer" in airflow_config.for_process(config, "triggerer")


def test_the_worker_never_gets_database_settings() -> None:
    assert airflow_config.for_process({"database": {"sql_alchemy_pool_size": 5}}, "worker") == {}


def test_an_option_may_have_other_readers_than_its_section() -> None:
    assert "worker" in airflow_config.readers("api", "base_url")
    assert "worker" not in airflow_config.readers("api", "workers")


def test_flower_gets_what_the_connection_to_the_broker_needs() -> None:
    config = {
        "celery": {"ssl_active": True, "worker_concurrency": 4, "extra_celery_config": {}},
        "celery_broker_transport_options": {"socket_timeout": 10},
        "logging": {"logging_level": "INFO"},
    }
    assert airflow_config.for_process(config, "flower") == {
        "celery": {"ssl_active": "True"},
        "celery_broker_transport_options": {"socket_timeout": "10"},
    }


def test_an_unknown_section_concerns_every_airflow_process() -> None:
    assert airflow_config.readers("my_provider", "x") == airflow_config.AIRFLOW_PROCESSES


def test_names_are_compared_in_lower_case() -> None:
    assert airflow_config.for_process({"Triggerer": {"Default_Capacity": 1}}, "scheduler") == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "True"),
        (None, ""),
        (7, "7"),
        ("50%", "50%%"),
        ([{"b": 1, "a": None}], '[{"a": null, "b": 1}]'),
    ],
)
def test_values_are_spelt_as_airflow_spells_them(value: object, text: str) -> None:
    assert airflow_config.render_value(value) == text


def test_a_process_must_be_known() -> None:
    with pytest.raises(ValueError, match="webserver"):
        airflow_config.for_process({}, "webserver")


def test_every_exception_names_known_processes() -> None:
    for names in (*airflow_config.OPTION_READERS.values(), *airflow_config.SECTION_READERS.values()):
        assert names <= airflow_config.PROCESSES
