-- Returns the names of the steps of tasks/database.yml that have something to change, except for passwords, which no query compares.
WITH role AS (
    SELECT rolname, rolcanlogin AND NOT (rolsuper OR rolcreatedb OR rolcreaterole) AS is_login,
        NOT (rolcanlogin OR rolsuper OR rolcreatedb OR rolcreaterole) AS is_group, oid
    FROM pg_roles
), login AS (SELECT unnest(string_to_array(%(logins)s, ',')) AS name)
SELECT 'owner' AS step WHERE NOT EXISTS (
    SELECT FROM role WHERE rolname = %(owner)s AND CASE WHEN %(owner)s IN (SELECT name FROM login) THEN is_login ELSE is_group END)
UNION SELECT 'group' WHERE %(access)s = 'data' AND NOT EXISTS (SELECT FROM role WHERE rolname = %(group)s AND is_group)
UNION SELECT 'members' FROM login WHERE name <> %(group)s AND NOT EXISTS (
    SELECT FROM pg_auth_members JOIN role AS member ON member.oid = pg_auth_members.member
        JOIN role AS parent ON parent.oid = pg_auth_members.roleid
    WHERE member.rolname = login.name AND parent.rolname = %(group)s)
UNION SELECT 'database' WHERE NOT EXISTS (
    SELECT FROM pg_database JOIN role ON role.oid = datdba WHERE datname = %(database)s AND rolname = %(owner)s)
UNION SELECT 'public' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = %(database)s AND datacl IS NOT NULL)
    OR EXISTS (SELECT FROM pg_database, aclexplode(datacl) AS entry WHERE datname = %(database)s AND entry.grantee = 0)
UNION SELECT 'former' FROM role WHERE rolname = ANY(string_to_array(%(former)s, ',')) AND rolname <> %(owner)s
-- A role that was removed under its session has no name any more.
UNION SELECT 'sessions' FROM pg_stat_activity WHERE backend_type = 'client backend'
    AND (usename = ANY(string_to_array(%(former)s, ',')) OR usesysid NOT IN (SELECT oid FROM pg_roles))
