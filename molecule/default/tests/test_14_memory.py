"""Each host divides its memory among the parts of the cluster."""

from __future__ import annotations

import re

from cluster_inventory import Cluster
from test_10_hosts import UNITS, Connect, debian, groups_of, properties


def as_kb(setting: str) -> int:
    """Return a size as PostgreSQL shows it in kB."""
    number, unit = re.fullmatch(r"(\d+)(kB|MB|GB)", setting).groups()  # type: ignore[union-attr]
    return int(number) * {"kB": 1, "MB": 1 << 10, "GB": 1 << 20}[unit]


def limit_of(shown: dict[str, str]) -> int:
    """Return the memory limit of a unit in MiB."""
    return int(shown["MemoryMax"]) >> 20


# The machines of the tests have no memory controller in them: systemd takes the limits and cannot enforce them. What
# the tests can see is that they are said, that they add up, and that the services have settings which keep within them.
def test_the_limits_of_a_host_fit_into_its_memory(cluster: Cluster, connect: Connect, name: str) -> None:
    host = connect(name)
    units = [unit.format(**debian(host)) for group in groups_of(cluster, name) for unit in UNITS[group]]
    limited = {unit for unit in units if unit.startswith("postgresql@") or unit in ("redis-server", "airflow-worker")}
    control = {unit for unit in units if unit.startswith("airflow-") and not unit.startswith("airflow-worker")}
    shown = {unit: properties(host, unit) for unit in limited | control}
    limits = {unit: limit_of(shown[unit]) for unit in limited}
    if control:
        assert {shown[unit]["Slice"] for unit in control} == {"airflow.slice"}
        limits["airflow.slice"] = limit_of(properties(host, "airflow.slice"))
        # What the machines of the tests are said to have.
        assert sum(limits.values()) <= 2048
    assert all(limit >= 64 for limit in limits.values()), limits
    for unit in limited - {"airflow-worker"}:
        assert 0 < int(shown[unit]["MemoryHigh"]) < int(shown[unit]["MemoryMax"])
        # Before them the kernel takes an Airflow process, which has 0.
        assert int(shown[unit]["OOMScoreAdjust"]) <= -800
        assert shown[unit]["OOMPolicy"] == "continue"
        assert shown[unit]["NeedDaemonReload"] == "no"


def test_postgresql_has_settings_for_its_memory(cluster: Cluster, connect: Connect) -> None:
    host = connect(cluster.first("postgres"))
    clusters = host.check_output("pg_lsclusters --no-header").splitlines()
    assert clusters
    for line in clusters:
        version, instance, port = line.split()[:3]

        def show(setting: str, port: str = port) -> str:
            return str(host.check_output(f"runuser -u postgres -- psql -p {port} -At -c 'show {setting}'"))

        limit = limit_of(properties(host, f"postgresql@{version}-{instance}")) << 10
        assert 16 << 10 <= as_kb(show("shared_buffers")) <= max(16 << 10, limit // 4)
        assert as_kb(show("shared_buffers")) < as_kb(show("effective_cache_size")) < limit
        assert as_kb(show("maintenance_work_mem")) + 3 * as_kb(show("autovacuum_work_mem")) <= limit // 4
        assert as_kb(show("work_mem")) >= 1024
        assert as_kb(show("max_wal_size")) <= 2 << 20
        assert show("huge_pages") == "try"
        used = host.check_output(
            f"runuser -u postgres -- psql -p {port} -At -c 'select count(*) from pg_stat_activity'"
        )
        assert int(used) < int(show("max_connections")) // 2, "too few connections for the cluster's processes"


def test_redis_has_settings_for_its_memory(cluster: Cluster, connect: Connect) -> None:
    host = connect(cluster.first("redis"))
    lines = host.file("/etc/redis/redis.conf").content_string.splitlines()
    settings = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))

    def config(setting: str) -> str:
        return settings[setting].strip('"')

    limit = limit_of(properties(host, "redis-server")) << 20
    assert 8 << 20 <= int(config("maxmemory").removesuffix("mb")) << 20 <= limit // 2
    hard, soft, _ = config("client-output-buffer-limit").split("pubsub ")[1].split()
    assert 0 < int(soft.removesuffix("mb")) <= int(hard.removesuffix("mb")) <= limit // 16 >> 20
    assert config("oom-score-adj-values") == "0 0 800"
    assert config("disable-thp") == "yes"
    # Where the machine may set it, as no container may.
    if host.run("test -w /proc/sys/vm/overcommit_memory").succeeded:
        assert host.check_output("cat /proc/sys/vm/overcommit_memory") == "1"
