"""What a host has of a cluster, with files as hosts have them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.filter.cluster import environment_file
from ansible_collections.airflow_celery.cluster.plugins.module_utils import host_state
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import certificate_check as tls
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import secret_values, topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.identity import identity_problems
from certificate_maker import make

ROLES = Path(__file__).resolve().parents[2] / "roles"
ALL = list(host_state.COMPONENTS)
# Traces of each component as a package or another application leaves them.
FOREIGN = {
    "postgres": {"/etc/postgresql/15/main/pg_hba.conf": "local all all peer"},
    "backup": {"/etc/pgbackrest.conf": "[shop]\npg1-path=/var/lib/postgresql/15/main\n"},
    "redis": {"/etc/redis/redis.conf": "bind 127.0.0.1"},
    "haproxy": {"/etc/haproxy/haproxy.cfg": "frontend shop"},
    "airflow": {"/etc/systemd/system/airflow-scheduler.service": "[Service]\nExecStart=/home/airflow/bin/airflow"},
}
# Traces as this project leaves them, before there was a marker, too.
OWN = {
    "postgres": {"/etc/postgresql/15/main/conf.d/airflow.conf": "port = '5432'"},
    "backup": {"/etc/pgbackrest.conf": "[global]\nlock-path=/run/postgresql/pgbackrest\n"},
    "redis": {"/etc/redis/redis.conf": "tls-cert-file /etc/airflow/tls/redis.pem"},
    "haproxy": {"/etc/haproxy/haproxy.cfg": "bind 0.0.0.0:443 ssl crt /etc/airflow/tls/haproxy.pem"},
    "airflow": {"/etc/tmpfiles.d/airflow.conf": "d /etc/airflow/secrets 0700 root root", "/opt/airflow/dags/x": ""},
}


def put(root: Path, files: dict[str, str]) -> str:
    for path, content in files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return f"{root}/"


def check(root: str, wanted: list[str], take_over: tuple[str, ...] = (), account: str = "") -> list[str]:
    own = host_state.own_components(root)
    return [item["variable"] for item in host_state.check_components(wanted, list(take_over), own, account, root)]


def test_tables_name_the_same_components() -> None:
    assert FOREIGN.keys() == OWN.keys() == set(ALL)
    assert {name for names in topology.COMPONENTS.values() for name in names} == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_component_of_another_application_is_refused(tmp_path: Path, name: str) -> None:
    root = put(tmp_path, FOREIGN[name])
    assert check(root, ALL) == [host_state.COMPONENTS[name].title]
    assert check(root, [other for other in ALL if other != name]) == []
    assert check(root, ALL, take_over=(name,)) == []


@pytest.mark.parametrize("name", ALL)
def test_a_component_of_a_deployed_cluster_is_recognised(tmp_path: Path, name: str) -> None:
    assert check(put(tmp_path, OWN[name]), ALL) == []


@pytest.mark.parametrize("name", ALL)
def test_an_interrupted_first_run_is_recognised(tmp_path: Path, name: str) -> None:
    marker = {host_state.MARKER: json.dumps({"components": [name]})}
    assert check(put(tmp_path, FOREIGN[name] | marker), ALL) == []


def test_a_marker_covers_no_other_component(tmp_path: Path) -> None:
    marker = {host_state.MARKER: json.dumps({"components": ["airflow"]})}
    assert check(put(tmp_path, FOREIGN["postgres"] | marker), ALL) == ["PostgreSQL"]


KEPT = {
    "/etc/postgresql/17/main/conf.d/airflow.conf.uninstalled": "port = '5432'",
    "/var/lib/postgresql/17/main/PG_VERSION": "17",
    "/var/lib/pgbackrest/backup/main/backup.info": "",
    "/etc/redis/redis.conf.uninstalled": "tls-cert-file /etc/airflow/tls/redis.pem",
    "/var/lib/redis/appendonlydir/x": "",
    "/var/lib/airflow/logs/x": "",
}


def test_data_that_a_removal_kept_is_taken_over(tmp_path: Path) -> None:
    root = put(tmp_path, KEPT)
    assert check(root, ALL) == []
    assert host_state.check_repository("/var/lib/pgbackrest", False, root) == []


def test_another_application_beside_kept_data_is_refused(tmp_path: Path) -> None:
    assert check(put(tmp_path, KEPT | FOREIGN["redis"] | FOREIGN["haproxy"]), ALL) == ["Redis", "HAProxy"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"components": null}', '"x"'])
def test_a_broken_marker_claims_nothing(tmp_path: Path, content: str) -> None:
    assert check(put(tmp_path, FOREIGN["redis"] | {host_state.MARKER: content}), ALL) == ["Redis"]


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/var/lib/postgresql/15/main/PG_VERSION", True),  # data without configuration
        ("/etc/postgresql/13/main/postgresql.conf", True),  # another version would get the same ports
        ("/etc/postgresql/15/shop/postgresql.conf", False),  # nothing of it is taken over
        ("/var/lib/redis/dump.rdb", True),
        ("/var/lib/redis/lost+found/x", False),  # an empty file system
        ("/opt/airflow/venv/bin/airflow", True),
        ("/opt/airflow/lost+found/x", False),
        ("/var/lib/airflow/logs/x", False),  # what remove_worker.yml -e cluster_keep_logs=yes leaves
        ("/var/lib/airflow/airflow.cfg", True),  # an Airflow whose home is there
        ("/var/lib/airflow/airflow.db", True),
        ("/var/lib/airflow/dags/shop.py", True),
        *((f"/var/lib/airflow/{name}/x", False) for name in ("backup", "plugins", "scheduler", "worker")),  # kept data
        ("/etc/pgbackrest/conf.d/shop.conf", True),
        ("/etc/systemd/system/redis-server.service.d/x.conf", False),
    ],
)
def test_what_is_a_trace(tmp_path: Path, path: str, refused: bool) -> None:
    assert bool(check(put(tmp_path, {path: ""}), ALL)) == refused


def test_the_account_of_another_application_is_refused(tmp_path: Path) -> None:
    assert check(f"{tmp_path}/", ALL, account="airflow") == ["Airflow"]
    assert check(put(tmp_path, OWN["airflow"]), ALL, account="airflow") == []
    assert host_state.has_account("root")
    assert not host_state.has_account("no-such-account")


PIP = "#!/usr/bin/python3\nimport sys\nfrom airflow.__main__ import main\n"


@pytest.mark.parametrize("wanted", [["airflow"], ["redis"]])
def test_the_command_of_another_airflow_is_refused_on_each_host_of_the_cluster(
    tmp_path: Path, wanted: list[str]
) -> None:
    marker = {host_state.MARKER: json.dumps({"components": ALL})}
    root = put(tmp_path, marker | {host_state.AIRFLOW_COMMAND: PIP})
    found = host_state.check_files(wanted, [], root)
    assert [item["variable"] for item in found] == ["Airflow"]
    assert host_state.AIRFLOW_COMMAND in found[0]["value"]
    assert host_state.check_files(wanted, ["airflow"], root) == []
    # With --limit the first scheduler is asked for its identity only.
    assert host_state.check_files([], [], root) == []


def test_the_command_of_this_project_is_recognised(tmp_path: Path) -> None:
    text = (ROLES / "airflow_database/files/airflow_command.py").read_text()
    assert host_state.check_files(ALL, [], put(tmp_path, {host_state.AIRFLOW_COMMAND: text})) == []
    assert host_state.check_files(ALL, [], f"{tmp_path}/none/") == []


def test_a_link_to_nothing_is_no_command_of_this_project(tmp_path: Path) -> None:
    root = put(tmp_path, {"/usr/local/bin/x": ""})
    (tmp_path / "usr/local/bin/airflow").symlink_to("/nowhere/bin/airflow")
    assert [item["variable"] for item in host_state.check_files(ALL, [], root)] == ["Airflow"]


def test_a_configuration_that_pgbackrest_prefers_is_refused(tmp_path: Path) -> None:
    root = put(tmp_path, OWN["backup"] | {host_state.PGBACKREST_FIRST: "[shop]\npg1-path=/srv/shop\n"})
    found = host_state.check_files(["backup"], ["backup"], root)
    assert [item["variable"] for item in found] == ["pgBackRest"]
    assert host_state.PGBACKREST_FIRST in found[0]["value"]
    assert host_state.check_files(["airflow"], [], root) == []
    # A link to the configuration of this project
    (tmp_path / "etc/pgbackrest/pgbackrest.conf").unlink()
    (tmp_path / "etc/pgbackrest/pgbackrest.conf").symlink_to("../pgbackrest.conf")
    assert host_state.check_files(["backup"], [], root) == []


def test_a_removal_leaves_the_files_of_another_application() -> None:
    tasks = yaml.safe_load((ROLES / "uninstall/tasks/main.yml").read_text())
    (find,) = (task["ansible.builtin.find"] for task in tasks if "ansible.builtin.find" in task)
    paths = {f"{folder}/{name}" for folder in find["paths"] for name in find["patterns"]}
    assert {host_state.PGBACKREST, host_state.AIRFLOW_COMMAND} <= paths
    removed = yaml.safe_load((ROLES / "uninstall/vars/main.yml").read_text())["__uninstall_files"]
    assert not {host_state.PGBACKREST, host_state.AIRFLOW_COMMAND} & set(removed)

    def is_found(text: str) -> bool:
        # As the module does it.
        return any(re.match(find["contains"], line) for line in text.splitlines())

    assert is_found(OWN["backup"][host_state.PGBACKREST])
    assert is_found((ROLES / "airflow_database/files/airflow_command.py").read_text())
    assert all(is_found(text) for text in (host_state.PGBACKREST_TEXT, *host_state.AIRFLOW_COMMAND_TEXTS))
    assert not is_found(FOREIGN["backup"][host_state.PGBACKREST])
    assert not is_found(PIP)


def test_the_text_of_the_configuration_is_that_of_the_role() -> None:
    settings = yaml.safe_load((ROLES / "backup/vars/main.yml").read_text())["__backup_pgbackrest"]
    assert settings["lock-path"] == host_state.PGBACKREST_TEXT


def test_the_units_of_the_project_are_traces() -> None:
    written = {path.name.removesuffix(".j2") for path in ROLES.glob("airflow_housekeeping/templates/*.service.j2")} | {
        "airflow-scheduler.service",
        "airflow-worker.service",
        "airflow-flower.service",
    }
    traces = host_state.COMPONENTS["airflow"].traces
    assert {f"/etc/systemd/system/{unit}" for unit in written} <= set(traces)


# --- Versions and backups ---------------------------------------------------------------------------------------------
def test_postgres_versions_are_those_of_the_role() -> None:
    text = yaml.safe_load((ROLES / "postgres/vars/main.yml").read_text())["postgres_major_version"]
    assert all(f"'{debian}': '{version}'" in text for debian, version in host_state.POSTGRES_VERSIONS.items())


@pytest.mark.parametrize(
    ("debian", "deployed", "refused"),
    [
        ("12", {"15": "auto"}, False),
        ("13", {"17": "auto"}, False),
        ("13", {"15": "# how it starts\nauto"}, True),
        ("12", {"17": "auto"}, True),
        ("13", {"15": "manual"}, False),  # after pg_upgradecluster, which gives the new database no airflow.conf
        ("13", {"15": ""}, False),  # and after pg_dropcluster
        ("13", {"15": "manual", "17": "auto"}, False),
        ("13", {}, False),
        ("14", {"15": "auto"}, False),  # refused for its release
    ],
)
def test_a_database_of_another_debian_release_is_refused(
    tmp_path: Path, debian: str, deployed: dict[str, str], refused: bool
) -> None:
    places = {version: f"/etc/postgresql/{version}/main" for version in deployed}
    settings = {f"{place}/conf.d/airflow.conf": "" for place in places.values()}
    starts = {f"{places[version]}/start.conf": f"{start}\n" for version, start in deployed.items() if start}
    root = put(tmp_path, settings | starts)
    found = host_state.check_postgres_version(debian, host_state.own_components(root), root)
    assert bool(found) == refused
    assert not refused or (Path(__file__).parents[2] / found[0]["remedy"].split("as ")[1].split(" ")[0]).is_file()


@pytest.mark.parametrize(
    ("files", "restoring", "refused"),
    [
        ({}, False, False),
        ({"/srv/repo/backup/main/backup.info": ""}, False, True),
        ({"/srv/repo/backup/main/backup.info": ""}, True, False),
        ({"/srv/repo/backup/shop/backup.info": ""}, False, False),
        (
            {"/srv/repo/backup/main/backup.info": "", "/var/lib/postgresql/15/main/PG_VERSION": "15"} | OWN["postgres"],
            False,
            False,
        ),
        # An interrupted restore: the record, and the database that the package makes
        (
            {
                "/srv/repo/backup/main/backup.info": "",
                "/var/lib/postgresql/15/main/PG_VERSION": "15",
                host_state.MARKER: '{"components": ["postgres"]}',
            },
            False,
            True,
        ),
    ],
)
def test_a_new_database_beside_old_backups_is_refused(
    tmp_path: Path, files: dict[str, str], restoring: bool, refused: bool
) -> None:
    root = put(tmp_path, files)
    found = host_state.check_repository("/srv/repo", restoring, root)
    assert bool(found) == refused


# --- Packet filters ---------------------------------------------------------------------------------------------------
def ruleset(policy: str = "accept", table: str = "filter", *rules: list[dict[str, Any]]) -> str:
    name = {"family": "inet", "table": table}
    chain = {"chain": name | {"name": "input", "hook": "input", "type": "filter", "policy": policy}}
    entries = [{"metainfo": {}}, chain, *({"rule": name | {"chain": "input", "expr": rule}} for rule in rules)]
    return json.dumps({"nftables": entries})


MATCH = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}
REJECT = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}


@pytest.mark.parametrize(
    ("nft", "iptables", "closed"),
    [
        ("", "", False),
        ("no JSON", "", False),
        (ruleset(), "", False),  # Debian's own /etc/nftables.conf
        (ruleset("drop"), "", True),
        (ruleset("drop", host_state.FIREWALL_TABLE), "", False),
        (ruleset("accept", "filter", [MATCH, {"accept": None}]), "", False),
        (ruleset("accept", "f2b", [MATCH, REJECT]), "", False),  # fail2ban
        (ruleset("accept", "filter", [MATCH, {"accept": None}], [{"counter": {}}, {"drop": None}]), "", True),
        (ruleset("accept", "filter", [{"xt": {"type": "target", "name": "REJECT"}}]), "", True),
        ("", "-P INPUT ACCEPT\n-A INPUT -s 192.0.2.1/32 -j DROP\n", False),
        ("", "-P INPUT DROP\n", True),
        ("", "-P INPUT ACCEPT\n-A INPUT -j REJECT --reject-with icmp-port-unreachable\n", True),
    ],
)
def test_rules_that_close_a_host_are_refused(nft: str, iptables: str, closed: bool) -> None:
    assert bool(host_state.check_rules(nft, iptables, own=False)) == closed
    assert host_state.check_rules(nft, iptables, own=True) == []


# --- Identity ---------------------------------------------------------------------------------------------------------
SECRETS = {name: generate() for name, generate in secret_values.GENERATORS.items()}
OURS, OTHERS = make("Airflow cluster CA", ca=True), make("Airflow cluster CA", ca=True)
URL = "postgresql+psycopg2://airflow:{}@db:5432/airflow"
CONTROL_NAMES = [
    "airflow_broker_password",
    "airflow_database_password",
    "airflow_fernet_key",
    "airflow_results_password",
]


def deploy(root: Path, secrets: dict[str, str], authority: bytes = OURS.pem, worker: bool = False) -> dict[str, Any]:
    """Write what a run leaves on a host, and return its identity."""
    environment = {
        "AIRFLOW__CELERY__BROKER_URL": f"rediss://airflow:{secrets['airflow_broker_password']}@broker:6379/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": "db+" + URL.format(secrets["airflow_results_password"]),
    }
    if not worker:
        environment |= {
            "AIRFLOW__CORE__FERNET_KEY": secrets["airflow_fernet_key"] + ",next",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": URL.format(secrets["airflow_database_password"]),
        }
    process = "worker" if worker else "scheduler"
    files = {
        host_state.AUTHORITY: authority.decode(),
        f"/etc/airflow/secrets/{process}.env": "# x\n\n" + environment_file(environment),
        "/etc/airflow/secrets/flower.env": environment_file(
            {"AIRFLOW__CELERY__BROKER_URL": "rediss://flower:other@broker:6379/0"}
        ),
    }
    return host_state.identity("salt", put(root, files))


def expected(authority: bytes | None = OURS.pem, **other: Any) -> dict[str, Any]:
    keys = [tls.key_digest(one.public_key()) for one in tls.load_certificates(authority)] if authority else []
    identity = {"authorities": keys, "authority_variable": "certificates_dir", "authority_path": "/inventory/.pki"}
    return identity | {"repository": "/srv/repo", "brokers": ["broker"]} | other


def names(found: list[dict[str, str]]) -> list[str]:
    return [item["variable"] for item in found]


def test_the_deployed_cluster_is_recognised(tmp_path: Path) -> None:
    assert identity_problems(expected(), deploy(tmp_path, SECRETS), SECRETS, False) == []


@pytest.mark.parametrize("name", CONTROL_NAMES)
def test_each_other_secret_is_refused_and_not_told(tmp_path: Path, name: str) -> None:
    found = identity_problems(expected(), deploy(tmp_path, SECRETS), SECRETS | {name: "stray-value"}, False)
    assert names(found) == [name]
    assert "inventory.tar.gz" in found[0]["remedy"]
    assert SECRETS[name] not in repr(found)
    assert "stray-value" not in repr(found)


@pytest.mark.parametrize("rotating", ["airflow_secrets_next", "airflow_secrets_previous"])
def test_a_rotation_is_no_other_cluster(tmp_path: Path, rotating: str) -> None:
    new = {name: f"new {name}" for name in SECRETS}
    assert identity_problems(expected(), deploy(tmp_path, SECRETS), new | {rotating: SECRETS}, False) == []
    assert len(identity_problems(expected(), deploy(tmp_path, SECRETS), new | {rotating: {}}, False)) == 4


def test_no_digest_is_a_secret(tmp_path: Path) -> None:
    found = json.dumps(deploy(tmp_path, SECRETS))
    assert [name for name, value in SECRETS.items() if value in found] == []


def test_a_restore_sets_the_secrets_anew(tmp_path: Path) -> None:
    assert identity_problems(expected(), deploy(tmp_path, SECRETS), dict.fromkeys(SECRETS, "x"), True) == []


def test_a_url_of_ones_own_holds_its_own_password(tmp_path: Path) -> None:
    own = SECRETS | {"airflow_database_password": "x", "airflow_database_url": URL.format("y")}
    assert identity_problems(expected(), deploy(tmp_path, SECRETS), own, False) == []


@pytest.mark.parametrize(
    ("here", "deployed", "refused"),
    [
        (OURS.pem, OURS.pem, False),
        (None, OURS.pem, True),  # a controller without .pki
        (OTHERS.pem, OURS.pem, True),  # another cluster of the same project
        (OURS.pem + OTHERS.pem, OTHERS.pem, False),  # one authority follows another
        (OURS.pem, b"", False),  # a new host
        (OURS.pem, b"damaged", False),
        (None, b"", False),  # the first run
    ],
)
def test_hosts_that_trust_another_authority_are_refused(
    tmp_path: Path, here: bytes | None, deployed: bytes, refused: bool
) -> None:
    found = identity_problems(expected(here), deploy(tmp_path, SECRETS, deployed), SECRETS, False)
    assert names(found) == (["certificates_dir"] if refused else [])


def test_a_worker_of_another_cluster_is_refused_and_one_that_missed_a_rotation_is_not(tmp_path: Path) -> None:
    deployed = deploy(tmp_path, SECRETS, worker=True)
    assert deployed["secrets"] == {}
    new = dict.fromkeys(SECRETS, "x")
    assert identity_problems(expected(), deployed, new, False) == []
    assert names(identity_problems(expected(brokers=["c2"]), deployed, new, False)) == ["cluster of the worker"]
    assert identity_problems(expected(brokers=["c2"]), deployed, SECRETS, False) == []  # the broker has moved


@pytest.mark.parametrize(("repository", "refused"), [("/srv/repo", True), ("/srv/new", False)])
def test_the_passphrase_of_a_repository_stays(tmp_path: Path, repository: str, refused: bool) -> None:
    conf = "[global]\nlock-path=/run/postgresql/pgbackrest\nrepo1-cipher-pass=old\nrepo1-path=/srv/repo\n"
    deployed = host_state.identity("salt", put(tmp_path, {"/etc/pgbackrest.conf": conf}))
    found = identity_problems(expected(repository=repository), deployed, {"backup_passphrase": "new"}, False)
    assert names(found) == (["backup_passphrase"] if refused else [])
    assert identity_problems(expected(), deployed, {"backup_passphrase": "old"}, False) == []


def test_the_code_names_no_syntax_that_an_old_python_lacks() -> None:
    ast.parse(Path(host_state.__file__).read_text(), feature_version=(3, 8))
