-- name: set_roles
-- Tells sql/roles/grant.sql, in this transaction, what to do.
SELECT set_config('jupyterhub_metrics.roles', $1, true);

-- name: reader_is_pseudonymised
-- Whether this role is one that sees pseudonyms now.
SELECT coalesce(bool_or(has_table_privilege(pg_roles.oid, pg_class.oid, 'SELECT')), false)
FROM pg_roles
JOIN pg_class ON relnamespace = to_regnamespace('pseudonymised') AND relkind = 'v'
WHERE rolname = $1;

-- name: roles_there
-- Those of the given roles that exist, with what holds of each in this database.
SELECT
    rolname AS name,
    rolcanlogin AS can_login,
    rolconnlimit AS connection_limit,
    coalesce((
        SELECT setconfig FROM pg_db_role_setting
        WHERE setrole = pg_roles.oid
            AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ), ARRAY[]::text[]) AS settings,
    (SELECT array_agg(privilege ORDER BY place)
        FROM unnest(ARRAY['CONNECT', 'TEMPORARY', 'CREATE']) WITH ORDINALITY AS p (privilege, place)
        WHERE has_database_privilege(pg_roles.oid, current_database(), privilege)) AS on_database
FROM pg_roles
WHERE rolname = ANY ($1::text[]);

-- name: role_rights
-- What each of the given roles may do with the schema's objects, by the catalog.
-- One row for each role and set of rights. Extensions' own objects are left out.
WITH schemas AS (
    SELECT relnamespace AS oid FROM pg_class WHERE oid = to_regclass('schema_migrations')
    UNION
    SELECT to_regnamespace('pseudonymised') WHERE to_regnamespace('pseudonymised') IS NOT NULL
),
roles AS (SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($1::text[])),
held AS (
    SELECT
        rolname, 'schema' AS kind, nspname::text AS object, place, privilege
    FROM roles
    CROSS JOIN schemas
    JOIN pg_namespace ON pg_namespace.oid = schemas.oid
    CROSS JOIN unnest(ARRAY['USAGE', 'CREATE']) WITH ORDINALITY AS p (privilege, place)
    WHERE has_schema_privilege(roles.oid, schemas.oid, privilege)
    UNION
    SELECT
        rolname,
        'relation',
        CASE WHEN nspname = 'pseudonymised' THEN 'pseudonymised.' ELSE '' END || relname,
        place,
        privilege
    FROM roles
    CROSS JOIN pg_class
    JOIN schemas ON schemas.oid = relnamespace
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'])
        WITH ORDINALITY AS p (privilege, place)
    WHERE relkind IN ('r', 'p', 'v', 'm')
        AND NOT relispartition
        AND has_table_privilege(roles.oid, pg_class.oid, privilege)
        AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
    UNION
    SELECT rolname, 'routine', proname::text, 1, 'EXECUTE'
    FROM roles
    CROSS JOIN pg_proc
    JOIN schemas ON schemas.oid = pronamespace
    WHERE has_function_privilege(roles.oid, pg_proc.oid, 'EXECUTE')
        AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
),
gathered AS (
    SELECT rolname, kind, object, string_agg(privilege, ', ' ORDER BY place) AS rights
    FROM held
    GROUP BY rolname, kind, object
)
SELECT rolname AS role, kind, rights, array_agg(object ORDER BY object) AS objects
FROM gathered
GROUP BY rolname, kind, rights
ORDER BY rolname, kind, rights;
