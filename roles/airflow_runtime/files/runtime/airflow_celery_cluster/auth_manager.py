"""The auth manager of the API servers: Flask-AppBuilder, with a logout that ends everything that authenticates.

The FAB provider's own logout removes the cookies from the browser. The session in the database and the token stay
valid, so a copied cookie would outlive the logout by hours.

Airflow asks the database in the event loop whether a token is revoked and who its user is. While the database does not
answer, the event loop would not answer HAProxy's health checks, and HAProxy would take each API server out of service.
"""

from __future__ import annotations

import asyncio
from threading import Lock
from typing import TYPE_CHECKING, Any

import flask
from airflow import settings
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.configuration import conf
from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from starlette.concurrency import run_in_threadpool

from airflow_celery_cluster import connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow.providers.fab.auth_manager.models import User
    from fastapi import FastAPI, Request, Response


# Each process of an API server imports this module, and no other process does.
connections.fetch_logs_directly()


class SharedSessionKey(RuntimeError):
    """The key of the UI's sessions is one that workers hold, too."""


class ClusterAuthManager(FabAuthManager):
    """Flask-AppBuilder's users, roles and login; the database is not asked in the event loop."""

    # The cache of users is not made for several threads.
    _cache_lock = Lock()

    async def get_user_from_token(self, token: str) -> User:
        """Return the user of a token. Raises InvalidTokenError."""
        return await run_in_threadpool(asyncio.run, super().get_user_from_token(token))

    def deserialize_user(self, token: dict[str, Any]) -> User:
        """Return the user of the claims of a token, who is kept for ``[fab] cache_ttl`` seconds."""
        with self._cache_lock:
            return super().deserialize_user(token)

    def get_fastapi_app(self) -> FastAPI | None:
        """Return the application below ``/auth``. Raises SharedSessionKey if workers hold the key of the sessions."""
        app = super().get_fastapi_app()
        if app is None or self.flask_app is None:
            return app
        if self.flask_app.secret_key == conf.get("api", "secret_key"):
            raise SharedSessionKey(
                "SECRET_KEY of Flask is [api] secret_key, which is for other things too: whoever has it is Admin. "
                "Expected: [fab] config_file names the file that the deployment writes. Remove fab.config_file from "
                "airflow_config, and set airflow_webserver_config to the file with the settings of the site."
            )

        @app.middleware("http")
        async def end_session_at_logout(
            request: Request, call_next: Callable[[Request], Awaitable[Response]]
        ) -> Response:
            if request.scope["path"].rstrip("/").endswith("/logout"):
                await run_in_threadpool(self.end_session, request)
            return await call_next(request)

        return app

    def end_session(self, request: Request) -> None:
        """Revoke the tokens of a request, and delete its session from the database."""
        scheme, _space, bearer = request.headers.get("authorization", "").partition(" ")
        tokens = {request.cookies.get(COOKIE_NAME_JWT_TOKEN), bearer if scheme.lower() == "bearer" else None}
        for token in tokens:
            if token:
                self.revoke_token(token)
        app = self.flask_app
        if app is None or app.config.get("SESSION_COOKIE_NAME", "session") not in request.cookies:
            return
        try:
            with app.test_request_context("/logout", headers={"Cookie": request.headers.get("cookie", "")}):
                flask.session.clear()
                # An empty session is removed from its store.
                app.session_interface.save_session(app, flask.session, app.response_class())
        finally:
            # The connection belongs to this thread, which serves other requests next.
            settings.Session.remove()
