"""Rules for DAGs and for the queues to which they send tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible_collections.airflow_celery.cluster.plugins.module_utils import tree
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import (
    config_packages,
    dag_bundles,
    dag_queues,
    topology,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import UNSET, Finding, show
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.inventory_check.model import (
    Host,
    Inventory,
    text_of,
)

# Directories on the controller whose content is for no task.
PRIVATE = {
    "inventory_dir": "the inventory with its secrets",
    "certificates_dir": "the authority with its key",
    "backup_fetch_dir": "copies of the backups",
}
NO_DAGS = "put the DAGs into a directory dags beside the playbook or the inventory, or set airflow_dags_dir"


def check_dags(inventory: Inventory) -> Iterator[Finding]:
    """A git source has a URL, a release may hold each local directory, and bundles and credentials are complete."""
    private = sorted(
        {
            (text_of(host, name), what)
            for host in inventory.cluster
            for name, what in PRIVATE.items()
            if host.get(name, "")
        }
    )
    for host in inventory.cluster:
        source = str(host.get("airflow_dags_source", ""))
        for name in ("airflow_dags_dir", "airflow_plugins_dir"):
            directory = host.get(name, "")
            if not directory or not inventory.sound(host, name) or (name == "airflow_dags_dir" and source != "local"):
                continue
            try:
                tree.files(Path(directory))
            except tree.TreeError as error:
                yield Finding(
                    f"host {host.name}",
                    name,
                    show(directory),
                    f"a directory of which everything can be copied, but {error}",
                    "correct or remove that path" if Path(directory).is_dir() else NO_DAGS,
                )
            root = Path(directory).resolve()
            held = [f"{path} ({what})" for path, what in private if Path(path).resolve().is_relative_to(root)]
            if held:
                yield Finding(
                    f"host {host.name}",
                    name,
                    show(directory),
                    f"a directory without {', '.join(held)}: all of it is copied to each host, and each task reads it",
                    f"move the files for Airflow into a directory of their own, and set {name} to that directory",
                )
        if source == "git" and not str(host.get("airflow_dags_git_url", "")):
            yield Finding(
                f"host {host.name}",
                "airflow_dags_git_url",
                show(UNSET),
                "the URL of a git repository, because airflow_dags_source is git",
                "set airflow_dags_git_url, or airflow_dags_source: local",
            )
        if not inventory.sound(host, "airflow_dag_bundles", "airflow_git_credentials", "airflow_dags_git_url"):
            continue
        credentials = host.get("airflow_git_credentials", [])
        by_name = {str(entry.get("name")): entry for entry in credentials}
        problems = [
            *dag_bundles.credential_problems(credentials),
            *dag_bundles.bundle_problems(host.get("airflow_dag_bundles", []), by_name),
        ]
        if source == "git":
            url, name = str(host.get("airflow_dags_git_url", "")), host.get("airflow_dags_git_credentials", "")
            problems += dag_bundles.credential_reference("airflow_dags_git_url", url, name, by_name)
        for problem in problems:
            yield Finding(f"host {host.name}", *problem)


def check_bundle_packages(inventory: Inventory) -> Iterator[Finding]:
    """The class of each bundle is in a package of the runtime. Airflow imports all of them wherever it opens one."""
    for host in inventory.cluster:
        if not inventory.sound(host, "airflow_dag_bundles", *config_packages.REQUIREMENTS):
            continue
        plugins = text_of(host, "airflow_plugins_dir")
        for index, bundle in enumerate(host.get("airflow_dag_bundles", [])):
            variable, name = f"airflow_dag_bundles[{index}].classpath", str(bundle.get("classpath", ""))
            if not dag_bundles.CLASS.fullmatch(name):
                continue  # a git repository, or a finding of check_dags
            for problem in config_packages.missing_of_class(
                variable, name, _requirements(host), [Path(plugins)] if plugins else []
            ):
                yield Finding(
                    f"host {host.name}",
                    variable,
                    show(name),
                    "a class that the lock of the runtime has, or a package of airflow_runtime_extra_requirements",
                    f"add {problem.requirement or 'the package that has it'} to airflow_runtime_extra_requirements",
                )


def _requirements(host: Host) -> list[str]:
    everywhere, workers = config_packages.REQUIREMENTS
    return [*host.get(everywhere, []), *(host.get(workers, []) if topology.WORKER_GROUP in host.groups else [])]


def check_queues(inventory: Inventory) -> Iterator[Finding]:
    """Every queue that tasks are sent to for certain has a worker: in another one they would wait for ever."""
    workers = inventory.members(topology.WORKER_GROUP)
    if not workers or not all(inventory.sound(host, "airflow_worker_queues") for host in workers):
        return
    served = {str(queue) for host in workers for queue in host.get("airflow_worker_queues", ["default"])}
    expected = f"a queue that a worker takes tasks from: {', '.join(sorted(served))}"
    for host in inventory.members("airflow_scheduler"):
        config = host.get("airflow_config", {})
        operators = config.get("operators") if isinstance(config, Mapping) else None
        queue = str(operators.get("default_queue", "default")) if isinstance(operators, Mapping) else "default"
        if queue not in served:
            yield Finding(
                f"host {host.name}",
                "airflow_config.operators.default_queue",
                show(queue),
                f"{expected}; tasks that name none go there",
                f"add {queue} to airflow_worker_queues of a worker, or name another queue in "
                "airflow_config.operators.default_queue",
            )
    directories = {
        str(host.get("airflow_dags_dir", ""))
        for host in inventory.members("airflow_dag_processor")
        if str(host.get("airflow_dags_source", "")) == "local" and inventory.sound(host, "airflow_dags_dir")
    }
    for directory in sorted(directories - {""}):
        try:
            uses = dag_queues.find(Path(directory))
        except tree.TreeError:
            continue  # a finding of check_dags
        for use in uses:
            if use.queue not in served:
                yield Finding(
                    f"DAG file {use.file}, line {use.line}",
                    "queue",
                    show(use.queue),
                    expected,
                    f"add {use.queue} to airflow_worker_queues of a worker, or name another queue there",
                )
