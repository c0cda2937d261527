"""Which process reads which setting."""

from __future__ import annotations

import ast
import configparser
import datetime
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import airflow_readers
import jinja2
import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import airflow_config, config_rules

PROJECT = Path(__file__).resolve().parents[2]
OWN_CODE = PROJECT / "roles/airflow_runtime/files/runtime/airflow_celery_cluster"

ALL = airflow_config.AIRFLOW_PROCESSES
WITH_DATABASE = ALL - {"worker"}
API = frozenset({"api-server", "execution-api"})
SCHEDULER = frozenset({"scheduler"})
# Without "database", the airflow command: whatever it does, another process does, too.
JOBS = frozenset({"api-server", "scheduler", "dag-processor", "triggerer"})
DAG_CODE = frozenset({"scheduler", "dag-processor", "triggerer", "worker"})

# The processes that run a module or package, the longest path counts. A module that is not here is of every process.
MODULES: Mapping[str, frozenset[str]] = {
    "airflow/": ALL,
    "airflow/api_fastapi/": API,
    "airflow/api_fastapi/app.py": API,
    "airflow/api_fastapi/auth/tokens.py": API | SCHEDULER,
    # The DAG processor and the triggerer create this application inside the process, and the scheduler for callbacks.
    "airflow/api_fastapi/execution_api/": WITH_DATABASE - {"api-server"},
    "airflow/assets/": WITH_DATABASE,
    # Defaults of the options of commands; the command itself is another module.
    "airflow/cli/cli_config.py": frozenset({"database"}),
    "airflow/cli/cli_parser.py": frozenset({"database"}),
    "airflow/cli/commands/api_server_command.py": API,
    "airflow/cli/commands/connection_command.py": frozenset({"database"}),
    "airflow/cli/commands/db_manager_command.py": frozenset({"database"}),
    "airflow/cli/commands/info_command.py": frozenset({"database"}),
    "airflow/cli/commands/scheduler_command.py": SCHEDULER,
    "airflow/cli/commands/standalone_command.py": frozenset(),
    "airflow/cli/commands/triggerer_command.py": frozenset({"triggerer"}),
    "airflow/dag_processing/collection.py": frozenset({"dag-processor"}),
    "airflow/dag_processing/manager.py": frozenset({"dag-processor"}),
    "airflow/dag_processing/processor.py": frozenset({"dag-processor"}),
    "airflow/executors/": SCHEDULER,
    "airflow/jobs/job.py": JOBS,
    "airflow/jobs/scheduler_job_runner.py": SCHEDULER,
    "airflow/jobs/triggerer_job_runner.py": frozenset({"triggerer"}),
    "airflow/migrations/": frozenset({"database"}),
    "airflow/models/": WITH_DATABASE,
    "airflow/providers/celery/cli/celery_command.py": frozenset({"worker"}),
    "airflow/providers/celery/cli/definition.py": frozenset({"database"}),
    "airflow/providers/celery/executors/celery_executor.py": SCHEDULER,
    "airflow/providers/celery/executors/celery_executor_utils.py": SCHEDULER | {"worker"},
    "airflow/providers/celery/executors/celery_kubernetes_executor.py": frozenset(),
    "airflow/providers/celery/executors/default_celery.py": SCHEDULER | {"worker"},
    "airflow/providers/fab/": frozenset({"api-server", "dag-processor", "database"}),
    "airflow/providers/fab/auth_manager/api_fastapi/": frozenset({"api-server"}),
    "airflow/providers/fab/www/app.py": frozenset({"api-server"}),
    "airflow/providers/fab/www/views.py": frozenset({"api-server"}),
    "airflow/sdk/api/client.py": DAG_CODE,
    "airflow/sdk/execution_time/": DAG_CODE,
    "airflow/serialization/": WITH_DATABASE,
    "airflow/utils/dag_version_inflation_checker.py": frozenset({"dag-processor"}),
    "airflow/utils/db.py": frozenset({"database"}),
    "airflow/utils/db_cleanup.py": frozenset({"database"}),
    "airflow/utils/scheduler_health.py": SCHEDULER,
    "airflow/utils/serve_logs/": frozenset({"triggerer", "worker"}),
    "airflow/utils/sqlalchemy.py": WITH_DATABASE,
    "airflow_celery_cluster/auth_manager.py": frozenset({"api-server"}),
    "airflow_celery_cluster/celery_config.py": frozenset({"worker"}),
    "airflow_celery_cluster/database_tls.py": WITH_DATABASE,
    "airflow_celery_cluster/flower_app.py": frozenset({"flower"}),
    "airflow_celery_cluster/scheduler_wake.py": SCHEDULER,
    # Run with the settings of the scheduler.
    "airflow_celery_cluster/status.py": SCHEDULER,
    # Other processes import it, too, and send nothing.
    "airflow_celery_cluster/task_logs.py": frozenset({"dag-processor", "triggerer", "worker"}),
    "airflow_celery_cluster/resend_logs.py": frozenset({"dag-processor", "triggerer", "worker"}),
    "airflow_celery_cluster/task_tokens.py": SCHEDULER,
}
# Settings that are kept from a process although a module of the process names the setting, each with the reason.
KEPT_FROM: Mapping[str, tuple[frozenset[str], str]] = {
    "api.base_url": (frozenset({"execution-api"}), "it would serve below the path of the URL"),
    "api.client_ssl_cert": (ALL - {"worker"}, "only a worker calls the Execution API through TLS"),
    "api.client_ssl_key": (ALL - {"worker"}, "only a worker calls the Execution API through TLS"),
    "api.client_use_public_certs": (ALL - {"worker"}, "only a worker calls the Execution API through TLS"),
    "api.ssl_ca_file": (ALL - {"worker"}, "only a worker calls the Execution API through TLS"),
    "api.ssl_cert": (JOBS, "only a worker calls the Execution API through TLS"),
    "api.log_fetch_timeout_sec": (ALL - API, "only the API servers fetch logs"),
    "api.secret_key": (ALL - {"api-server"}, "a secret; no process serves logs, and none fetches them"),
    "api_auth.": (ALL - API - SCHEDULER, "a secret; an Execution API inside the process checks no token"),
    "api_auth.trusted_jwks_url": (ALL - API, "the scheduler signs, and checks no token"),
    "celery.celery_config_options": (frozenset({"database"}), "the airflow command sends and runs no task"),
    "core.auth_manager": (frozenset({"execution-api"}), "no user logs in at it"),
    "core.execution_api_server_url": (ALL - SCHEDULER - {"worker"}, "only executor and worker use it"),
    "database.": (frozenset({"worker"}), "it has no database"),
    "scheduler.max_dagruns_per_loop_to_schedule": (ALL - SCHEDULER, "a query of the scheduler's loop"),
    "scheduler.max_dagruns_to_create_per_loop": (ALL - SCHEDULER, "a query of the scheduler's loop"),
    "scheduler.max_tis_per_query": (ALL - SCHEDULER, "an attribute that only the scheduler's loop reads"),
    "triggerer.job_heartbeat_sec": (ALL - {"triggerer"}, "of other jobs only the threshold is compared"),
    "triggerer.max_trigger_to_select_per_loop": (ALL - {"triggerer"}, "a query of the triggerer's loop"),
}


