"""DAG bundles beside those of the cluster, and the credentials of git repositories.

A credential becomes an Airflow connection in the environment of the processes that open bundles, or a key file that
belongs to the process: Airflow's git provider reads both, and no configuration file holds a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.findings import UNSET, nearest, show

GIT_BUNDLE = "airflow.providers.git.bundles.git.GitDagBundle"
# Bundle "dags" is what airflow_dags_source says. Bundle "cluster" has the DAGs of the cluster's own operations.
TAKEN = ("dags", "cluster")
BUNDLE_KEYS = ("name", "url", "ref", "subdir", "credentials", "classpath", "kwargs", "refresh_interval")
CREDENTIAL_KEYS = ("name", "token", "username", "ssh_key", "known_hosts")
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
# Part of the name of an environment variable.
CREDENTIAL_NAME = re.compile(r"[a-z0-9_]{1,50}")
CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

# variable, value as it may be shown, expectation, remedy
Problem = tuple[str, str, str, str]


def config(bundle: Mapping[str, Any], refresh_interval: int) -> dict[str, Any]:
    """Return a bundle as ``[dag_processor] dag_bundle_config_list`` has it."""
    kwargs: dict[str, Any] = {"refresh_interval": bundle.get("refresh_interval", refresh_interval)}
    if "classpath" in bundle:
        return {"name": bundle["name"], "classpath": bundle["classpath"], "kwargs": kwargs | bundle.get("kwargs", {})}
    kwargs |= {"repo_url": bundle["url"], "tracking_ref": bundle.get("ref", "main")}
    if bundle.get("subdir"):
        kwargs["subdir"] = bundle["subdir"]
    if bundle.get("credentials"):
        kwargs["git_conn_id"] = f"git_{bundle['credentials']}"
    return {"name": bundle["name"], "classpath": GIT_BUNDLE, "kwargs": kwargs}


def environment(credentials: Sequence[Mapping[str, Any]], directory: str) -> dict[str, str]:
    """Return the environment with the connections of git repositories.

    :param directory: where the files of ``files`` are.
    """
    found = {}
    for credential in credentials:
        name = f"git_{credential['name']}"
        connection: dict[str, Any] = {"conn_type": "git"}
        if "ssh_key" in credential:
            connection["extra"] = {
                "key_file": f"{directory}/{name}.key",
                "known_hosts_file": f"{directory}/{name}.known_hosts",
                "strict_host_key_checking": "yes",
            }
        else:
            connection |= {"login": credential.get("username", "git"), "password": credential["token"]}
        found[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection, sort_keys=True)
    return found


def files(credentials: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the content of the files that the connections name; ssh wants a line break at the end of a key."""
    return {
        f"git_{credential['name']}.{suffix}": f"{str(credential[key]).strip()}\n"
        for credential in credentials
        if "ssh_key" in credential
        for key, suffix in (("ssh_key", "key"), ("known_hosts", "known_hosts"))
    }


def url_problem(variable: str, url: str, credential: Mapping[str, Any] | None) -> Problem | None:
    """Return what is wrong with the URL of a repository and its credential."""
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https") and urlsplit(url).password is not None:
        expected = "a URL without a password, as it is written into each airflow.cfg"
        key = f"{variable.removesuffix('url')}credentials"
        return variable, show(url), expected, f"put the password into airflow_git_credentials and its name into {key}"
    if credential and "token" in credential and scheme != "https":
        return variable, show(url), "a URL that begins with https://, as its credential is a token", "use an ssh_key"
    if credential and "ssh_key" in credential and scheme in ("http", "https"):
        return variable, show(url), "a URL such as git@host:path, as its credential is an ssh_key", "use a token"
    return None


def _unknown(variable: str, entry: Mapping[str, Any], known: Sequence[str]) -> Iterator[Problem]:
    for key in sorted(set(map(str, entry)) - set(known)):
        near = nearest(key, known)
        yield f"{variable}.{key}", "set", f"one of {', '.join(known)}", f"rename it to {near}" if near else "remove it"


def credential_problems(credentials: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield what is wrong with ``airflow_git_credentials``. No value is shown."""
    seen: set[str] = set()
    for index, entry in enumerate(credentials):
        variable = f"airflow_git_credentials[{index}]"
        yield from _unknown(variable, entry, CREDENTIAL_KEYS)
        name = str(entry.get("name", ""))
        if not CREDENTIAL_NAME.fullmatch(name) or name in seen:
            yield (
                f"{variable}.name",
                show(entry.get("name", UNSET)),
                "a name of its own of small letters, digits and _",
                "give each entry such a name",
            )
        seen.add(name)
        kinds = [key for key in ("token", "ssh_key") if entry.get(key)]
        if len(kinds) != 1:
            yield variable, "(hidden)", "either token or ssh_key", "set one of them"
        elif kinds == ["ssh_key"] and not entry.get("known_hosts"):
            yield (
                f"{variable}.known_hosts",
                "not set",
                "the host keys of the git server, without which ssh would send everything to whoever answers",
                "set it to what ssh-keyscan prints for the server, after comparing it with what the server publishes",
            )


def bundle_problems(
    bundles: Sequence[Mapping[str, Any]], credentials: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """Yield what is wrong with ``airflow_dag_bundles``.

    :param credentials: entries of ``airflow_git_credentials`` by name.
    """
    seen = set(TAKEN)
    for index, entry in enumerate(bundles):
        variable = f"airflow_dag_bundles[{index}]"
        yield from _unknown(variable, entry, BUNDLE_KEYS)
        name = str(entry.get("name", ""))
        if not NAME.fullmatch(name) or name in seen:
            yield (
                f"{variable}.name",
                show(entry.get("name", UNSET)),
                f"a name of its own of letters, digits, _ and -; {' and '.join(TAKEN)} are the cluster's",
                "give each bundle such a name",
            )
        seen.add(name)
        url, classpath = entry.get("url"), entry.get("classpath")
        if bool(url) == bool(classpath):
            yield variable, show(name), "either url, of a git repository, or classpath, of another bundle", "set one"
        elif classpath and not CLASS.fullmatch(str(classpath)):
            yield f"{variable}.classpath", show(classpath), "the name of a class, such as a.b.C", "correct it"
        elif url:
            wanted = entry.get("credentials")
            yield from credential_reference(f"{variable}.url", str(url), wanted, credentials)


def credential_reference(
    variable: str, url: str, name: Any, credentials: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """Yield what is wrong with a URL and the name of its credential."""
    if name and str(name) not in credentials:
        known = ", ".join(sorted(credentials)) or "none is set"
        key = f"{variable.removesuffix('url')}credentials"
        yield (
            key,
            show(name),
            f"the name of an entry of airflow_git_credentials: {known}",
            "add it, or correct the name",
        )
        return
    problem = url_problem(variable, url, credentials.get(str(name)) if name else None)
    if problem:
        yield problem
