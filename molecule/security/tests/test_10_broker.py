"""What the broker's users may do does not cost it what it has promised to keep."""

from __future__ import annotations

from airflow_client import wait_for
from cluster_inventory import Cluster
from faults.machines import Machines

CLI = ("redis-cli", "--tls", "--cacert", "/etc/airflow/tls/ca.pem")


def test_a_transaction_outlives_a_restart(cluster: Cluster) -> None:
    """Redis replays its file as user `default`: that user is off, and must be allowed everything all the same.

    kombu notes in transactions which messages are out.
    """
    machines, host = Machines(cluster), cluster.first("redis")
    login = f"AUTH airflow {cluster.password('airflow_broker_password')}\n"

    def ask(*commands: str) -> str:
        return machines.told(host, login + "\n".join(commands) + "\n", *CLI)

    assert "QUEUED" in ask("MULTI", "HSET probe.hash message out", "ZADD probe.index 1 message", "EXEC")
    look = ("HGET probe.hash message", "ZRANGE probe.index 0 -1")
    try:
        machines.restart_unit(host, "redis-server.service")
        answer = wait_for(
            lambda: said if "LOADING" not in (said := ask(*look)) else None,
            what="an answer of Redis",
            seconds=60,
            transient=(RuntimeError,),
        )
        assert answer.split() == ["OK", "out", "message"]
    finally:
        ask("DEL probe.hash probe.index")
