"""Settings of Flask-AppBuilder, and an accident that the check on the controller cannot see."""

from flask_appbuilder.const import AUTH_DB

AUTH_TYPE = AUTH_DB
APP_NAME = "Cluster of {{ airflow_admin_user }}"
# molecule/security/tests/test_16_sessions.py looks for the number.
SEND_FILE_MAX_AGE_DEFAULT = 4711

globals().update(
    SECRET_KEY="a guess",
    SESSION_COOKIE_SECURE=False,
    SESSION_COOKIE_HTTPONLY=False,
    SESSION_COOKIE_SAMESITE=None,
    REMEMBER_COOKIE_SECURE=False,
    WTF_CSRF_ENABLED=False,
)
