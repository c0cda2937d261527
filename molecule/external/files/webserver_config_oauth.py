"""Login of the people of a single sign-on server, as docs/operations/login.md has it."""

from flask_appbuilder.const import AUTH_OAUTH

AUTH_TYPE = AUTH_OAUTH
AUTH_USER_REGISTRATION = True
AUTH_USER_REGISTRATION_ROLE = "Public"
AUTH_ROLES_SYNC_AT_LOGIN = True
AUTH_ROLES_MAPPING = {"airflow-admins": ["Admin"], "analysts": ["Viewer"]}
OAUTH_PROVIDERS = [
    {
        "name": "keycloak",
        "icon": "fa-key",
        "token_key": "access_token",
        "remote_app": {
            "client_id": "airflow",
            "client_secret": "{{ external_directory_password }}",
            "server_metadata_url": "https://services1:9444/realms/main/.well-known/openid-configuration",
            "api_base_url": "https://services1:9444/realms/main/protocol/",
            "client_kwargs": {"scope": "openid email profile"},
        },
    },
]
