"""What README and docs name exists: links, commands, parameters, files, variables, defaults, tasks, versions."""

from __future__ import annotations

import functools
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import memory, topology
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import Failover
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.playbook_parameters import parameters_of
from sample_inventory import SPECS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("README*.md")), ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
# Pages that a program writes.
WRITTEN = {"faults.md", "failover-comparison.md", "variables.md", "test-all.md"}
# Without links to directories.
TRACKED = [
    name
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    if (ROOT / name).is_file()
]
MAKEFILE = (ROOT / "Makefile").read_text()
# Of a clone, and of a repository of a user
SITE_MAKEFILE = (ROOT / "examples/site/Makefile").read_text()
TARGETS = {
    target
    for line in re.findall(r"^([a-z][\w -]*):(?!=)", MAKEFILE + SITE_MAKEFILE, re.MULTILINE)
    for target in line.split()
}
PLAYBOOKS = {path.stem: path.read_text() for path in ROOT.glob("playbooks/*.yml")}
PARAMETERS = parameters_of(map(str, ROOT.glob("playbooks/*.yml")))
ROLES = {path.name for path in ROOT.glob("roles/*")}
GROUPS = set(re.findall(r"^ +(\w+):", (ROOT / "inventory/production.example/hosts.yml").read_text(), re.MULTILINE))
# What is code in a page: between backticks, or indented, or fenced.
CODE = re.compile(r"`([^`\n]+)`|^ {4,}(.+)$", re.MULTILINE)


def names(pages: list[Path]) -> list[str]:
    """Return the names of pages, for pytest."""
    return [str(path.relative_to(ROOT)) for path in pages]


# Pages for users; the others are for those who work on the repository.
READ = [page for page in PAGES if page.name not in {*WRITTEN, "CONTRIBUTING.md"}]
# Changelog and READMEs of roles are not pages of the documentation, but their links must lead somewhere, too.
LINKING = [*PAGES, ROOT / "CHANGELOG.md", *sorted(ROOT.glob("roles/*/README.md"))]
every_page = pytest.mark.parametrize("page", PAGES, ids=names(PAGES))


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def code(page: Path) -> list[str]:
    """Return what is code in a page, line by line."""
    text = page.read_text()
    fenced = [line for block in re.findall(r"^ *```.*?\n(.*?)^ *```", text, re.M | re.S) for line in block.splitlines()]
    return fenced + ["".join(found) for found in CODE.findall(prose(page))]


def headings(page: Path) -> list[tuple[int, str]]:
    """Return level and text of each heading."""
    return [(len(level), text.strip()) for level, text in re.findall(r"^(#+) (.*)$", prose(page), re.MULTILINE)]


