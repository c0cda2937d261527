"""Each infrastructure role alone: its service is used over the network, as the application of the foreign playbook."""

from __future__ import annotations

import shlex
import socket

import pytest
from airflow_client import wait_for
from cluster_inventory import Cluster
from testinfra.host import Host

CA = "/etc/ssl/services/ca.pem"


def sql(host: Host, password: str, connection: str, query: str) -> tuple[int, str]:
    """Run a query as the application; return the exit status and the output."""
    target = (
        f"dbname=shop user=shop sslrootcert={CA} connect_timeout=10 options=-cclient_min_messages=error {connection}"
    )
    done = host.run(
        f"PGPASSWORD=%s psql --no-psqlrc -qtA -v ON_ERROR_STOP=1 {shlex.quote(target)} -c %s", password, query
    )
    return done.rc, f"{done.stdout}{done.stderr}".strip()


def test_postgres_stores_a_row_over_verified_tls(web1: Host, address: str, password: str) -> None:
    verified = f"host={address} sslmode=verify-full"
    assert sql(web1, password, verified, "CREATE TABLE IF NOT EXISTS orders (item text)") == (0, "")
    assert sql(web1, password, verified, "TRUNCATE orders; INSERT INTO orders VALUES ('bread')") == (0, "")
    assert sql(web1, password, verified, "SELECT item FROM orders") == (0, "bread")
    assert sql(web1, password, verified, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == (0, "t")


def test_postgres_refuses_plain_text_and_another_database(web1: Host, address: str, password: str) -> None:
    status, said = sql(web1, password, f"host={address} sslmode=disable", "SELECT 1")
    assert (status, "no encryption" in said) == (2, True), said
    status, said = sql(web1, password, f"host={address} sslmode=verify-full dbname=postgres", "SELECT 1")
    assert (status, "no pg_hba.conf entry" in said) == (2, True), said


def redis(host: Host, password: str, target: str, *command: str) -> str:
    """Return the answer of Redis to the application."""
    words = " ".join(map(shlex.quote, command))
    done = host.run(f"REDISCLI_AUTH=%s redis-cli --no-auth-warning --user shop {target} {words}", password)
    return f"{done.stdout}{done.stderr}".strip()


def test_redis_serves_its_user_over_verified_tls_within_the_rules(web1: Host, address: str, password: str) -> None:
    target = f"--tls --cacert {CA} -h {address}"
    assert redis(web1, password, target, "SET", "shop:cart", "bread") == "OK"
    assert redis(web1, password, target, "GET", "shop:cart") == "bread"
    assert "NOPERM" in redis(web1, password, target, "SET", "other:cart", "bread")
    assert "NOPERM" in redis(web1, password, target, "CONFIG", "GET", "dir")
    assert "WRONGPASS" in redis(web1, "guessed", target, "PING")
    assert redis(web1, password, f"-h {address}", "PING") != "PONG"


def test_haproxy_serves_the_web_server_over_tls(web1: Host, address: str) -> None:
    done = web1.run(f"curl --silent --show-error --include --cacert {CA} https://{address}/")
    assert done.rc == 0, done.stderr
    assert "Hello from web1" in done.stdout
    assert "strict-transport-security" in done.stdout.lower()
    plain = web1.run(
        f"curl --silent --output /dev/null --write-out '%{{http_code}} %{{redirect_url}}' http://{address}/x?y=1"
    )
    assert plain.stdout == f"308 https://{address}/x?y=1"


def test_haproxy_notices_that_the_web_server_is_stopped_and_is_back(web1: Host, address: str) -> None:
    def status() -> str:
        command = f"curl --silent --output /dev/null --write-out '%{{http_code}}' --cacert {CA} https://{address}/"
        return str(web1.run(command).stdout)

    web1.check_output("systemctl stop web@8080")
    try:
        wait_for(lambda: status() == "503", what="status 503 without a web server", seconds=30)
    finally:
        web1.check_output("systemctl start web@8080")
    wait_for(lambda: status() == "200", what="status 200 with the web server", seconds=30)


def test_the_certificate_is_verified_by_openssl(web1: Host) -> None:
    file = "/etc/ssl/services/web.pem"
    for name in ("www.example.org", "web1", "localhost"):
        web1.check_output(f"openssl verify -CAfile {CA} -purpose sslserver -verify_hostname {name} {file}")
    assert web1.run(f"openssl verify -CAfile {CA} -verify_hostname other.example.org {file}").rc != 0
    assert web1.run(f"openssl verify {file}").rc != 0
    keys = f"openssl x509 -in {file} -noout -pubkey; openssl pkey -in {file}.key -pubout"
    public = web1.check_output(keys).split("-----END PUBLIC KEY-----")
    assert public[0].strip() == public[1].strip()
    assert (web1.file(f"{file}.key").user, web1.file(f"{file}.key").mode) == ("www-data", 0o600)


@pytest.mark.parametrize(("port", "is_open"), [(22, True), (8080, True), (8081, False)])
def test_the_firewall_lets_the_front_door_in_and_nothing_else(
    machines: Cluster, service1: Host, web1: Host, port: int, is_open: bool
) -> None:
    assert web1.run(f"timeout 5 bash -c '</dev/tcp/127.0.0.1/{port}'").rc == 0
    target = machines.address("web1")
    assert (service1.run(f"timeout 5 bash -c '</dev/tcp/{target}/{port}'").rc == 0) is is_open


def test_the_firewall_lets_the_controller_reach_ssh_only(machines: Cluster) -> None:
    target = machines.address("web1")
    socket.create_connection((target, 22), timeout=5).close()
    with pytest.raises(TimeoutError):
        socket.create_connection((target, 8080), timeout=5)


def test_the_rules_are_loaded_again_by_their_unit(web1: Host) -> None:
    web1.check_output("nft delete table inet airflow_firewall && systemctl restart airflow-firewall")
    assert "dport 8080" in web1.check_output("nft list table inet airflow_firewall")


def test_a_unit_has_its_memory_limit_and_is_kept_running(web1: Host) -> None:
    shown = web1.check_output("systemctl show --property=MemoryMax,Restart web@8080").splitlines()
    assert sorted(shown) == [f"MemoryMax={100 * 1024 * 1024}", "Restart=always"]

    def main_pid() -> str:
        return str(web1.check_output("systemctl show --property=MainPID --value web@8081"))

    before = main_pid()
    web1.check_output("systemctl kill --signal=KILL web@8081")
    wait_for(lambda: main_pid() not in ("0", before), what="another process of web@8081", seconds=30)


def test_the_services_leave_no_trace_of_a_cluster(service1: Host) -> None:
    found = service1.check_output("find /etc /opt /usr/local /var/lib -iname '*airflow*' -not -path '*/.ansible/*'")
    assert found == ""
