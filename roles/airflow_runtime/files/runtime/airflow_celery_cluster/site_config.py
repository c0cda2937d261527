"""Read the site's webserver_config.py, and leave out what the deployment sets itself.

Flask-AppBuilder reads one file. So the deployment's own file takes over the settings of the site's file.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# Key and cookies of the sessions, the database, the protection of forms, and the limit of logins, which HAProxy keeps.
# plugins/plugin_utils/webserver_check.py refuses them, and names the remedies.
PROTECTED = (
    "AUTH_RATE_LIMIT",
    "PERMANENT_SESSION_LIFETIME",
    "RATELIMIT_",
    "REMEMBER_COOKIE_",
    "SECRET_KEY",
    "SESSION_",
    "SQLALCHEMY_",
    "WTF_CSRF_CHECK_DEFAULT",
    "WTF_CSRF_ENABLED",
    "WTF_CSRF_METHODS",
    "WTF_CSRF_SSL_STRICT",
)


def site_settings(path: str) -> dict[str, Any]:
    """Return the settings of a site's file, {} if there is no such file. An error in the file stops the API server."""
    file = Path(path)
    if not file.is_file():
        return {}
    found: dict[str, Any] = {"__file__": path, "__name__": "webserver_config"}
    exec(compile(file.read_text(), path, "exec"), found)
    settings = {name: value for name, value in found.items() if name.isupper()}
    ignored = sorted(name for name in settings if name.startswith(PROTECTED))
    if ignored:
        log.warning("%s: the deployment sets %s itself; the values of this file are ignored", path, ", ".join(ignored))
    return {name: value for name, value in settings.items() if name not in ignored}