@functools.cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings."""
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for _, text in headings(page)}


@every_page
def test_a_page_has_one_title(page: Path) -> None:
    assert [level for level, _ in headings(page)].count(1) == 1
    assert headings(page)[0][0] == 1


@pytest.mark.parametrize("page", LINKING, ids=names(LINKING))
def test_every_link_leads_somewhere(page: Path) -> None:
    found = []
    # The generated changelog has a backslash before each character that could be markup.
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", prose(page))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    assert found == []


@every_page
def test_every_target_of_make_exists(page: Path) -> None:
    text = prose(page)
    words = [words for words in code(page) if re.match(r"make [a-z]", words)]
    assert {line.split()[1] for line in words} - TARGETS == set()
    # A variable of make that no recipe reads has no effect.
    given = {name for line in re.findall(r"`make [^`]+`", text) for name in re.findall(r"\b([A-Z]+)=", line)}
    assert {name for name in given if f"$({name})" not in MAKEFILE and f"$(or $({name})" not in MAKEFILE} == set()


@every_page
def test_every_playbook_exists(page: Path) -> None:
    text = page.read_text()
    found = set(re.findall(r"\bplaybooks/(\w+)\.yml", text))
    found |= {
        word for word in re.findall(r"`(\w+)\.yml\b", text) if word not in ("hosts", "main", "site", "vault", "secrets")
    }
    assert {
        name for name in found - PLAYBOOKS.keys() if not any(f"/{path}".endswith(f"/{name}.yml") for path in TRACKED)
    } == set()
    own = set(re.findall(r"ansible-playbook [^\n`]*airflow_celery\.cluster\.(\w+)", text))
    assert own <= PLAYBOOKS.keys()


@every_page
def test_every_command_for_the_production_inventory_opens_its_vault(page: Path) -> None:
    # Its secrets.yml is encrypted: without the option Ansible says "no vault secrets found".
    lines = [line for line in page.read_text().splitlines() if "ansible-playbook -i inventory/production" in line]
    assert [line for line in lines if "--ask-vault-pass" not in line and "--vault-password-file" not in line] == []


def reads(playbook: str, name: str) -> bool:
    """Return whether a playbook, or one that it imports, reads a variable."""
    text = (ROOT / "site.yml").read_text() if playbook == "site" else PLAYBOOKS[playbook]
    if re.search(rf"\b{name}\b", text):
        return True
    # What is a variable of a role can be given to whatever plays the role.
    return name in SPECS or (playbook != "site" and "site.yml" in text and reads("site", name))


@every_page
def test_every_parameter_of_a_playbook_exists(page: Path) -> None:
    found = []
    for line in code(page):
        playbook = re.search(r"\b(\w+)\.yml|airflow_celery\.cluster\.(\w+)", line)
        for name in re.findall(r"-e [\"'{]*(\w+)[\"']?[=:]", line):
            some = [(playbook[1] or playbook[2])] if playbook else list(PLAYBOOKS)
            if not any(reads(one, name) for one in some if one in PLAYBOOKS):
                found.append(line)
    assert found == []


@every_page
def test_every_file_of_the_repository_exists(page: Path) -> None:
    text = page.read_text()
    found = set()
    for path in re.findall(r"(?<![\w/.<>~-])((?:tools|roles|plugins|tests|molecule|meta|dags)/[\w./-]*\w)", text):
        if not any(one == path or one.startswith(f"{path}/") for one in TRACKED) and "my_dag" not in path:
            found.add(path)
    for name in re.findall(r"`([\w-]+\.(?:py|cfg|toml|lock|j2))`", text):
        if not any(path.rpartition("/")[2] in (name, f"{name}.j2") for path in TRACKED):
            found.add(name)
    # Files of a host or of a user.
    assert found - {"webserver_config.py", "workday.py", "daemon.json"} == set()


# Logins of an example, which the reader makes.
LOGINS = {"airflow_results"}


# Made from other names in the code, or on a host of the reader.
COMPUTED = {
    "/var/lib/airflow/worker",
    "/var/cache/airflow/worker",
    "/var/lib/airflow-log-store/tasks",
    "/var/run/docker.sock",
    "/opt/oracle",
}


@every_page
def test_every_path_of_a_host_is_one_of_the_code(page: Path) -> None:
    found = set()
    for path in re.findall(r"/(?:etc|opt|usr|var|run)/[\w./@<>*-]+", page.read_text()):
        # Of a path with a placeholder, what is before the placeholder.
        literal = re.split(r"[<*]", path)[0].rstrip("./)")
        if not any(literal in text for text in CODE_OF_HOSTS):
            found.add(path.rstrip(".)"))
    assert found - COMPUTED == set()


def known(name: str) -> bool:
    """Return whether a name that looks like one of our variables is one, or a group, a role or a parameter."""
    if name in SPECS or name in GROUPS | ROLES | LOGINS or name in PLAYBOOKS:
        return True
    return any(re.search(rf"\b{name}\b", text) for text in (*PLAYBOOKS.values(), *TEXTS))


CODE_OF_HOSTS = [
    (ROOT / path).read_text()
    for path in TRACKED
    if path.startswith(("plugins/", "roles/", "playbooks/", "site.yml", "molecule/")) and not path.endswith(".md")
]
TEXTS = [
    (ROOT / path).read_text()
    for path in TRACKED
    if path.startswith(("plugins/", "roles/")) and path.endswith((".py", ".yml", ".j2")) and "/tests/" not in path
]
PREFIX = "|".join(sorted(ROLES - {"local_machines"}, key=len, reverse=True))


@every_page
def test_every_variable_exists(page: Path) -> None:
    words = {word for line in code(page) for word in re.findall(rf"(?<![\w./-])((?:{PREFIX})_\w+)\b(?![/.-])", line)}
    assert {word for word in words if not known(word) and not word.endswith("_")} == set()


# Parameters of task files, which only a playbook passes.
PASSED_BY_PLAYBOOKS = {
    name
    for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    for spec in yaml.safe_load(path.read_text())["argument_specs"].values()
    for name in spec.get("options") or {}
} - SPECS.keys()


@every_page
def test_no_page_names_a_parameter_of_a_task_file(page: Path) -> None:
    """The preflight refuses it in an inventory and on the command line."""
    found = {word for line in code(page) for word in re.findall(r"\w+", line)} & PASSED_BY_PLAYBOOKS
    assert found == set()


@every_page
def test_a_table_of_parameters_has_names_that_a_playbook_reads(page: Path) -> None:
    tables = re.findall(r"^\| `-e` \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)
    names = {name for table in tables for name in re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)}
    assert names - SPECS.keys() - PARAMETERS == set()


def default(name: str) -> Any:
    """Return the default of a variable, as text, or None for one that is computed."""
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        values = yaml.safe_load(path.read_text()) or {}
        if name in values:
            return None if "{{" in str(values[name]) else str(values[name])
    return None


@every_page
def test_every_default_that_is_quoted_is_the_default(page: Path) -> None:
    text = prose(page)
    quoted = re.findall(r"`(\w+)` \((?:default: )?(\d+)(?: s| days| seconds|;|\))", text)
    quoted += re.findall(r"`(\w+): (\d+)`, the default", text)
    wrong = [(name, value) for name, value in quoted if (real := default(name)) is not None and real != value]
    assert wrong == []


def test_defaults_are_quoted_somewhere() -> None:
    text = "\n".join(prose(page) for page in PAGES)
    assert len(re.findall(r"`\w+` \(\d+\)", text)) > 10


def rows(text: str) -> list[list[str]]:
    """Return the rows of all tables of a page."""
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]


def test_the_readme_has_the_real_defaults() -> None:
    text = (ROOT / "README.md").read_text().partition("| setting | variable | default |")[2].partition("\n\n")[0]
    checked = 0
    for _, variable, quoted, *_ in (row for row in rows(text) if len(row) == 3):
        real = default(variable.strip("`").partition(":")[0])
        if real is not None and re.fullmatch(r"`?[\w\[\]]+`?", quoted):
            assert real.lower().replace("'", "") == quoted.strip("`").lower(), variable
            checked += 1
    assert checked > 5


def table(page: str, first: str) -> list[list[str]]:
    """Return the body of the table whose head begins with some cells."""
    text = (ROOT / page).read_text()
    return rows(text[text.index(f"| {first} |") :].partition("\n\n")[0])[2:]


def test_the_table_of_failover_is_what_is_computed() -> None:
    for seconds, heartbeat, killed, outage, rate in table("docs/failover.md", "`airflow_failover_seconds`"):
        found = Failover(int(seconds))
        assert heartbeat == f"{found.heartbeat_interval} s"
        assert killed == f"{found.kill_after:g} s"
        assert outage == f"{found.outage_tolerated:g} s"
        assert rate == f"{found.requests_per_second(100):.0f}"


def test_the_wait_of_a_message_is_what_is_computed() -> None:
    source = (ROOT / "roles/airflow_runtime/files/runtime/airflow_celery_cluster/celery_config.py").read_text()
    margin = float(re.findall(r"^QUEUE_MARGIN = ([0-9.]+)$", source, re.MULTILINE)[0])
    queued = Failover(20).config()["scheduler"]["task_queued_timeout"]
    words = " ".join((ROOT / "docs/failover.md").read_text().split())
    assert f"waits until {margin:g} s before its token expires: {queued - margin:g} s." in words
    assert f"is queued anew after {queued:g} s (three times `airflow_failover_seconds` if that is more)" in words


def test_the_table_of_memory_is_what_is_computed() -> None:
    load = memory.Load(groups=frozenset(topology.CONTROL_GROUPS))
    for size, system, postgres, redis, airflow in table("docs/memory.md", "memory | system"):
        plan = memory.plan(int(size), load)
        main, results = (
            memory.cluster_share(plan.parts["postgres"], name, load.connections) for name in ("main", "results")
        )
        assert system == str(plan.system)
        assert postgres == f"{plan.parts['postgres']} ({main} + {results})"
        assert (redis, airflow) == (str(plan.parts["redis"]), str(plan.parts["airflow"]))


TASKS = {
    re.sub(r"\{\{.*?\}\}", "*", name).strip("\"'")
    for path in TRACKED
    if re.match(r"(roles/\w+/(tasks|handlers)/|playbooks/|site\.yml)", path)
    for name in re.findall(r"^ *(?:- )?name: (.*)$", (ROOT / path).read_text(), re.MULTILINE)
    # An argument of a module, such as the name of a unit, may be a template and nothing else.
    if re.sub(r"\{\{.*?\}\}", "", name).count(" ") > 1
}


@every_page
def test_every_task_in_an_example_exists(page: Path) -> None:
    found = []
    for name in re.findall(r"TASK \[(?:[\w. …]+ : )?([^\]]+)\]", page.read_text()):
        if not any(re.fullmatch(re.escape(task).replace(r"\*", ".+"), name) for task in TASKS):
            found.append(name)
    assert found == []


def test_versions_are_those_of_the_lock_and_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    first, last = (int(part) for part in re.findall(r"3\.(\d+)", project["project"]["requires-python"]))
    versions = [f"3.{minor}" for minor in range(first, last)]
    installed = {str(one) for group in ("controller", "build") for one in groups[group]}
    airflow = default("airflow_version")
    for page in PAGES:
        text = page.read_text()
        for requirement in re.findall(r"'((?:ansible|uv)[^']*[<>=][^']*)'", text):
            assert requirement in installed, page
        for low, high in re.findall(r"Python (3\.\d+) to (3\.\d+)", text):
            assert [low, high] == [versions[0], versions[-1]], page
        assert not re.search(r"Python 3\.\d+ or newer", text), page
        if some := re.search(r"Python (3\.\d+), (3\.\d+) or (3\.\d+)", text):
            assert list(some.groups()) == versions, page
        # An upgrade to what is installed by default is none.
        assert f"-e airflow_version={airflow}" not in text, page


def test_the_readme_lists_every_scenario_and_every_playbook() -> None:
    text = (ROOT / "README.md").read_text()
    for path in ROOT.glob("molecule/*/molecule.yml"):
        assert f"| `{path.parent.name}` |" in text, path
    for name in PLAYBOOKS:
        assert f"`{name}.yml`" in text or f"playbooks/{name}.yml" in text, name
    for name in ROLES:
        assert re.search(rf"`(?:roles/)?{name}`|`_{name.removeprefix('airflow_')}`", text), name


CLONE = re.compile(r"(?<![\w/])make [a-z]+\b(?=`)|`make [a-z]|^    make |\btools/\w|\.venv/|\bgit pull\b", re.MULTILINE)


@pytest.mark.parametrize("page", READ, ids=names(READ))
def test_what_exists_in_a_clone_only_is_called_so(page: Path) -> None:
    """An installed collection has no Makefile, no tools and no tests."""
    found = []
    for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE):
        if CLONE.search(section) and not re.search(r"\bclone\b|\bcheckout\b", section):
            found.append(section.partition("\n")[0])
    assert found == []


@every_page
def test_files_of_a_user_in_the_inventory_are_hidden(page: Path) -> None:
    """Ansible takes every other directory below an inventory for a part of it."""
    found = re.findall(r"(?:inventory_dir \}\}|inventory/production)/([\w.{}-]+)(?=[/`])", page.read_text())
    assert {name for name in found if not name.startswith(".")} - {"group_vars", "host_vars", "hosts.yml"} == set()


def test_the_rights_of_an_external_broker_are_those_of_our_own() -> None:
    shared = yaml.safe_load((ROOT / "roles/airflow/vars/main.yml").read_text())
    users = {user["name"]: user["rules"].split() for user in shared["airflow_broker_users"]}
    text = " ".join((ROOT / "docs/external-services.md").read_text().split())
    quoted = dict(re.findall(r"ACL SETUSER (\w+) on >PASSWORD ([^`]*?) (?=ACL|```)", text))
    assert quoted.keys() == users.keys()
    for name, rules in users.items():
        assert set(rules) <= set(quoted[name].split()), name
