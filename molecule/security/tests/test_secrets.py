"""No secret stands where more than its process can read it."""

from __future__ import annotations

import base64
import json
import re

import pytest
from cluster_inventory import SECRETS, Cluster
from faults.machines import Machines

# Run on a machine: reads the secrets as JSON, prints where it finds which. Needs nothing but the standard library.
SEARCH = """
import json, os, stat, subprocess, sys

secrets = {name: [form.encode() for form in forms] for name, forms in json.load(sys.stdin).items()}
found = {}


def look(place, content):
    for name, forms in secrets.items():
        if any(form in content for form in forms):
            found.setdefault(name, []).append(place)


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


for number in filter(str.isdigit, os.listdir("/proc")):
    look("process list: " + read(f"/proc/{number}/comm").decode().strip(), read(f"/proc/{number}/cmdline"))
command = "systemctl cat -- '*'; systemctl show -- '*'; systemctl show-environment"
look("units", subprocess.run(["sh", "-c", command], capture_output=True).stdout)
journal = subprocess.Popen(["journalctl", "--all", "--output=export", "--no-pager"], stdout=subprocess.PIPE)
tail = b""
while block := journal.stdout.read(1 << 22):
    look("journal", tail + block)
    tail = block[-4096:]

files = 0
for top in ("/boot", "/dev/shm", "/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var"):
    for folder, folders, names in os.walk(top):
        # The binary journal was read above, through its own reader; packages are those of the registry.
        folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/var/log/journal", "/var/lib/apt/lists")
                      and f != "site-packages" and not os.path.ismount(os.path.join(folder, f))]
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_size < 256 << 20:
                files += 1
                look(f"{path} {status.st_mode & 0o777:04o}", read(path))
print(json.dumps({"found": found, "files": files}))
"""
# Where secrets are kept. Every such file is readable by its owner alone.
KEPT = (
    r"/etc/airflow/secrets/[a-z-]+\.env 0600",
    r"/etc/airflow/api-server/jwks\.json 0400",
    r"/etc/pgbackrest\.conf 0400",
)
# What a host of the group may know. The rest of it must be absent from its disk.
KNOWN = {
    "control_plane": set(SECRETS) - {"airflow_ca_passphrase"},
    "airflow_worker": {"airflow_api_secret_key", "airflow_broker_password", "airflow_results_password"},
}


def forms(value: str) -> list[str]:
    """Return how a secret may be written: as it is, and encoded."""
    return [
        value,
        *(encode(value.encode()).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)),
    ]


@pytest.fixture(scope="module")
def found(cluster: Cluster) -> dict[str, dict[str, list[str]]]:
    """For each host, in which places each secret was found."""
    machines = Machines(cluster)
    secrets = json.dumps({name: forms(cluster.password(name)) for name in SECRETS})
    answers = {
        name: json.loads(machines.told(name, secrets, "python3", "-c", SEARCH)) for name in cluster.groups["all"]
    }
    assert min(answer["files"] for answer in answers.values()) > 1000
    return {name: answer["found"] for name, answer in answers.items()}


def test_secrets_are_where_they_are_kept_and_nowhere_else(found: dict[str, dict[str, list[str]]]) -> None:
    """Not in the process list, a unit, the journal, a log, or a file that anybody else may read."""
    strays = {
        (host, name, place)
        for host, secrets in found.items()
        for name, places in secrets.items()
        for place in places
        if not any(re.fullmatch(kept, place) for kept in KEPT)
    }
    assert strays == set()


def test_the_search_finds_what_is_there(cluster: Cluster, found: dict[str, dict[str, list[str]]]) -> None:
    """Otherwise "found nothing" would mean nothing."""
    worker, control = found[cluster.workers[0]], found[cluster.first("airflow_api_server")]
    assert "/etc/airflow/secrets/worker.env 0600" in worker["airflow_broker_password"]
    assert "/etc/airflow/api-server/jwks.json 0400" in control["airflow_jwt_secret"]


@pytest.mark.parametrize("group", KNOWN)
def test_a_host_knows_what_its_processes_need(
    cluster: Cluster, found: dict[str, dict[str, list[str]]], group: str
) -> None:
    for host in cluster.groups[group]:
        assert set(found[host]) == KNOWN[group], host