def named_settings() -> Iterator[tuple[str, str]]:
    """Each setting, and a module that reads the setting: Airflow's, by the committed file, and our own."""
    committed = json.loads(airflow_readers.OUTPUT.read_text())["readers"]
    for setting, modules in committed.items():
        for module in modules:
            yield setting, module
    known = json.loads(airflow_readers.OPTIONS.read_text())["sections"]
    files = sorted(OWN_CODE.glob("*.py"))
    assert files
    for path in files:
        for section, option in airflow_readers.settings_of(path.read_text(), known):
            yield f"{section}.{option}", f"airflow_celery_cluster/{path.name}"


def processes_of(module: str) -> frozenset[str]:
    """The processes that run a module."""
    paths = [path for path in MODULES if module == path or (path.endswith("/") and module.startswith(path))]
    return MODULES[max(paths, key=len)] if paths else ALL


def test_a_setting_reaches_every_process_that_reads_it() -> None:
    missing = []
    for setting, module in named_settings():
        section, option = setting.split(".", 1)
        # A whole section is checked by its options, and by the readers of the section.
        readers = airflow_config.readers(section, "" if option == "*" else option)
        kept = KEPT_FROM.get(setting, KEPT_FROM.get(f"{section}.", (frozenset(), "")))[0]
        for process in sorted(processes_of(module) - readers - kept):
            missing.append(f"{setting}: {process} ({module})")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(
    ("setting", "processes"),
    [
        ("scheduler.create_cron_data_intervals", ALL),
        ("scheduler.catchup_by_default", ALL),
        ("execution_api.jwt_audience", WITH_DATABASE),
        ("dag_processor.stale_bundle_cleanup_interval", ALL),
        ("scheduler.task_queued_timeout", SCHEDULER | {"worker", "database"}),
        ("workers.socket_cleanup_timeout", DAG_CODE | {"database"}),
    ],
)
def test_settings_that_had_no_effect_in_some_process(setting: str, processes: frozenset[str]) -> None:
    assert airflow_config.readers(*setting.split(".")) == processes


