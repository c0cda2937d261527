"""Requirements that a site adds to the runtime: which of them can be built on a host, and which files they name.

The lock is made on the controller and the runtime is built on a host: a requirement must mean the same at both places.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import show

# ansible-core depends on packaging. Only ansible-test imports this file without it.
with contextlib.suppress(ImportError):
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

ARCHIVES = (".whl", ".tar.gz", ".zip")
EXAMPLE = "pip requirements such as apache-airflow-providers-http>=5"
BY_FILE = "NAME @ file:///PATH/NAME-1.0-py3-none-any.whl, a wheel or source archive on the controller"
BY_COMMIT = "NAME @ git+https://HOST/PATH.git@COMMIT, with all 40 digits of the commit"
# Options of pip that people write into a list of requirements, and what to do instead.
OPTIONS = (
    (
        r"-e\b|--editable\b",
        f"an editable installation exists on the controller alone; build a wheel and name it: {BY_FILE}",
    ),
    (r"-r\b|--requirement\b", "list the file's lines here: \"{{ lookup('file', 'requirements.txt').splitlines() }}\""),
    (r"-c\b|--constraint\b", "a constraint is a requirement of this list, such as numpy<2"),
    (r"-i\b|--index-url\b|--extra-index-url\b", "set airflow_runtime_index_url or airflow_runtime_extra_index_urls"),
    (r"-f\b|--find-links\b|--no-index\b", f"name the file itself: {BY_FILE}"),
    (r"--pre\b", "a pre-release is taken where its version is named, such as NAME>=2.0rc1"),
)


def problem(text: str) -> str | None:
    """Return what is expected of a requirement that cannot be locked or built, or None."""
    for pattern, instead in OPTIONS:
        if re.match(pattern, text):
            return f"{EXAMPLE}, and no options: {instead}"
    if re.match(r"git\+", text):
        return f"{EXAMPLE}; from git: {BY_COMMIT}"
    if re.match(r"[./~]", text) or (text.endswith(ARCHIVES) and "@" not in text):
        return f"{EXAMPLE}, and no paths, which mean something else on the host that builds; a file is named {BY_FILE}"
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"{EXAMPLE}, which {show(text)} is not"
    if canonicalize_name(requirement.name) == "apache-airflow" and (requirement.specifier or requirement.url):
        return "no version of apache-airflow here: that is airflow_version"
    return url_problem(requirement.name, requirement.url) if requirement.url else None


def url_problem(name: str, url: str) -> str | None:
    """Return what is expected of the URL of a requirement that a host could not build from."""
    parts = urlsplit(url)
    if "${" in url:
        return f"a URL without environment variables for {name}: the host that builds does not have them"
    if "@" in parts.netloc:
        return (
            f"a URL without a login for {name}, as it would stand in the lock; an index with a login belongs into "
            f"airflow_runtime_extra_index_urls, and a file can be named {BY_FILE}"
        )
    if parts.scheme == "git+https":
        if re.search(r"@[0-9a-f]{40}$", parts.path):
            return None
        return f"{BY_COMMIT}: a branch or tag may be something else tomorrow"
    if parts.scheme in ("http", "https"):
        return None if parts.path.endswith(ARCHIVES) else f"the URL of a file for {name} ({', '.join(ARCHIVES)})"
    if url.startswith("file:///"):
        return file_problem(name, Path(unquote(parts.path)))
    return f"{name} from https, from a file ({BY_FILE}) or from git ({BY_COMMIT})"


def file_problem(name: str, path: Path) -> str | None:
    """Return what is expected of a file of the controller that is no distribution of this name."""
    if not path.name.endswith(ARCHIVES):
        return f"{BY_FILE}; not a directory: build a wheel of it"
    if not path.is_file():
        return f"a file on the controller for {name}; {path} is none"
    if path.suffix != ".whl":
        return None
    try:
        found = parse_wheel_filename(path.name)[0]
    except InvalidWheelFilename:
        return f"a wheel with the name that it was built with (NAME-VERSION-py3-none-any.whl); {path.name} is none"
    return None if found == canonicalize_name(name) else f"a wheel of {name}; {path.name} is one of {found}"


def lock_inputs(requirements: Iterable[str]) -> list[str]:
    """Return what a lock of these requirements depends on: a file of the same name may have another content."""
    found = []
    for text in sorted(map(str, requirements)):
        url = Requirement(text).url or ""
        path = Path(unquote(urlsplit(url).path))
        found.append(f"{text} {sha256(path.read_bytes()).hexdigest()}" if url.startswith("file:") else text)
    return found
