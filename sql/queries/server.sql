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

-- name: lock_migrations
-- Makes programs that migrate this database take turns. Two numbers: one is a Hub's lock.
SELECT pg_advisory_xact_lock(7236280, 1);

-- name: has_migrations
-- Whether anything of ours was ever installed here.
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: applied_migrations
-- What was applied, in order.
SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version;

-- name: record_migration
-- Notes that a migration was applied, in the transaction that applied it.
INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3);

-- name: table_sizes
-- Every table with its size on disk in bytes, its indexes included.
SELECT relname AS name, pg_total_relation_size(oid) AS bytes
FROM pg_class
WHERE relkind IN ('r', 'p') AND pg_table_is_visible(oid) AND relnamespace IN (
    SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_migrations'))
ORDER BY relname;

-- name: status_counts
-- How much there is, and from when.
SELECT
    (SELECT count(*) FROM events) AS events,
    (SELECT count(*) FROM sessions) AS sessions,
    (SELECT count(*) FROM schema_migrations) AS schema_migrations,
    (SELECT min(started_at) FROM sessions) AS oldest_session_at,
    (SELECT max(started_at) FROM sessions) AS newest_session_at;
