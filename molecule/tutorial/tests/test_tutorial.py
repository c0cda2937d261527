"""Each command of docs/tutorial.md does what the page says, and prints what the page shows."""

from __future__ import annotations

import re

import pytest
from airflow_client import AirflowClient, wait_for
from cluster_inventory import Cluster
from conftest import PROJECT, Reader
from tutorial_page import Step, lines_of, pattern_of, sections_of

SECTIONS = sections_of((PROJECT / "docs/tutorial.md").read_text())
# What the text, and no block, says of a command's output.
SAYS = {
    "make status": r"Healthy\.",
    "ansible all --become -m ansible.builtin.ping": r"(?s)(.*pong){4}",
    "ansible-vault view inventory/production/group_vars/all/secrets.yml": r"airflow_admin_password: ",
    "curl --cacert inventory/production/.pki/ca.pem https://192.0.2.10/api/v2/version": r'"version"',
    "sudo airflow dags list": r"hello",
    'sudo grep -rh "Hello" /var/lib/airflow-log-store/tasks': r"(?s)(?=.*Hello Ana)(?=.*Hello Bruno)(?=.*Hello Carla)",
    # A diff shows no value of airflow_config.
    "ansible-playbook site.yml --check --diff": r"changed=[1-9]",
    "sudo airflow providers list": r"apache-airflow-providers-http",
    "sudo airflow connections get shop_api": r"api\.example\.org",
    "make backup": r"failed=0",
}
# What ends with an error on purpose.
FAILS = {"ansible-playbook airflow_celery.cluster.failover_drill"}
# What needs another computer.
ELSEWHERE = {"ssh -D 1080 you@machine"}
LOGIN = "ssh debian@192.0.2.10"


def client_of(reader: Reader) -> AirflowClient:
    """Return a REST client of the reader's cluster."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(reader.site / ".vault-password"))
        return Cluster.read(reader.site / "inventory/production").client()


def wait_before(reader: Reader, command: str) -> None:
    """Wait for what the text says to take a while."""
    if command == "sudo airflow dags list":
        client = client_of(reader)
        wait_for(
            lambda: any(task["is_mapped"] for task in client.call("GET", "/dags/hello/tasks")["tasks"]),
            what="the changed DAG",
            seconds=120,
        )
    if command.startswith("sudo grep"):
        client = client_of(reader)
        [run] = client.runs("hello")
        assert client.wait_for_run("hello", run.run_id, seconds=120).state == "success"


def follow(reader: Reader, step: Step, output: str) -> str:
    """Do one step; return what its commands have printed."""
    if step.kind == "text":
        expected = pattern_of(reader.here(step.text))
        assert expected.search(lines_of(output)), f"expected:\n{step.text}\nprinted:\n{output[-4000:]}"
        return output
    if step.kind in {"yaml", "python"}:
        assert step.file
        reader.write(step.file, step.text)
        return ""
    printed = ""
    on_host = False
    for command in step.text.splitlines():
        if command in ELSEWHERE:
            continue
        if command == LOGIN:
            on_host = True
            continue
        wait_before(reader, command)
        if on_host or command.startswith(("sudo airflow", "sudo grep")):
            status, answer = reader.run_on_host(LOGIN, command)
        else:
            status, answer = reader.run(command)
        assert (status != 0) == (command in FAILS), f"{command} ended with {status}:\n{answer[-4000:]}"
        if command in SAYS:
            assert re.search(SAYS[command], answer), f"{command}: expected {SAYS[command]}\n{answer[-4000:]}"
        if command == "make setup":
            reader.describe_machines()
        printed += answer
    return printed


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_of_the_tutorial(reader: Reader, section: str) -> None:
    output = ""
    for step in SECTIONS[section]:
        output = follow(reader, step, output)


def test_no_secret_is_committed(reader: Reader) -> None:
    status, files = reader.run(f"git -C {reader.site} ls-files")
    assert status == 0
    assert "inventory/production/group_vars/all/secrets.yml" in files
    assert ".vault-password" not in files
    for path in files.split():
        text = (reader.site / path).read_text()
        if path.endswith("secrets.yml"):
            assert text.startswith("$ANSIBLE_VAULT")
        assert "PRIVATE KEY" not in text or "ENCRYPTED" in text, path


def test_the_dag_that_the_page_shows_first_is_that_of_the_example() -> None:
    [first, *_] = [step.text for steps in SECTIONS.values() for step in steps if step.kind == "python"]
    assert first == (PROJECT / "examples/site/dags/hello.py").read_text()


def test_every_expectation_is_of_a_command_of_the_page() -> None:
    commands = {line for steps in SECTIONS.values() for step in steps for line in step.text.splitlines()}
    assert {*SAYS, *FAILS, *ELSEWHERE, LOGIN} <= commands
