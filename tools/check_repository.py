"""Check what no other tool does: versions that agree, no file that is empty or too long, no file and no variable that
nothing uses.

Prints a line for each finding. Exit status 1 if there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
# Files that Ansible, git or a person finds by their names.
FOUND_BY_NAME = re.compile(
    r"roles/[^/]+/(?:tasks|handlers|defaults|vars|meta)/(?:main|argument_specs)\.yml"
    r"|(?:tools/bench|tests/cluster/faults)/__(?:init|main)__\.py|plugins/plugin_utils/[^/]+/__init__\.py"
)
# Directories of which each file must have a user, and how another file names a file of them.
USES = {
    r"tests/cluster/(?P<name>[^/]+)\.py": (r"(?:import|from) {stem}\b",),
    r"tools/(?P<name>[^/]+)": (r"tools/{name}\b", r'"{name}"', r"(?:import|from) {stem}\b"),
    r"tests/cluster/faults/(?P<name>[^/]+)\.py": (
        r"faults\.{stem}\b",
        r"from \. import .*\b{stem}\b",
        r"from \.{stem} import",
        r"from faults import .*\b{stem}\b",
    ),
    r"tools/bench/(?P<name>[^/]+)": (
        r"bench\.{stem}\b",
        r"from bench import .*\b{stem}\b",
        r"tools/bench/{name}\b",
    ),
    r"roles/(?P<role>[^/]+)/tasks/(?P<name>[^/]+)": (r"\b{name}\b", r"tasks_from: {stem}\b"),
    r"roles/(?P<role>[^/]+)/templates/(?P<name>[^/]+)": (r"\b{name}\b",),
    r"roles/(?P<role>[^/]+)/files/(?P<name>[^/]+)": (r"\b{name}\b",),
    r"plugins/modules/(?P<name>[^/]+)": (r"airflow_celery\.cluster\.{stem}:",),
    r"plugins/filter/(?P<name>[^/]+)\.yml": (r"airflow_celery\.cluster\.{stem}\b",),
    r"plugins/(?:module|plugin)_utils/(?:[^/]+/)?(?P<name>[^/]+)": (
        r"_utils(?:\.\w+)?\.{stem} import",
        r"_utils import [^\n]*\b{stem}\b",
        r"_utils import \([^)]*\b{stem}\b",
        r"import {stem}\b",
    ),
}
# Lines that a file may have, by the first pattern that matches. Empty lines and comments of playbooks do not count.
LONGEST = (
    (r"(molecule/[^/]+/)?tests/.*\.py", 500),
    (r"(plugins|roles|tools|tests/cluster)/.*\.py", 400),
    (r"roles/[^/]+/(tasks|defaults|vars|handlers)/[^/]+\.yml", 400),
    (r"site\.yml", 200),
    (r"playbooks/[^/]+\.yml", 100),
)


def tracked() -> list[str]:
    """Return the files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


def texts_of(names: list[str]) -> dict[str, str]:
    """Return the content of the text files."""
    found = {}
    for name in names:
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def version_findings(texts: dict[str, str]) -> Iterator[str]:
    """Yield what contradicts the version in galaxy.yml."""
    version = str(yaml.safe_load(texts["galaxy.yml"])["version"])
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    runtime = "roles/airflow_runtime/files/runtime/pyproject.toml"
    for name in ("pyproject.toml", runtime):
        stated = tomllib.loads(texts[name])["project"]["version"]
        if stated != version:
            yield f"{name}: version {stated}; galaxy.yml says {version}"
    for package in tomllib.loads(texts["uv.lock"])["package"]:
        if package["name"] == project["name"] and package["version"] != version:
            yield f"uv.lock: version {package['version']} of {package['name']}; galaxy.yml says {version}"
    for name, text in texts.items():
        if name.startswith("plugins/"):
            for added in re.findall(r"^ *version_added: *['\"]?([\d.]+)", text, re.MULTILINE):
                if Version(added) > Version(version):
                    yield f"{name}: version_added {added} is later than the version in galaxy.yml, {version}"
    if version not in yaml.safe_load(texts["changelogs/changelog.yaml"])["releases"]:
        yield f"changelogs/changelog.yaml: no release {version}, the version in galaxy.yml; see CONTRIBUTING.md"


