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

-- name: compiles
-- Whether this role's questions are compiled just in time: false where the server cannot, too.
SELECT pg_jit_available();

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

-- name: look_up_names_when_called
-- Until the end of the transaction, names in functions are looked up when these are called.
SET LOCAL check_function_bodies = off;

-- name: record_migration
-- Notes that a migration was applied, in the transaction that applied it.
INSERT INTO schema_migrations (version, name, checksum, dialect) VALUES ($1, $2, $3, $4);

-- name: table_sizes
-- Each table beside schema_migrations, its rows, and its size in bytes with indexes and partitions.
WITH RECURSIVE parts AS (
    SELECT oid AS whole, oid AS part
    FROM pg_class
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = (
        SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_migrations'))
    UNION ALL
    SELECT whole, inhrelid FROM parts JOIN pg_inherits ON inhparent = part
)
SELECT
    relname AS name,
    table_rows(whole::regclass) AS rows,
    sum(pg_total_relation_size(part))::bigint AS bytes,
    0 AS chunks,
    0 AS compressed_chunks,
    NULL::bigint AS uncompressed_bytes
FROM parts
JOIN pg_class ON pg_class.oid = whole
GROUP BY whole, relname
ORDER BY relname;

-- name: table_sizes_timescale
-- The same where TimescaleDB is, with how many of a table's chunks are compressed.
-- uncompressed_bytes is what the table would have if none were.
SELECT
    relname AS name,
    table_rows(class.oid::regclass) AS rows,
    coalesce(hypertable.bytes, pg_total_relation_size(class.oid)) AS bytes,
    coalesce(hypertable.chunks, 0) AS chunks,
    coalesce(hypertable.compressed_chunks, 0) AS compressed_chunks,
    hypertable.bytes + hypertable.saved_bytes AS uncompressed_bytes
FROM pg_class AS class
LEFT JOIN LATERAL (
    SELECT
        hypertable_size(class.oid::regclass) AS bytes,
        (SELECT count(*)::integer FROM show_chunks(class.oid::regclass)) AS chunks,
        stats.compressed_chunks,
        stats.saved_bytes
    FROM timescaledb_information.hypertables AS known
    LEFT JOIN LATERAL (
        SELECT
            sum(number_compressed_chunks)::integer AS compressed_chunks,
            sum(before_compression_total_bytes - after_compression_total_bytes)::bigint
                AS saved_bytes
        FROM hypertable_compression_stats(class.oid::regclass)
    ) AS stats ON known.compression_enabled
    WHERE known.hypertable_schema = class.relnamespace::regnamespace::text
        AND known.hypertable_name = class.relname
) AS hypertable ON true
WHERE relkind = 'r' AND relnamespace = (
    SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_migrations'))
ORDER BY relname;

-- name: compressed_chunks_timescale
-- How many chunks of ours are compressed; 0 where we have no schema.
SELECT count(*)
FROM timescaledb_information.chunks
WHERE is_compressed AND hypertable_schema = (
    SELECT nspname
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = to_regclass('schema_migrations'));

-- name: time_ranges
-- The oldest and the newest moment of what is kept.
SELECT 'session' AS what, min(started_at) AS oldest_at, max(started_at) AS newest_at
FROM sessions
UNION ALL
SELECT 'event', min(filed_at), max(filed_at) FROM event_rows
UNION ALL
SELECT 'observation', min(at), max(at) FROM polls;
