"""Which environment variables a user may set for the processes of the cluster.

Most variables matter to the code of the user alone. Some are also read by the programs of the cluster, by the libraries
with which these connect, by Python, or by the loader of programs. In effect there, they would change the connections of
the cluster itself. So they are given to task code alone, or refused. Proxies and authorities (``HTTPS_PROXY``,
``REQUESTS_CA_BUNDLE``) are neither: a supervisor that uploads logs needs them as well. The cluster's own clients ignore
them (``airflow_celery_cluster.connections``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The variable that has those which are for task code alone, as JSON. airflow_celery_cluster.task_process reads it.
TASK_VARIABLES = "AIRFLOW_CLUSTER_TASK_VARIABLES"
# The variable of the inventory whose processes run tasks.
OF_TASKS = "airflow_worker_environment"

# Read at the moment of use, so that they take full effect in a task that gets them when it begins.
FOR_TASKS_ALONE = re.compile(
    # libpq and asyncpg
    r"PG[A-Z]+"
    # Celery and its libraries
    r"|CELERY\w*|KOMBU\w*|C_(FORCE_ROOT|STRICT_APP|WARN_APP|WNOCONF|IMPDEBUG|REMDEBUG|BENCH\w*)|AUTOSCALE_KEEPALIVE"
    r"|EVENTLET_\w+|GEVENT_\w+|FORKED_BY_MULTIPROCESSING|MP_LOG|NOSETPS|DJANGO_SETTINGS_MODULE"
    # Servers of HTTP
    r"|UVICORN_\w+|WEB_CONCURRENCY|FORWARDED_ALLOW_IPS"
    # The session keys of each TLS connection are written into the file that it names.
    r"|SSLKEYLOGFILE"
)

FOR_ONE_PROGRAM = "for a program that a task starts, set it there, as in BashOperator(env={...}, append_env=True)"


@dataclass(frozen=True)
class Refusal:
    """Variables that cannot be set.

    :param names: pattern of their names.
    :param reason: what they would do.
    :param remedy: how to reach what a user wants with them.
    """

    names: str
    reason: str
    remedy: str


REFUSALS = (
    Refusal(r"(?i:AIRFLOW_CONN_.*)", "which is a connection", "declare the connection in airflow_connections"),
    Refusal(r"(?i:AIRFLOW_VAR_.*)", "which is a variable of Airflow", "declare the variable in airflow_variables"),
    Refusal(
        # In any case: lower case is a mistake.
        r"(?i:_*AIRFLOW.*)",
        "which the unit or Airflow sets itself",
        "settings of Airflow belong into airflow_config",
    ),
    Refusal(
        # What systemd or the unit sets.
        r"HOME|PATH|XDG_CACHE_HOME|PYTHONUNBUFFERED|CREDENTIALS_DIRECTORY|(STATE|CACHE|RUNTIME|LOGS|CONFIGURATION)_DIRECTORY"
        r"|NOTIFY_SOCKET|WATCHDOG_(USEC|PID)|LISTEN_\w+|INVOCATION_ID|JOURNAL_STREAM|MAINPID",
        "which the unit sets itself",
        FOR_ONE_PROGRAM,
    ),
    Refusal(
        r"LD_\w+|GCONV_PATH",
        "which decides what libraries the cluster's own processes load",
        f"name the directory of a library in a file in /etc/ld.so.conf.d; {FOR_ONE_PROGRAM}",
    ),
    Refusal(
        r"PYTHON(PATH|HOME|USERBASE|PLATLIBDIR|EXECUTABLE|OPTIMIZE|INSPECT|CASEOK)",
        "which decides what code the cluster's own processes load",
        "put modules into airflow_dags_dir, or packages into airflow_worker_extra_requirements; " + FOR_ONE_PROGRAM,
    ),
    Refusal(r"OPENSSL_\w+", "which changes the TLS of the cluster's own connections", FOR_ONE_PROGRAM),
    Refusal(
        r"HOSTALIASES|LOCALDOMAIN|RES_OPTIONS|RESOLV_\w+",
        "which changes how the cluster's own processes resolve names",
        f"configure the host (/etc/resolv.conf, /etc/hosts); {FOR_ONE_PROGRAM}",
    ),
)

# A proxy as httpx takes it, with which an API server makes a client of its own when it starts.
PROXY = re.compile(
    r"(?i:https?://)?(?:[^\s/@]+@)?(?:\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+)(?::[0-9]{1,5})?/?|",
)
# IPv6 networks, and addresses in brackets.
NO_PROXY_REFUSED = re.compile(r".*[\[\]].*|[^:]*:[^:]*:.*/.*")


def proxy_problem(name: str, text: str) -> str | None:
    """Return what is expected of a proxy, or of the exceptions from it, that would keep an API server from starting."""
    in_tasks = f"set other ones in {OF_TASKS}, which no process of the cluster uses for its own connections"
    if name.lower() == "no_proxy" and any(NO_PROXY_REFUSED.fullmatch(part.strip()) for part in text.split(",")):
        return f"hosts, domains, IPv4 networks and IPv6 addresses without brackets in {name}; {in_tasks}"
    if name.lower() in ("http_proxy", "https_proxy", "all_proxy") and not PROXY.fullmatch(text):
        return f"an http(s) proxy in {name}, such as http://proxy.example.org:3128; {in_tasks}"
    return None


def environment_problem(variable: str, value: Mapping[Any, Any]) -> str | None:
    """Return what is expected of an environment that cannot be set. No value is told: it may be a secret.

    :param variable: the variable of the inventory.
    :param value: what it is set to.
    """
    for key, text in value.items():
        name = str(key)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            return f"names of environment variables (letters, digits and _), which {name!r} is not"
        for refusal in REFUSALS:
            if re.fullmatch(refusal.names, name):
                return f"no {name}, {refusal.reason}; {refusal.remedy}"
        if variable != OF_TASKS and FOR_TASKS_ALONE.fullmatch(name):
            return (
                f"no {name}, which changes the cluster's own connections or servers; "
                f"set it in {OF_TASKS}, where it reaches task code alone"
            )
        if isinstance(text, bool) or not isinstance(text, str | int | float) or "\n" in str(text):
            return f"text or a number on one line for {name} (quote true, false and the like)"
        if variable != OF_TASKS and (problem := proxy_problem(name, str(text))):
            return problem
    return None


def keep_for_tasks(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment in which the variables for task code alone are in one variable that only tasks read."""
    kept = {name: str(value) for name, value in variables.items() if FOR_TASKS_ALONE.fullmatch(name)}
    found = {name: value for name, value in variables.items() if name not in kept}
    return found | ({TASK_VARIABLES: json.dumps(kept, sort_keys=True)} if kept else {})
