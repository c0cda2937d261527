"""The division of a host's memory, over every size of a machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.airflow_celery.cluster.plugins.filter.memory import memory_plan
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import (
    memory,
    memory_settings,
    process_memory,
    topology,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check import capacity

ROLES = Path(__file__).resolve().parents[2] / "roles"
ALL = frozenset(topology.CONTROL_GROUPS)
LAYOUTS = {
    "all but workers": ALL,
    "all": ALL | {"airflow_worker"},
    "databases": frozenset({"postgres", "redis"}),
    "postgres": frozenset({"postgres"}),
    "redis": frozenset({"redis"}),
    "airflow": ALL - {"postgres", "redis"},
    "worker": frozenset({"airflow_worker"}),
    "haproxy": frozenset({"haproxy"}),
}
SIZES = [*range(1024, 4097, 97), *range(4096, 262_145, 4093), 262_144]


def load(groups: frozenset[str], slots: int = 16) -> memory.Load:
    return memory.Load(groups=groups, slots=slots)


def megabytes(setting: Any) -> float:
    match = re.fullmatch(r"(\d+)(kB|MB|mb)", setting)
    assert match
    return int(match[1]) / (1024 if match[2] == "kB" else 1)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("explicit", [{}, {"redis": 128}, {"postgres": 600, "redis": 128}], ids=str)
def test_the_limits_and_the_system_fit_into_the_memory(layout: frozenset[str], explicit: dict[str, int]) -> None:
    for size in SIZES:
        plan = memory.plan(size, load(layout), explicit)
        assert plan.system >= min(memory.LEAST_SYSTEM, memory.steady(size) // 4)
        if plan.fits or not explicit:
            assert plan.system + sum(plan.parts.values()) <= size, plan
        if plan.fits:
            least = load(layout).least()
            assert all(plan.parts[part] >= explicit.get(part, least[part]) for part in least), plan
        # Nearly all of it is somebody's: what a step takes, and the remainders of divisions.
        if plan.parts and not explicit:
            assert plan.system + sum(plan.parts.values()) >= size - max(1, size // 16) - len(plan.parts)


def test_a_part_never_gets_less_of_a_larger_machine() -> None:
    for layout in LAYOUTS.values():
        plans = [memory.plan(size, load(layout)) for size in SIZES]
        for smaller, larger in pairwise(plans):
            assert all(larger.parts[part] >= limit for part, limit in smaller.parts.items())


def test_a_whole_control_node_fits_into_a_machine_of_two_gigabytes() -> None:
    """A machine of 2 GB shows some 1970 MB."""
    plan = memory.plan(1970, load(ALL))
    assert plan.fits
    assert not memory.plan(1024, load(ALL)).fits


def test_the_pools_of_the_execution_apis_are_those_of_their_role() -> None:
    tasks = yaml.safe_load((ROLES / "airflow_execution_api/tasks/main.yml").read_text())
    [settings] = [
        task["vars"]["airflow_process_config"] for task in tasks if "airflow_process_config" in task.get("vars", {})
    ]
    assert settings["database"] == memory.EXECUTION_API_POOL


def test_a_small_difference_of_memory_changes_nothing() -> None:
    assert memory.plan(1970, load(ALL)).parts == memory.plan(1965, load(ALL)).parts


def test_a_worker_alone_has_its_own_limit() -> None:
    assert memory.plan(4096, load(frozenset({"airflow_worker"}))).parts == {}


def test_an_explicit_limit_leaves_more_or_less_for_the_others() -> None:
    by_default = memory.plan(8192, load(ALL)).parts
    less = memory.plan(8192, load(ALL), {"postgres": 1024}).parts
    assert less["postgres"] == 1024
    assert less["redis"] > by_default["redis"]
    assert less["airflow"] > by_default["airflow"]


def test_the_clusters_of_postgresql_share_its_memory() -> None:
    counts = {"main": 150, "results": 50}
    for size in (100, 346, 1000, 30_000):
        main, results = (memory.cluster_share(size, name, counts) for name in ("main", "results"))
        assert main > results
        assert size - 1 <= main + results <= size
    assert memory.cluster_share(30_000, "results", counts) < 4000


@pytest.mark.parametrize("size", [64, 246, 1396, 7156, 30_196, 128_500])
def test_the_settings_of_postgresql_fit_into_its_memory(size: int) -> None:
    settings = memory_settings.postgres_settings(size, 150)
    shared, maintenance = megabytes(settings["shared_buffers"]), megabytes(settings["maintenance_work_mem"])
    workers = 3 * megabytes(settings["autovacuum_work_mem"])
    assert shared + maintenance + workers <= size * 0.8
    assert shared <= max(16, size / 4)
    assert shared < megabytes(settings["effective_cache_size"]) <= size * 0.7
    work = megabytes(settings["work_mem"])
    assert 1 <= work <= 64
    assert work == 1 or work * 150 <= size / 4
    assert megabytes(settings["min_wal_size"]) < megabytes(settings["max_wal_size"]) <= 2048


@pytest.mark.parametrize("size", [64, 82, 806, 32_102])
def test_half_of_redis_is_for_data(size: int) -> None:
    settings = memory_settings.redis_settings(size)
    assert megabytes(settings["maxmemory"]) <= size / 2
    _, hard, soft, seconds = settings["client-output-buffer-limit"].split()
    assert megabytes(soft) <= megabytes(hard) <= max(1, size / 32)
    assert seconds == "60"


@pytest.mark.parametrize(("count", "expected"), [(1, 10), (10, 10), (11, 15), (130, 150), (151, 200), (701, 1000)])
def test_connections_grow_in_steps(count: int, expected: int) -> None:
    assert memory.step_up(count) == expected


# --- From an inventory ------------------------------------------------------------------------------------------------
GROUPS = {group: ["control1"] for group in topology.CONTROL_GROUPS} | {"airflow_worker": ["worker1", "worker2"]}


def value_of(variables: Mapping[str, Mapping[str, Any]]) -> memory.Value:
    return lambda host, name: variables.get(host, {}).get(name, memory.DEFAULTS[name])


def test_connections_follow_processes_pools_and_slots() -> None:
    # An API server with two pools of 15, two Execution APIs with two pools of 10, three processes with one of 15; and
    # 2 workers with 16 + 2, the scheduler's 2.
    assert memory.connections(GROUPS, value_of({})) == {
        "main": memory.step_up(25 + 2 * 15 + 2 * 2 * 10 + 3 * 15),
        "results": memory.step_up(10 + 2 * 18 + 2),
    }
    more: dict[str, dict[str, Any]] = {
        "control1": {
            "airflow_api_server_instances": "4",
            "airflow_config": {"database": {"sql_alchemy_pool_size": 20, "sql_alchemy_max_overflow": -1}},
        },
        "worker1": {"airflow_worker_concurrency": 500},
    }
    assert memory.connections(GROUPS, value_of(more)) == {
        "main": memory.step_up(25 + 4 * 2 * 30 + 2 * 2 * 25 + 3 * 30),
        "results": memory.step_up(10 + 502 + 18 + 2),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90%", 3686), ("6G", 6144), ("512M", 512), ("1048576K", 1024), ("1T", 1 << 20), ("infinity", 0), ("", 0)],
)
def test_sizes_as_systemd_spells_them(text: str, expected: int) -> None:
    assert memory.size_mb(text, 4096) == expected


PARSING = "airflow_config.dag_processor.parsing_processes"


def problems(machine: int, groups: Any = None, **variables: Any) -> list[memory.Problem]:
    return list(memory.problems("control1", machine, groups or GROUPS, value_of({"control1": variables})))


def test_a_sound_machine_has_no_problem() -> None:
    assert problems(1970) == []
    assert problems(8192, redis_memory_mb=512, postgres_memory_mb=2048) == []
    assert list(memory.problems("worker1", 900, GROUPS, value_of({"worker1": {"airflow_worker_concurrency": 8}}))) == []


def test_slots_whose_processes_alone_exceed_the_memory_of_a_worker_are_refused() -> None:
    def on_worker(machine: int, **variables: Any) -> list[memory.Problem]:
        return list(memory.problems("worker1", machine, GROUPS, value_of({"worker1": variables})))

    # The demo, docs/requirements.md, and the cluster of tools/size_benchmark.py.
    for machine, slots in ((900, 4), (950, 5), (1950, 16), (4096, 50), (16_000, 280)):
        assert on_worker(machine, airflow_worker_concurrency=slots) == []
    (found,) = on_worker(2048, airflow_worker_concurrency=1000)
    assert (found.variable, found.value) == ("airflow_worker_concurrency", "1000")
    assert "at most 30 slots on a worker that may use 1843 of 2048 MiB" in found.expected
    (found,) = on_worker(2048, airflow_worker_autoscale=[200, 4])
    assert (found.variable, found.value) == ("airflow_worker_autoscale", "[200, 4]")
    # Its limit counts, not the memory of its machine.
    (found,) = on_worker(8192, airflow_worker_memory_max="1G")
    assert "at most 14 slots on a worker that may use 1024 of 8192 MiB" in found.expected
    assert on_worker(8192, airflow_worker_memory_max="infinity") == []


def test_the_share_of_a_worker_is_the_default_of_its_limit() -> None:
    default = yaml.safe_load((ROLES / "airflow_worker/defaults/main.yml").read_text())["airflow_worker_memory_max"]
    assert re.findall(r"else '(\d+)%'", default) == [str(memory.WORKER_SHARE)]


def test_the_limit_of_slots_is_below_what_haproxy_takes() -> None:
    variables = yaml.safe_load((ROLES / "haproxy/vars/main.yml").read_text())
    assert variables["__haproxy_maxconn"]["execution_api"] == capacity.EXECUTION_API_CONNECTIONS
    assert capacity.MOST_RUNNING_TASKS < capacity.EXECUTION_API_CONNECTIONS
    tasks = (ROLES / "airflow_execution_api/tasks/main.yml").read_text()
    assert f"({capacity.EXECUTION_API_CONNECTIONS} | airflow_celery.cluster.open_files(1))" in tasks


def test_explicit_limits_that_are_more_than_the_memory_are_refused() -> None:
    (found,) = problems(4096, redis_memory_mb=1024, postgres_memory_mb=3000)
    assert found.variable == "postgres_memory_mb, redis_memory_mb"
    assert found.value == "3000, 1024"
    assert "at most 4096 MiB: 160 (system) + 3000 (postgres_memory_mb) + 1024 (redis_memory_mb)" in found.expected
    assert found.remedy == "lower or remove postgres_memory_mb or redis_memory_mb"


def test_an_explicit_limit_that_is_too_small_is_refused() -> None:
    (found,) = problems(8192, redis_memory_mb=32)
    assert (found.variable, found.value) == ("redis_memory_mb", "32")
    assert "at least 64 MiB" in found.expected


def test_a_machine_that_is_too_small_for_its_groups_is_refused() -> None:
    (found,) = problems(1800)
    assert (found.variable, found.value) == ("memory", "1800 MB")
    assert "= 1890" in found.expected
    assert "give the machine more memory" in found.remedy


@pytest.mark.parametrize(("text", "refused"), [("64MB", False), ("8GB", True), ("1048576", True), ("nonsense", False)])
def test_shared_buffers_must_leave_room(text: str, refused: bool) -> None:
    found = [problem.variable for problem in problems(4096, postgres_settings={"shared_buffers": text})]
    assert found == (["postgres_settings.shared_buffers"] if refused else [])


def test_a_machine_has_not_what_the_inventory_says() -> None:
    (found,) = problems(1970, airflow_host_memory_mb=2048)
    assert (found.variable, found.value) == ("airflow_host_memory_mb", "2048")
    assert "at most 1970" in found.expected


def test_a_worker_beside_the_control_plane_gets_a_share() -> None:
    shared = GROUPS | {"airflow_worker": ["control1"]}
    assert memory.host_plan("control1", 8192, shared, value_of({})).parts["worker"] >= 300 + 16 * 70
    (found,) = problems(8192, shared, airflow_worker_memory_max="90%")
    assert found.value == "90%"


# --- The filter -------------------------------------------------------------------------------------------------------
def test_the_filter_takes_what_the_host_has_unless_the_inventory_says_less() -> None:
    hostvars: dict[str, dict[str, Any]] = {"control1": {"ansible_facts": {"memtotal_mb": 8192}}}
    hostvars |= {"worker1": {}, "worker2": {}}
    whole = memory_plan("control1", hostvars, GROUPS)
    assert whole["total"] == 8192
    assert sum(whole["postgres_clusters"].values()) <= whole["postgres"]
    assert whole["connections"] == {"main": 300, "results": 100}
    hostvars["control1"]["airflow_host_memory_mb"] = "2048"
    assert memory_plan("control1", hostvars, GROUPS)["total"] == 2048


def test_the_filter_says_what_to_do_when_it_knows_no_memory() -> None:
    with pytest.raises(AnsibleFilterError, match=r"control1.*preflight\.yml"):
        memory_plan("control1", {"control1": {}}, GROUPS)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_process_that_grows_leaves_the_others_what_they_need(layout: frozenset[str]) -> None:
    for size in SIZES:
        plan, here = memory.plan(size, load(layout)), load(layout)
        limits, least = process_memory.limits(plan.parts.get("airflow", 0), here), process_memory.least(here)
        assert limits.keys() == least.keys()
        assert bool(limits) == here.has_control
        for name, limit in limits.items():
            margin = int(least[name] * process_memory.MARGINS.get(name, process_memory.MARGIN))
            assert limit >= margin
            # Each unit of the Execution API is one of two.
            if limit > margin:
                assert limit + here.least()["airflow"] - least[name] == plan.parts["airflow"]


@pytest.mark.parametrize(
    ("variables", "variable"),
    [
        ({}, None),
        ({"airflow_triggerer_capacity": 1000}, None),
        ({"airflow_triggerer_capacity": 100_000}, "airflow_triggerer_capacity"),
        ({"airflow_config": {"dag_processor": {"parsing_processes": 4}}}, None),
        ({"airflow_config": {"dag_processor": {"parsing_processes": "32"}}}, PARSING),
    ],
)
def test_what_a_process_has_many_of_fits_into_its_limit(variables: Any, variable: str | None) -> None:
    def found(machine: int) -> list[memory.Problem]:
        return list(process_memory.problems("control1", machine, GROUPS, value_of({"control1": variables})))

    refused = found(2048)
    assert [problem.variable for problem in refused] == ([variable] if variable else [])
    assert found(65_536) == []
    for problem in refused:
        assert re.match(r"at most \d+: the [a-z-]+ may use \d+ MiB on this host", problem.expected)
        # What it names works.
        most = int(problem.expected.split()[2].rstrip(":"))
        works: dict[str, Any] = {"airflow_triggerer_capacity": most}
        if variable == PARSING:
            works = {"airflow_config": {"dag_processor": {"parsing_processes": most}}}
        assert list(process_memory.problems("control1", 2048, GROUPS, value_of({"control1": works}))) == []


def test_the_limits_of_the_processes_of_a_small_control_node() -> None:
    here = load(ALL)
    limits = process_memory.limits(memory.plan(2048, here).parts["airflow"], here)
    assert limits["scheduler"] < memory.plan(2048, here).parts["airflow"] // 2
    assert limits == {
        "scheduler": 300,
        "dag-processor": 360,
        "triggerer": 400,
        "flower": 109,
        "api-server": 300,
        "execution-api": 264,
    }


def test_an_api_server_with_several_processes_has_room_for_all() -> None:
    here = memory.Load(groups=ALL, api_server_processes=4, api_server_workers=4)
    assert process_memory.least(here)["api-server"] == 4 * memory.API_SERVER
