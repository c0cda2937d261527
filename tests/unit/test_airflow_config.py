"""Which process reads which setting."""

from __future__ import annotations

import ast
import configparser
import datetime
import re
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
from ansible_collections.airflow_celery.cluster.plugins.module_utils import airflow_config

PROJECT = Path(__file__).resolve().parents[2]


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
RUNTIME = ROOT / "roles/airflow_runtime/files/airflow_celery_cluster"
# The processes that import a module. The processes that run a module with airflow-run are found in the playbooks.
IMPORTED_BY = {
    "auth_manager": {"api-server"},  # [core] auth_manager; the read is part of the start of the API server
    "celery_config": {"worker"},  # [celery] celery_config_options
    "database_tls": {"api-server", "execution-api", "scheduler", "dag-processor", "triggerer", "database"},
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
