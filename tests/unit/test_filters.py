"""The filters that the roles share."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.filter import cluster
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import inventory_rules as rules

PROJECT = Path(__file__).resolve().parents[2]
CAPACITY = rules.RULES["airflow_triggerer_capacity"]
assert isinstance(CAPACITY, rules.Between)
MOST_TRIGGERS = CAPACITY.high

HOSTVARS = {
    "a": {"airflow_address": "a.example.org", "ansible_host": "192.0.2.1", "airflow_worker_concurrency": "3"},
    "b": {"ansible_host": "192.0.2.2"},
    "c": {},
    "d": {"ansible_host": "2001:db8::4"},
}


def test_an_address_is_the_most_deliberate_name_of_a_host() -> None:
    assert cluster.addresses("abc", HOSTVARS) == ["a.example.org", "192.0.2.2", "c"]


def test_slots_are_added_up_with_the_default_where_none_is_set() -> None:
    assert cluster.worker_slots("abc", HOSTVARS) == 3 + 16 + 16


def test_a_worker_that_scales_counts_with_the_most_it_can_have() -> None:
    hostvars = {"a": {"airflow_worker_concurrency": 4, "airflow_worker_autoscale": [12, 2]}, "b": {}}
    assert cluster.worker_slots("ab", hostvars) == 12 + 16


@pytest.mark.parametrize(
    ("batch", "left"), [(1, 5 + 3), ("2", 3), (3, 1), (9, 1), ("100%", 1), ("50%", 5 + 3), ("10%", 5 + 3), ("67%", 3)]
)
def test_the_slots_that_are_left_hold_for_whichever_batch_is_away(batch: int | str, left: int) -> None:
    hostvars = {name: {"airflow_worker_concurrency": slots} for name, slots in (("a", 3), ("b", 8), ("c", 5))}
    assert cluster.slots_without_batch("abc", hostvars, batch) == left


@pytest.mark.parametrize(
    ("batch", "sizes"),
    [
        (1, [1] * 7),
        ("2", [2, 2, 2, 1]),
        (9, [6, 1]),
        ("100%", [7]),
        ("50%", [3, 3, 1]),
        ("", [3, 3, 1]),
        ("1%", [1] * 7),
    ],
)
def test_no_batch_takes_all_workers_of_a_queue(batch: int | str, sizes: list[int]) -> None:
    """Pool a-d, pool e-f, and g, which takes from the queues of both, and alone from one of its own."""
    pools = {"abcd": ["default"], "ef": ["gpu"], "g": ["default", "gpu", "own"]}
    queues = {name: own for names, own in pools.items() for name in names}
    hostvars = {name: {"airflow_worker_queues": own} for name, own in queues.items()}
    batches = cluster.worker_batches("abcdefg", "abcdefg", hostvars, batch)
    assert [len(one) for one in batches] == sizes
    assert sorted(name for one in batches for name in one) == list("abcdefg")
    if batch != "100%":
        assert all(
            {name for name in "abcdefg" if queue in queues[name]} - {*one}
            for one in batches
            for queue in ("default", "gpu")
        )


def test_the_batches_of_some_workers_count_all_workers_of_their_queues() -> None:
    hostvars: dict[str, dict[str, object]] = {name: {} for name in "abcd"} | {"a": {"airflow_worker_batch": "75%"}}
    assert cluster.worker_batches("cd", "abcd", hostvars) == [["c", "d"]]
    assert cluster.worker_batches("cd", "cd", hostvars) == [["c"], ["d"]]
    assert cluster.worker_batches([], "abcd", hostvars) == []


def test_api_servers_on_loopback_and_elsewhere() -> None:
    assert [server["address"] for server in cluster.api_servers("b", HOSTVARS, 8081, 2, True)] == [
        "127.0.0.1:8081",
        "127.0.0.1:8082",
    ]
    assert cluster.api_servers("ab", HOSTVARS, 8081, 1, False) == [
        {"name": "a-8081", "address": "a.example.org:8081", "host": "a", "tls": True},
        {"name": "b-8081", "address": "192.0.2.2:8081", "host": "b", "tls": True},
    ]


def test_a_certificate_names_each_name_and_address_once() -> None:
    names = ["worker1", "192.0.2.7", "worker1", "fd00::7"]
    assert cluster.subject_alt_names(names) == ["DNS:worker1", "IP:192.0.2.7", "IP:fd00::7"]


def test_url_quote_leaves_nothing_that_a_url_could_misread() -> None:
    assert cluster.url_quote("a/b:c@d%e") == "a%2Fb%3Ac%40d%25e"


def test_an_environment_file_gives_back_what_went_in(tmp_path: Path) -> None:
    """The shell reads double quotes by the same rules as systemd as far as we use them."""
    value = 'a"b\\c$d`e f#g'
    file = tmp_path / "x.env"
    file.write_text(cluster.environment_file({"SECRET": value}))
    shell = subprocess.run(["sh", "-c", f'. {file} && printf %s "$SECRET"'], capture_output=True, text=True, check=True)
    assert shell.stdout == value


# Descriptors that were measured: Celery's pool takes five for each process, a triggerer 1014 for 1002 triggers.
@pytest.mark.parametrize(
    ("role", "variables", "needed"),
    [
        ("worker", {"airflow_worker_concurrency": 1, "airflow_worker_autoscale": []}, 1 + 5),
        (
            "worker",
            {"airflow_worker_concurrency": rules.MOST_SLOTS, "airflow_worker_autoscale": []},
            rules.MOST_SLOTS * 5,
        ),
        (
            "worker",
            {"airflow_worker_concurrency": 1, "airflow_worker_autoscale": [rules.MOST_SLOTS, 1]},
            rules.MOST_SLOTS * 5,
        ),
        ("worker", {"airflow_worker_concurrency": "16", "airflow_worker_autoscale": ["200", "2"]}, 200 * 5),
        ("triggerer", {"airflow_triggerer_capacity": 1}, 1),
        ("triggerer", {"airflow_triggerer_capacity": MOST_TRIGGERS}, MOST_TRIGGERS),
    ],
)
def test_every_accepted_size_has_its_file_descriptors(role: str, variables: dict[str, Any], needed: int) -> None:
    tasks = yaml.safe_load((PROJECT / f"roles/airflow_{role}/tasks/main.yml").read_text())
    lines = [line for task in tasks for line in task.get("vars", {}).get("airflow_process_unit", [])]
    (line,) = (line for line in lines if line.startswith("LimitNOFILE="))
    environment = jinja2.Environment(autoescape=False)
    environment.filters["airflow_celery.cluster.open_files"] = cluster.open_files
    soft, hard = (int(part) for part in environment.from_string(line.partition("=")[2]).render(variables).split(":"))
    # What does not grow with the load had 1024 before, and used less than 100.
    assert needed + 1000 <= soft <= hard
    # The kernel's default of fs.nr_open; systemd cannot set more.
    assert 524_288 <= hard <= 1_048_576


def test_unit_settings() -> None:
    settings = {
        "PrivateTmp": True,
        "ProtectHome": False,
        "UMask": "0077",
        "ReadWritePaths": ["/a", "/b"],
        "X": None,
        "Y": "",
    }
    expected = "PrivateTmp=yes\nProtectHome=no\nUMask=0077\nReadWritePaths=/a\nReadWritePaths=/b\nY=\n"
    assert cluster.unit_settings(settings) == expected


def test_times_are_brought_to_one_form_that_sorts() -> None:
    written = ("2026-11-23 02:00", "2026-11-23T03:00:00.5+01:00", "2026-11-23 02:00:01Z")
    assert [cluster.utc_time(text) for text in written] == [
        "2026-11-23T02:00:00.000000+00:00",
        "2026-11-23T02:00:00.500000+00:00",
        "2026-11-23T02:00:01.000000+00:00",
    ]
    assert [cluster.utc_time(text) for text in ("", "yesterday", "02:00", "2026-11-23", "2026-13-01 00:00")] == [""] * 5


def test_every_filter_is_documented() -> None:
    folder = Path(cluster.__file__).parent
    for name in cluster.FilterModule().filters():
        assert yaml.safe_load((folder / f"{name}.yml").read_text())["DOCUMENTATION"]["name"] == name