@pytest.mark.parametrize(
    ("setting", "processes"),
    [
        ("api.secret_key", {"api-server"}),
        ("api_auth.jwt_secret", API | SCHEDULER),
        ("api_auth.jwt_private_key_path", API | SCHEDULER),
        ("workers.secrets_backend_kwargs", {"dag-processor", "triggerer", "worker"}),
    ],
)
def test_a_secret_reaches_no_other_process(setting: str, processes: frozenset[str]) -> None:
    assert airflow_config.readers(*setting.split(".")) == processes


def test_settings_of_mail_without_effect_are_those_that_only_older_functions_read() -> None:
    older = {"airflow/utils/email.py", "airflow/providers/smtp/utils/emailer.py"}
    readers: dict[str, set[str]] = {}
    for setting, module in named_settings():
        if setting.startswith(("email.", "smtp.")):
            readers.setdefault(setting, set()).add(module)
    unread = {setting for setting, modules in readers.items() if modules <= older}
    assert {setting for setting in unread if not setting.startswith("smtp.")} == config_rules.MAIL_OPTIONS
    assert {setting for setting in readers if setting.startswith("smtp.")} <= unread
    assert f"{config_rules.MAIL_SECTION}.smtp_host" in unread


def test_the_readers_are_those_of_the_locked_airflow() -> None:
    locked = {
        package["name"]: package["version"] for package in tomllib.loads((PROJECT / "uv.lock").read_text())["package"]
    }
    committed = json.loads(airflow_readers.OUTPUT.read_text())["locked"]
    assert committed == {name: locked[name] for name in committed}, "run tools/airflow_readers.py"
    assert {"apache-airflow-core", "apache-airflow-task-sdk", "apache-airflow-providers-git"} <= set(committed)


def test_every_way_to_read_a_setting_is_found() -> None:
    source = """
SECTION = "scheduler"
conf.getint("scheduler", "num_runs")
conf.get(section="api", key="host")
conf.getboolean(SECTION, "catchup_by_default")
helper("api", "port", fallback=None)
LIMITS = {"a": ("api", "theme")}
conf.getsection("sentry")
conf.get("acme", "x")
other("not", "known")
"""
    known = {"scheduler": ["num_runs", "catchup_by_default"], "api": ["host", "port", "theme"]}
    assert {".".join(setting) for setting in airflow_readers.settings_of(source, known)} == {
        "scheduler.num_runs",
        "api.host",
        "scheduler.catchup_by_default",
        "api.port",
        "api.theme",
        "sentry.*",
        "acme.x",
    }


def test_a_process_gets_only_what_it_reads() -> None:
    config = {
        "scheduler": {"max_tis_per_query": 16},
        "triggerer": {"default_capacity": 5},
        "core": {"load_examples": False},
    }
    assert airflow_config.for_process(config, "scheduler") == {
        "core": {"load_examples": "False"},
        "scheduler": {"max_tis_per_query": "16"},
    }
    assert "triggerer" in airflow_config.for_process(config, "triggerer")


