"""Login of the people in the directory."""

from flask_appbuilder.const import AUTH_LDAP

AUTH_TYPE = AUTH_LDAP
AUTH_LDAP_SERVER = "ldaps://services1"
AUTH_LDAP_TLS_CACERTFILE = "/etc/services-ca.pem"
AUTH_LDAP_SEARCH = "ou=people,dc=example,dc=org"
AUTH_LDAP_BIND_USER = "cn=admin,dc=example,dc=org"
AUTH_LDAP_BIND_PASSWORD = "{{ external_directory_password }}"
AUTH_LDAP_UID_FIELD = "uid"
AUTH_USER_REGISTRATION = True
AUTH_USER_REGISTRATION_ROLE = "Viewer"
AUTH_ROLES_SYNC_AT_LOGIN = True
AUTH_ROLES_MAPPING = {"cn=airflow,ou=groups,dc=example,dc=org": ["Admin"]}
AUTH_LDAP_GROUP_FIELD = "memberOf"
