-- name: ping
-- Answers if the database does.
SELECT 1;

-- name: capabilities
-- What this server is, and what it has installed in this database.
SELECT
    current_setting('server_version') AS server_version,
    current_setting('server_version_num')::integer AS server_version_number,
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb_version,
    current_setting('timescaledb.license', true) AS timescaledb_licence;

-- name: may_add_timescaledb
-- Whether the server has loaded TimescaleDB, this database lacks it, and this role may add it.
SELECT EXISTS (
    SELECT
    FROM pg_available_extension_versions AS offered
    JOIN pg_roles AS role ON role.rolname = current_user
    WHERE offered.name = 'timescaledb'
        AND current_setting('timescaledb.disable_load', true) IS NOT NULL
        AND (NOT offered.superuser OR role.rolsuper
            OR offered.trusted AND has_database_privilege(current_database(), 'CREATE'))
) AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb');

-- name: add_timescaledb
-- Adds the extension; another may have been faster.
CREATE EXTENSION IF NOT EXISTS timescaledb;

-- name: lock_migrations
-- Makes programs that migrate this database take turns. Two numbers: one is a Hub's lock.
SELECT pg_advisory_xact_lock(7236280, 1);

-- name: has_migrations
-- Whether anything of ours was ever installed here.
-- Looked for in the catalogue: a name that was looked up before is remembered as not there.
SELECT EXISTS (
    SELECT FROM pg_class WHERE relname = 'schema_migrations' AND pg_table_is_visible(oid));

-- name: applied_migrations
-- What was applied, in order.
SELECT version, name, checksum, dialect, applied_at FROM schema_migrations ORDER BY version;

-- name: record_migration
-- Notes that a migration was applied, in the transaction that applied it.
INSERT INTO schema_migrations (version, name, checksum, dialect) VALUES ($1, $2, $3, $4);

-- name: table_sizes
-- Each table beside schema_migrations, its rows, and its size in bytes with indexes.
SELECT relname AS name, table_rows(oid::regclass) AS rows, pg_total_relation_size(oid) AS bytes
FROM pg_class
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = (
    SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_migrations'))
ORDER BY relname;

-- name: session_range
-- When the oldest and the newest session started.
SELECT min(started_at) AS oldest_at, max(started_at) AS newest_at FROM sessions;
