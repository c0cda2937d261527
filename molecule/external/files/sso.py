"""A single sign-on server that somebody else runs, at the paths of a Keycloak with the realm ``main``.

Its page asks for a name and no password. Needs the package oidc-provider-mock.
"""

from oidc_provider_mock import User, app
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import run_simple
from werkzeug.wrappers import Response

GROUPS = {"eva": ["airflow-admins"], "fred": ["analysts"], "gina": []}

server = app(
    user_claims=[
        User(
            sub=f"id-of-{name}",
            claims={
                "preferred_username": name,
                "given_name": name.title(),
                "family_name": "Example",
                "email": f"{name}@example.org",
                "groups": groups,
            },
        )
        for name, groups in GROUPS.items()
    ]
)
paths = {"/realms/main": server, "/realms/main/protocol/openid-connect": server}
tls = ("/etc/services-tls/server.pem", "/etc/services-tls/server.key")
run_simple("0.0.0.0", 9444, DispatcherMiddleware(Response("no such path", 404), paths), ssl_context=tls, threaded=True)
