"""The inventory of a running cluster changes. The tests build on each other and run in this order."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from airflow_client import AirflowClient, wait_for
from cluster_inventory import Cluster
from conftest import open_host, play_on, restarted
from faults.machines import Machines
from test_40_operations import Connect, RunClusterCheck, Starts, extra

# They take minutes each, and nothing in them depends on the release of Debian.
pytestmark = pytest.mark.same_everywhere


@pytest.fixture(scope="module")
def larger(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with one line more in its inventory. The added machine goes with these tests, and what knows it."""
    found = Cluster.read(*cluster.inventories, cluster.inventories[-1].with_name("inventory-added"))
    yield found
    [added] = set(found.workers) - set(cluster.workers)
    machine = ("--limit", added, "--extra-vars", "local_machines_state=absent")
    play_on(found, *machine, book="playbooks/local_machines.yml").must_succeed()
    worker = ("--extra-vars", json.dumps({"cluster_worker": added, "cluster_machine": "dead", "cluster_confirm": True}))
    play_on(found, *worker, book="playbooks/remove_worker.yml").must_succeed()


def test_a_worker_is_added_with_limit(
    larger: Cluster, cluster: Cluster, starts: Starts, client: AirflowClient, run_cluster_check: RunClusterCheck
) -> None:
    [added] = set(larger.workers) - set(cluster.workers)
    play_on(larger, "--limit", added, book="playbooks/local_machines.yml").must_succeed()
    before = starts()
    # A bare machine has nothing that check mode could compare.
    pending = play_on(larger, "--check", "--limit", added).must_succeed()
    assert pending.hosts[added]["changed"] > 0
    assert "airflow-worker.service yet" in " ".join(pending.output.split())  # Ansible wraps lines
    play_on(larger, "--limit", added, "--flush-cache").must_succeed()
    # The one counts one worker more, and the other accepts its lines. That is all that the others notice.
    assert restarted(before, starts()) == {"control1:airflow-scheduler", "control1:airflow-log-store"}
    slots = sum(int(larger.variables[worker]["airflow_worker_concurrency"]) for worker in larger.workers)
    assert client.call("GET", "/pools/default_pool")["slots"] == slots
    assert f'"{slots}"' in open_host(larger, "control1").check_output("cat /etc/airflow/scheduler.env")

    tasks = run_cluster_check(tasks=slots, seconds=4)
    assert added in {larger.host_of(task.hostname) for task in tasks}


@pytest.mark.long
def test_a_dead_host_stops_nobody_and_is_named(larger: Cluster) -> None:
    machines, dead = Machines(larger), larger.workers[-1]
    machines.power_off(dead)
    done = play_on(larger)
    assert done.status != 0
    assert f"fatal: [{dead}]: UNREACHABLE!" in done.output, done.output[-5000:]
    for name in larger.groups["all"]:
        assert done.hosts[name]["failed"] == 0
        assert done.hosts[name]["unreachable"] == (1 if name == dead else 0)
    # The others were served: their queues are those of the inventory again.
    for worker in set(larger.workers) - {dead}:
        line = open_host(larger, worker).check_output("systemctl show --property=ExecStart --value airflow-worker")
        assert "broken_off" not in line

    machines.power_on(dead)
    wait_for(lambda: dead in larger.flower_workers(), what=f"{dead} back in Flower", seconds=120)


GIT_DAG = """
from airflow.sdk import dag, task


@dag(schedule=None, catchup=False)
def from_git():
    @task
    def where():
        return __file__

    where()


from_git()
"""


