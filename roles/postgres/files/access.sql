-- Returns the statements that bring a database with access `data` from what is to what should be, in the order of execution.
WITH login AS (
    SELECT oid, rolname FROM pg_roles WHERE rolname = ANY(string_to_array(%(logins)s, ','))
), dependency AS (
    -- What belongs to a login, or was granted to a login, here or in all databases.
    SELECT login.rolname, entry.deptype FROM pg_shdepend AS entry JOIN login ON login.oid = entry.refobjid
    WHERE entry.refclassid = 'pg_authid'::regclass AND entry.classid <> 'pg_auth_members'::regclass
        AND entry.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = %(database)s))
), relation AS (
    SELECT oid, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S')
)
-- Ownership. A database of an earlier release belongs to a login.
SELECT 10 AS step, format('REASSIGN OWNED BY %%I TO %%I', rolname, %(owner)s::text) AS statement
    FROM dependency WHERE deptype = 'o'
UNION SELECT 11, format('DROP OWNED BY %%I', rolname) FROM dependency WHERE deptype = 'a'
-- A login is a member of its group and of no other role, and has no settings. It can set its own.
UNION SELECT 20, format('REVOKE %%s FROM %%I', member.roleid::regrole, login.rolname)
    FROM pg_auth_members AS member JOIN login ON login.oid = member.member
    WHERE member.roleid <> (SELECT oid FROM pg_roles WHERE rolname = %(group)s)
UNION SELECT 21, format('ALTER ROLE %%I RESET ALL', login.rolname)
    FROM pg_db_role_setting AS setting JOIN login ON login.oid = setting.setrole WHERE setting.setdatabase = 0
UNION SELECT 22, format('ALTER ROLE %%I IN DATABASE %%I RESET ALL', login.rolname, place.datname)
    FROM pg_db_role_setting AS setting JOIN login ON login.oid = setting.setrole
    JOIN pg_database AS place ON place.oid = setting.setdatabase
-- Database and schema
UNION SELECT 30, format('GRANT CONNECT ON DATABASE %%I TO %%I', %(database)s::text, %(group)s::text)
    WHERE NOT has_database_privilege(%(group)s, %(database)s, 'CONNECT')
UNION SELECT 31, 'REVOKE ALL ON SCHEMA public FROM PUBLIC'
    WHERE has_schema_privilege('public', 'public', 'USAGE') OR has_schema_privilege('public', 'public', 'CREATE')
UNION SELECT 32, format('GRANT USAGE ON SCHEMA public TO %%I', %(group)s::text)
    -- Not has_schema_privilege(), which counts what PUBLIC has.
    WHERE NOT EXISTS (
        SELECT FROM pg_namespace, aclexplode(nspacl) AS entry WHERE nspname = 'public' AND entry.privilege_type = 'USAGE'
            AND entry.grantee = (SELECT oid FROM pg_roles WHERE rolname = %(group)s))
-- Tables and sequences: those that exist, and those that the owner will create.
UNION SELECT 40, format('GRANT SELECT, INSERT, UPDATE, DELETE ON %%s TO %%I', oid::regclass, %(group)s::text)
    FROM relation WHERE relkind <> 'S' AND NOT (
        has_table_privilege(%(group)s, oid, 'SELECT') AND has_table_privilege(%(group)s, oid, 'INSERT')
        AND has_table_privilege(%(group)s, oid, 'UPDATE') AND has_table_privilege(%(group)s, oid, 'DELETE'))
UNION SELECT 41, format('GRANT USAGE ON SEQUENCE %%s TO %%I', oid::regclass, %(group)s::text)
    FROM relation WHERE CASE relkind WHEN 'S' THEN NOT has_sequence_privilege(%(group)s, oid, 'USAGE') END
UNION SELECT 42, format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I IN SCHEMA public GRANT %%s TO %%I',
        %(owner)s::text, wanted.privileges, %(group)s::text)
    FROM (VALUES ('r'::"char", 'SELECT, INSERT, UPDATE, DELETE ON TABLES'), ('S', 'USAGE ON SEQUENCES'))
        AS wanted (kind, privileges)
    WHERE NOT EXISTS (
        SELECT FROM pg_default_acl WHERE defaclrole = (SELECT oid FROM pg_roles WHERE rolname = %(owner)s)
            AND defaclnamespace = 'public'::regnamespace AND defaclobjtype = wanted.kind)
-- Functions with an effect: large objects, notifications, exported snapshots, messages in the WAL, advisory locks, signals to other
-- sessions of the same login. nextval() checks the privileges on the sequence.
UNION SELECT 50, format('REVOKE EXECUTE ON FUNCTION %%s FROM PUBLIC', oid::regprocedure)
    FROM pg_proc WHERE provolatile = 'v' AND prokind = 'f' AND oid <> 'nextval(regclass)'::regprocedure
        AND has_function_privilege('public', oid, 'EXECUTE')
-- No DO blocks and no functions.
UNION SELECT 51, format('REVOKE USAGE ON LANGUAGE %%I FROM PUBLIC', lanname)
    FROM pg_language WHERE lanpltrusted AND has_language_privilege('public', oid, 'USAGE')
-- The owner, which is no login, creates triggers that notify.
UNION SELECT 60, format('GRANT USAGE ON LANGUAGE plpgsql TO %%I', %(owner)s::text)
    -- Not has_language_privilege(), which counts what PUBLIC has.
    WHERE NOT EXISTS (
        SELECT FROM pg_language, aclexplode(lanacl) AS entry WHERE lanname = 'plpgsql'
            AND entry.grantee = (SELECT oid FROM pg_roles WHERE rolname = %(owner)s))
UNION SELECT 61, format('GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO %%I', %(owner)s::text)
    WHERE NOT EXISTS (
        SELECT FROM pg_proc, aclexplode(proacl) AS entry WHERE pg_proc.oid = 'pg_notify(text,text)'::regprocedure
            AND entry.grantee = (SELECT oid FROM pg_roles WHERE rolname = %(owner)s))
ORDER BY step, statement
