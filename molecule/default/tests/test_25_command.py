"""``sudo airflow``: it prints its own output alone, and works with the files of its caller."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
from airflow_client import AirflowClient
from cluster_inventory import Cluster
from conftest import PROJECT
from testinfra.host import Host

sys.path.insert(0, str(PROJECT / "roles/airflow_database/files"))

import airflow_command

pytestmark = pytest.mark.same_everywhere

Connect = Callable[[str], Host]

# They read, and change nothing.
JSON_COMMANDS = (
    "assets list",
    "connections list",
    "dags details cluster_check",
    "dags list",
    "dags list-import-errors",
    "dags list-jobs",
    "dags list-runs cluster_check",
    "info",
    "plugins",
    "pools get default_pool",
    "pools list",
    "providers list",
    "roles list",
    "teams list",
    "users list",
    "variables list",
)
# Options of the servers, which systemd runs; nobody starts one by `sudo airflow`.
SERVERS = {"api-server", "celery", "dag-processor", "flower", "kerberos", "scheduler", "standalone", "triggerer"}
# Their help has the word, and means no file.
NO_FILES = {"--export-format", "--file-io", "import_path"}
# Words that mean a file, in the name, the placeholder or the help of an argument.
WALK = r"""
import argparse, json, re, sys
from airflow.cli import cli_parser
found = []
def walk(parser, command):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                walk(sub, [*command, name])
        else:
            words = f"{action.dest} {action.metavar} {action.help}"
            kind = isinstance(action.type, argparse.FileType)
            if kind or re.search(r"\b(file|filepath|dirpath|path|directory)\b", words.replace("_", " "), re.I):
                found.append([command, action.option_strings or [action.dest], action.help])
walk(cli_parser.get_parser(), [])
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def host(cluster: Cluster, connect: Connect) -> Host:
    return connect(cluster.first("airflow_scheduler"))


def test_json_is_all_that_stands_on_standard_output(host: Host, client: AirflowClient) -> None:
    script = "".join(
        f"airflow {command} -o json >$d/{number} 2>$d/{number}.err & " for number, command in enumerate(JSON_COMMANDS)
    )
    folder = host.check_output("mktemp -d")
    host.check_output(f"d={folder}; {script} wait")
    said = {
        command: [host.file(f"{folder}/{number}{suffix}").content_string for suffix in ("", ".err")]
        for number, command in enumerate(JSON_COMMANDS)
    }
    host.check_output(f"rm -r {folder}")  # the configuration has passwords
    answers = {}
    for command, (text, errors) in said.items():
        try:
            answers[command] = json.loads(text)
        except ValueError:
            pytest.fail(f"airflow {command} -o json: {text[:500]!r} {errors}")
    listed = {dag["dag_id"] for dag in answers["dags list"]}
    assert listed == {dag["dag_id"] for dag in client.call("GET", "/dags?limit=1000")["dags"]}
    assert "cluster_check" in listed


def test_files_of_the_caller_are_read_and_written(host: Host) -> None:
    """In a directory that nobody else enters, in /tmp, by a pipe; nobody else reads the copies meanwhile."""
    script = """
    set -eu
    umask 077
    d=$(mktemp -d)
    cd "$d"
    export SUDO_UID=12345 SUDO_GID=12345
    echo '{"command_test": "one"}' >v.json
    airflow variables import v.json
    airflow variables export out.json
    airflow variables export /tmp/command-test.json
    echo '{"command_test": "two"}' | airflow variables import /dev/stdin
    airflow variables export - >stdout.json
    airflow pools export /dev/stdout >pools.json
    airflow pools import -v ./pools.json >/dev/null
    airflow variables delete command_test
    stat --format='%a %u' out.json /tmp/command-test.json
    python3 -c 'import json, sys
    for name in sys.argv[1:]: print(json.dumps(json.load(open(name))))' \\
        out.json /tmp/command-test.json stdout.json pools.json
    rm -r /tmp/command-test.json "$d"
    ls -A /var/cache/airflow | grep command || true
    """.replace("\n    ", "\n")
    lines = host.check_output("bash -c %s", script).splitlines()
    assert any("exported to out.json" in line for line in lines), lines
    assert lines[-6:-4] == ["600 12345", "600 12345"], lines
    values = [json.loads(line) for line in lines[-4:]]
    assert [value.get("command_test") for value in values[:3]] == ["one", "one", "two"]
    assert "default_pool" in values[3]


def test_every_file_argument_of_airflow_is_known(host: Host) -> None:
    shown = host.check_output(
        "runuser -u airflow -- env AIRFLOW_HOME=/var/lib/airflow AIRFLOW_CONFIG=/etc/airflow/database/airflow.cfg "
        "/opt/airflow/current/bin/python -c %s 2>/dev/null",
        WALK,
    )
    unknown = []
    for command, names, told in json.loads(shown.splitlines()[-1]):
        pair = (command[0], command[1] if len(command) > 1 else "")
        known = [flag for flags in airflow_command.OPTIONS.get(pair, {}) for flag in flags]
        if command[0] in SERVERS or pair in airflow_command.POSITIONAL or set(names) & {*known, *NO_FILES}:
            continue
        unknown.append(f"{' '.join(command)}: {names}: {told}")
    assert unknown == []