def test_the_worker_never_gets_database_settings() -> None:
    assert airflow_config.for_process({"database": {"sql_alchemy_pool_size": 5}}, "worker") == {}


def test_an_option_may_have_other_readers_than_its_section() -> None:
    assert "worker" in airflow_config.readers("api", "base_url")
    assert "worker" not in airflow_config.readers("api", "workers")


def test_flower_gets_what_the_connection_to_the_broker_needs() -> None:
    config = {
        "celery": {"ssl_active": True, "worker_concurrency": 4, "extra_celery_config": {}},
        "celery_broker_transport_options": {"socket_timeout": 10},
        "logging": {"logging_level": "INFO"},
    }
    assert airflow_config.for_process(config, "flower") == {
        "celery": {"ssl_active": "True"},
        "celery_broker_transport_options": {"socket_timeout": "10"},
    }


def test_an_unknown_section_concerns_every_airflow_process() -> None:
    assert airflow_config.readers("my_provider", "x") == airflow_config.AIRFLOW_PROCESSES


def test_names_are_compared_in_lower_case() -> None:
    assert airflow_config.for_process({"Triggerer": {"Default_Capacity": 1}}, "scheduler") == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "True"),
        (None, ""),
        (7, "7"),
        ("50%", "50%%"),
        ([{"b": 1, "a": None}], '[{"a": null, "b": 1}]'),
    ],
)
def test_values_are_spelt_as_airflow_spells_them(value: object, text: str) -> None:
    assert airflow_config.render_value(value) == text


READABLE = [
    "airflow.*\nmy.*\n",
    "first\n\n\nthird\n\n",
    "\nsecond",
    "[core]\n[core]",
    "one = 1\ntwo: 2",
    "# first line",
    "; first line",
    "a # b ; c",
    "100%",
    "%(here)s %% %",
    "${a:b}",
    'say "x"',
    "'quoted'",
    "Zürich 東京 \u2028 x",
    "{{ not_a_template }} {% raw %}",
    "",
    None,
    True,
    0,
    1.5,
    datetime.date(2026, 11, 27),
    [],
    ["a\nb", "# c", " d "],
    {"a": {"b": "50%\n"}, "c": None, "d": datetime.date(2026, 11, 27)},
]


@pytest.mark.parametrize("value", READABLE, ids=repr)
def test_a_value_arrives_as_it_is(value: object, tmp_path: Path) -> None:
    assert airflow_config.is_readable("x", value)
    assert read(value, tmp_path) == airflow_config.text_of(value)


@pytest.mark.parametrize(
    "value",
    [
        *(" a", "a ", "\ta", " "),
        *("a\n# b", "a\n; b", "a\n  # b", "a\n\n#b\nc"),
        *("{\n  1\n}", "a \nb", "a\rb", "a\r\nb", "a\x1f\nb", "\ud800"),
    ],
    ids=repr,
)
def test_a_value_that_would_not_arrive_is_not_readable(value: str, tmp_path: Path) -> None:
    assert not airflow_config.is_readable("x", value)
    try:
        arrived = read(value, tmp_path)
    except (configparser.ParsingError, UnicodeEncodeError):
        return
    assert arrived != airflow_config.text_of(value)


@pytest.mark.parametrize("option", ["a = b", "a:b", "# a", "[a]", " a", "a\nb", ""])
def test_an_option_that_airflow_reads_otherwise_is_not_readable(option: str) -> None:
    assert not airflow_config.is_readable(option, "x")


def test_lines_may_be_given_as_a_list() -> None:
    assert airflow_config.text_of(["a\nb"]) == '["a\\nb"]'


