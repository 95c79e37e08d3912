-- name: archived_tables
-- How to read and fill those of these tables that are there, in their order.
-- Rows are read in an order that depends on nothing but their contents, so that equal tables give
-- equal bytes.
SELECT
    wanted.name,
    class.relnamespace::regnamespace::text AS namespace,
    columns.names AS columns,
    columns.identity,
    format('SELECT %s FROM %s ORDER BY %s', columns.listed, class.oid::regclass,
        coalesce(key.listed, columns.ordered)) AS read_statement,
    format('SELECT count(*) FROM %s', class.oid::regclass) AS count_statement,
    format(
        'INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM unnest(%s) AS told (%s)',
        class.oid::regclass, columns.listed, columns.typed, columns.arrays, columns.listed)
        AS insert_statement,
    CASE WHEN columns.identity IS NOT NULL THEN
        format('SELECT max(%I) FROM %s', columns.identity, class.oid::regclass)
    END AS newest_statement,
    format('ANALYZE %s', class.oid::regclass) AS analyze_statement
FROM unnest($1::text[]) WITH ORDINALITY AS wanted (name, place)
JOIN pg_class AS class ON class.relname = wanted.name AND class.relnamespace = (
    SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_migrations'))
CROSS JOIN LATERAL (
    SELECT
        array_agg(attname::text ORDER BY attnum) AS names,
        string_agg(format('%I', attname), ', ' ORDER BY attnum) AS listed,
        string_agg(
            format('%I%s', attname, CASE WHEN attcollation <> 0 THEN ' COLLATE "C"' END),
            ', ' ORDER BY attnum) AS ordered,
        string_agg(
            format('%I::%s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
            AS typed,
        string_agg(format('$%s::text[]', number), ', ' ORDER BY attnum) AS arrays,
        max(attname::text) FILTER (WHERE attidentity <> '') AS identity
    FROM (
        SELECT *, row_number() OVER (ORDER BY attnum) AS number
        FROM pg_attribute
        WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ) AS attribute
) AS columns
LEFT JOIN LATERAL (
    SELECT string_agg(
        format('%I%s', attname, CASE WHEN attcollation <> 0 THEN ' COLLATE "C"' END),
        ', ' ORDER BY array_position(indkey::smallint[], attnum)) AS listed
    FROM pg_index
    JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
    WHERE indrelid = class.oid AND indisprimary
) AS key ON true
ORDER BY wanted.place;

-- name: lock_for_reading
-- What keeps these tables, with their partitions and chunks, as they are while they are read.
-- What truncates or drops one would otherwise empty it even for an older snapshot.
SELECT format('LOCK TABLE %s IN ACCESS SHARE MODE',
    string_agg(format('%I.%I', schemaname, tablename), ', ' ORDER BY tablename)) AS statement
FROM pg_tables
WHERE tablename = ANY ($1::text[]) AND schemaname = (
    SELECT relnamespace::regnamespace::text
    FROM pg_class WHERE oid = to_regclass('schema_migrations'));

-- name: known_hubs
-- The Hubs that events came from.
SELECT DISTINCT hub FROM servers ORDER BY hub;

-- name: archived_months
-- The months (UTC) in which events are filed.
SELECT DISTINCT date_trunc('month', filed_at, 'UTC') AS month FROM event_rows ORDER BY month;

-- name: make_partitions
-- Makes room for events that are filed at these moments.
SELECT make_event_partitions($1::timestamptz[]);

-- name: takes_copy
-- Whether the server can be sent rows by COPY; those compiled to WebAssembly cannot.
SELECT version() NOT LIKE '%Emscripten%';

-- name: wait_briefly_for_locks
-- For this transaction: whoever uses the database is noticed and not waited for.
SET LOCAL lock_timeout = '15s';

-- name: put_off_triggers
-- What takes the triggers off these tables and their partitions, and what puts them on again.
-- Rows are brought back as they were, so that nothing is refused or computed from them. Not by
-- disabling them, which TimescaleDB refuses. Its own triggers stay: their functions are elsewhere.
WITH RECURSIVE parts AS (
    SELECT class.oid, class.relnamespace AS namespace
    FROM unnest($1::text[]) AS wanted (name)
    JOIN pg_class AS class ON class.relname = wanted.name AND class.relnamespace = (
        SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_migrations'))
    UNION
    SELECT inhrelid, namespace FROM parts JOIN pg_inherits ON inhparent = parts.oid
)
SELECT
    format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) AS off,
    pg_get_triggerdef(pg_trigger.oid) AS on_again
FROM parts
JOIN pg_trigger ON tgrelid = parts.oid AND NOT tgisinternal AND tgparentid = 0
JOIN pg_proc ON pg_proc.oid = tgfoid AND pronamespace = namespace
ORDER BY tgrelid, tgname;

-- name: empty_tables
-- What empties these tables.
SELECT format('TRUNCATE %s', string_agg(class.oid::regclass::text, ', ')) AS statement
FROM unnest($1::text[]) AS wanted (name)
JOIN pg_class AS class ON class.relname = wanted.name AND class.relnamespace = (
    SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_migrations'));

-- name: next_number
-- What lets a table go on to number its rows from here, as part of the transaction.
SELECT format('ALTER TABLE %I.%I ALTER COLUMN %I RESTART WITH %s',
    $1::text, $2::text, $3::text, $4::bigint);