@pytest.mark.long
def test_dags_come_from_git(larger: Cluster, connect: Connect, client: AirflowClient) -> None:
    control = connect("control1")
    control.check_output("apt-get install --yes --quiet git")
    control.check_output(
        "rm -rf /srv/git && mkdir -p /srv/git && git init --quiet --initial-branch=main /srv/git/dags && "
        f"cd /srv/git/dags && mkdir team && cat > team/from_git.py <<'EOF'\n{GIT_DAG}\nEOF\n"
        "git add . && git -c user.name=test -c user.email=test@example.org commit --quiet -m DAG"
    )
    control.check_output(
        "systemctl is-active --quiet git-daemon-test || systemd-run --unit=git-daemon-test --service-type=exec "
        "git -c safe.directory=* daemon --export-all --base-path=/srv/git"
    )
    address = larger.variables["control1"]["airflow_address"]
    url = f"git://{address}/dags"
    workers = [larger.address(worker) for worker in larger.workers]
    # A second bundle, from a repository that asks for a key.
    control.check_output(
        "id private >/dev/null 2>&1 || useradd --create-home --shell /usr/bin/git-shell private; "
        "rm -rf ~private/dags ~private/.ssh /root/deploy && install -d -m 0700 -o private -g private ~private/.ssh && "
        "ssh-keygen -q -t ed25519 -N '' -C deploy -f /root/deploy && "
        "install -m 0600 -o private -g private /root/deploy.pub ~private/.ssh/authorized_keys && "
        f"git init --quiet --initial-branch=main ~private/dags && cd ~private/dags && "
        f"cat > from_private.py <<'EOF'\n{GIT_DAG.replace('from_git', 'from_private')}\nEOF\n"
        "git add . && git -c user.name=test -c user.email=test@example.org commit --quiet -m DAG && "
        "chown -R private: ~private/dags"
    )
    host_key = control.check_output("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")
    key = control.check_output("cat /root/deploy")
    source = extra(
        airflow_dags_source="git",
        airflow_dags_git_url=url,
        airflow_dags_git_subdir="team",
        airflow_dag_bundles=[
            {"name": "private", "url": f"ssh://private@{address}/home/private/dags", "credentials": "deploy"}
        ],
        airflow_git_credentials=[{"name": "deploy", "ssh_key": key, "known_hosts": f"{address} {host_key}"}],
        firewall_extra_rules=[{"ports": [9418], "sources": workers, "comment": "git"}],
    )
    play_on(larger, *source).must_succeed()
    client.wait_for_dag("from_git", seconds=180)
    client.pause("from_git", False)
    run_id = client.trigger("from_git")
    assert client.wait_for_run("from_git", run_id, seconds=180).state == "success"
    [task] = client.tasks("from_git", run_id)
    commit = control.check_output("git -c safe.directory=* -C /srv/git/dags rev-parse HEAD")
    # From a checkout of exactly that commit
    assert f"/{commit}/" in client.result("from_git", task)

    client.wait_for_dag("from_private", seconds=180)
    client.pause("from_private", False)
    run_id = client.trigger("from_private")
    assert client.wait_for_run("from_private", run_id, seconds=180).state == "success"
    [task] = client.tasks("from_private", run_id)
    assert "/dag_bundles/private/" in client.result("from_private", task)
    # The key belongs to the processes that open bundles, and is in no configuration.
    material = key.splitlines()[1]
    for host, process in ((control, "dag-processor"), (connect(larger.workers[0]), "worker")):
        file = host.file(f"/etc/airflow/{process}/git_deploy.key")
        assert (file.user, file.mode) == (f"airflow-{process}", 0o400)
        found = host.run(f"grep -rlF -- '{material}' /etc/airflow /etc/systemd/system").stdout.split()
        assert {path.rpartition("/")[2] for path in found} == {"git_deploy.key"}


@pytest.mark.long
def test_the_ui_is_at_another_address(larger: Cluster, connect: Connect, client: AirflowClient) -> None:
    """That of a proxy of the user in front of the cluster, which speaks HTTP on a port of its own."""
    play_on(larger, *extra(airflow_web_url="http://airflow.example.org:8080")).must_succeed()
    assert set(client.health().values()) == {"healthy"}
    control = connect("control1")
    request = "curl --silent --cacert /etc/airflow/tls/ca.pem --dump-header - --output /dev/null https://127.0.0.1"
    start = control.check_output(f"{request}/auth/login/").lower()
    assert start.startswith(("http/1.1 200", "http/2 200"))
    assert "set-cookie: session=" in start
    # A browser would not send it to a proxy without TLS.
    assert "; secure" not in start


@pytest.mark.long
def test_the_inventory_alone_brings_the_cluster_back(
    larger: Cluster, client: AirflowClient, run_cluster_check: RunClusterCheck
) -> None:
    play_on(larger).must_succeed()
    assert play_on(larger).must_succeed().count("changed") == 0
    assert run_cluster_check(tasks=4, seconds=0)
    assert set(client.health().values()) == {"healthy"}