def read(value: object, directory: Path) -> str:
    """Write a value with the role's template and return what a parser like Airflow's reads."""
    template = (PROJECT / "roles/airflow/templates/airflow.cfg.j2").read_text()
    loop = template[template.index("[{{ section }}]") : template.rindex("{% endfor %}")]
    # As ansible.builtin.template: the line break after a block is left out.
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)
    options = airflow_config.for_process({"core": {"before": 1, "x": value, "zzz": "last"}}, "scheduler")["core"]
    path = directory / "airflow.cfg"
    path.write_text(environment.from_string(loop).render(section="core", options=options), newline="\n")
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    assert (parser["core"]["before"], parser["core"]["zzz"]) == ("1", "last")
    return parser["core"]["x"]


def test_a_process_must_be_known() -> None:
    with pytest.raises(ValueError, match="webserver"):
        airflow_config.for_process({}, "webserver")


def test_every_exception_names_known_processes() -> None:
    for names in (*airflow_config.OPTION_READERS.values(), *airflow_config.SECTION_READERS.values()):
        assert names <= airflow_config.PROCESSES


# --- What the cluster's own code reads --------------------------------------------------------------------------------
ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "roles/airflow_runtime/files/runtime/airflow_celery_cluster"
# The processes that import a module. The processes that run a module with airflow-run are found in the playbooks.
IMPORTED_BY = {
    "auth_manager": {"api-server"},  # [core] auth_manager; the read is part of the start of the API server
    "celery_config": {"worker"},  # [celery] celery_config_options; a scheduler reads none of these options
    "database_tls": {"api-server", "execution-api", "scheduler", "dag-processor", "triggerer", "database"},
    "scheduler_wake": {"scheduler"},  # by celery_config, in a scheduler only
    "task_logs": {"dag-processor", "triggerer", "worker"},  # [logging] logging_config_class; others send nothing
    "resend_logs": {"dag-processor", "triggerer", "worker"},  # playbooks/resend_logs.yml names them in a variable
    "retries": {"dag-processor", "scheduler", "triggerer", "worker"},  # a policy, loaded with a DAG file
}


def runners() -> dict[str, set[str]]:
    """Return for each module of the runtime the processes whose configuration airflow-run gives to it."""
    found: dict[str, set[str]] = {}
    for directory in ("playbooks", "roles"):
        for path in (ROOT / directory).rglob("*.yml"):
            text = re.sub(r"^ *#.*\n", "", path.read_text(), flags=re.MULTILINE)
            for process, module in re.findall(r"airflow-run[\s,-]+(\S+?)[\s,-]+airflow_celery_cluster\.(\w+)", text):
                found.setdefault(module, set()).add(process)
    return found


def options_read(module: Path) -> Iterator[tuple[str, str]]:
    """Yield section and option of each read of a module; fail for one whose names are not in the text."""
    tree = ast.parse(module.read_text())
    tables = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        function = node.func if isinstance(node, ast.Call) else None
        if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
            continue
        if function.value.id != "conf" or not function.attr.startswith(("get", "has_option")):
            continue
        assert isinstance(node, ast.Call)
        match node.args:
            case [ast.Constant(value=str(section)), ast.Constant(value=str(option)), *_]:
                yield section, option
            # conf.getfloat(*TABLE[key])
            case [ast.Starred(value=ast.Subscript(value=ast.Name(id=name)))] if name in tables:
                yield from ast.literal_eval(tables[name]).values()
            case _:
                pytest.fail(f"{module.name}, line {node.lineno}: {ast.unparse(node)} names no section and option")


READING = {path.stem: options for path in sorted(RUNTIME.glob("*.py")) if (options := set(options_read(path)))}


def test_the_modules_that_read_settings_are_found() -> None:
    assert {"celery_config", "status", "task_tokens"} <= set(READING)
    assert ("scheduler", "task_queued_timeout") in READING["celery_config"]
    assert ("triggerer", "triggerer_health_check_threshold") in READING["status"]


@pytest.mark.parametrize("module", READING)
def test_what_a_module_reads_is_delivered_to_its_process(module: str) -> None:
    processes = IMPORTED_BY.get(module, set()) | runners().get(module, set())
    assert processes, f"no process of {module} is known: add the module to IMPORTED_BY"
    missing = {
        f"[{section}] {option} is not delivered to {process}"
        for section, option in READING[module]
        for process in processes - airflow_config.readers(section, option)
    }
    assert missing == set()