def ansible_findings(texts: dict[str, str]) -> Iterator[str]:
    """Yield what contradicts the release of ansible-core that the lock holds and that is therefore tested."""
    packages = tomllib.loads(texts["uv.lock"])["package"]
    locked = Version(next(package["version"] for package in packages if package["name"] == "ansible-core"))
    tested = f"{locked.major}.{locked.minor}"
    required = yaml.safe_load(texts["meta/runtime.yml"])["requires_ansible"]
    if required != f">={tested}.0":
        yield f"meta/runtime.yml: requires_ansible {required}; tested is ansible-core {tested}"
    for name, text in texts.items():
        if re.fullmatch(r"roles/\w+/meta/main\.yml", name):
            lowest = (yaml.safe_load(text).get("galaxy_info") or {}).get("min_ansible_version", tested)
            if lowest != tested:
                yield f"{name}: min_ansible_version {lowest}; tested is ansible-core {tested}"


def computed_names(role: str, texts: dict[str, str]) -> list[str]:
    """Return patterns for the names of files that a role computes, as ``airflow-{{ item }}.timer.j2``."""
    found = []
    for name, text in texts.items():
        if name.startswith(f"roles/{role}/tasks/"):
            for before, after in re.findall(r"([\w-]*)\{\{.*?\}\}([\w.-]*\.(?:j2|yml))", text):
                found.append(rf"{re.escape(before)}.+{re.escape(after)}")
    return found


def unused_findings(texts: dict[str, str]) -> Iterator[str]:
    """Yield the files that no other file names."""
    for name in texts:
        place = next((match for pattern in USES if (match := re.fullmatch(pattern, name))), None)
        if place is None or FOUND_BY_NAME.fullmatch(name):
            continue
        file, role = place["name"], place.groupdict().get("role")
        stem = file.partition(".")[0]
        uses = [use.format(name=re.escape(file), stem=re.escape(stem)) for use in USES[place.re.pattern]]
        used = any(re.search(use, text) for other, text in texts.items() if other != name for use in uses)
        if not used and not (role and any(re.fullmatch(one, file) for one in computed_names(role, texts))):
            yield f"{name}: no other file uses it"


def unread_findings(texts: dict[str, str]) -> Iterator[str]:
    """Yield the variables of roles that no task, template or plugin reads."""
    readers = "\n".join(
        re.sub(r"^\w+:", "", text, flags=re.MULTILINE) if "/defaults/" in name or "/vars/" in name else text
        for name, text in texts.items()
        if re.match(r"roles/\w+/(?:defaults|files|handlers|tasks|templates|vars)/|playbooks/|plugins/|site\.yml", name)
    )
    words = set(re.findall(r"\w+", readers))
    for name, text in texts.items():
        if re.fullmatch(r"roles/\w+/(?:defaults|vars)/main\.yml", name):
            yield from (f"{name}: nothing reads {one}" for one in yaml.safe_load(text) or {} if one not in words)


def long_findings(texts: dict[str, str]) -> Iterator[str]:
    """Yield the files that are too long to be read as a whole."""
    for name, text in texts.items():
        limit = next((most for pattern, most in LONGEST if re.fullmatch(pattern, name)), None)
        lines = text.splitlines()
        if name == "site.yml" or name.startswith("playbooks/"):
            lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if limit is not None and len(lines) > limit:
            yield f"{name}: {len(lines)} lines, at most {limit}: split it by subject"


def empty_findings(names: Iterable[str]) -> Iterator[str]:
    """Yield the files without content."""
    for name in names:
        if (ROOT / name).stat().st_size == 0:
            yield f"{name}: empty"


def findings() -> list[str]:
    """Return everything that is wrong."""
    names = tracked()
    texts = texts_of(names)
    checks = (version_findings, ansible_findings, unused_findings, unread_findings, long_findings)
    return [*empty_findings(names), *(line for check in checks for line in check(texts))]


if __name__ == "__main__":
    problems = findings()
    print("\n".join(problems))
    sys.exit(1 if problems else 0)
