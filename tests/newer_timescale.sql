-- Dresses a plain PostgreSQL as TimescaleDB 2.30: its catalog of chunks as that version has it
-- (sql/pre_install/tables.sql and sql/updates/2.28.3--2.29.0.sql of its repository), and what we
-- call of it, reduced to what can be told from that catalog. Every hypertable has one chunk: itself.

CREATE SCHEMA _timescaledb_catalog;
CREATE SCHEMA timescaledb_information;

CREATE TABLE _timescaledb_catalog.hypertable (
    id serial PRIMARY KEY, schema_name name NOT NULL, table_name name NOT NULL);
CREATE TABLE _timescaledb_catalog.dimension (
    id serial PRIMARY KEY, hypertable_id integer NOT NULL, column_name name NOT NULL,
    column_type regtype NOT NULL);
CREATE TABLE _timescaledb_catalog.chunk (
    id serial PRIMARY KEY, relid regclass NOT NULL, hypertable_id integer NOT NULL,
    status integer NOT NULL DEFAULT 0, osm_chunk boolean NOT NULL DEFAULT false,
    creation_time timestamptz NOT NULL DEFAULT now());
CREATE TABLE _timescaledb_catalog.dimension_slice (
    id serial PRIMARY KEY, chunk_id integer NOT NULL, dimension_id integer NOT NULL,
    range_start bigint NOT NULL, range_end bigint NOT NULL);

CREATE VIEW timescaledb_information.hypertables AS
SELECT schema_name AS hypertable_schema, table_name AS hypertable_name, true AS compression_enabled
FROM _timescaledb_catalog.hypertable;

CREATE VIEW timescaledb_information.chunks AS
SELECT
    hypertable.schema_name AS hypertable_schema, hypertable.table_name AS hypertable_name,
    hypertable.schema_name AS chunk_schema, hypertable.table_name AS chunk_name,
    to_timestamp(range_end / 1000000.0) AS range_end, chunk.status & 1 = 1 AS is_compressed
FROM _timescaledb_catalog.chunk
JOIN _timescaledb_catalog.hypertable ON hypertable.id = chunk.hypertable_id
JOIN _timescaledb_catalog.dimension_slice ON chunk_id = chunk.id;

-- The chunk ends with the week of 2026-03-02, or with poll 2016.
CREATE FUNCTION create_hypertable(
    relation regclass, time_column_name name, chunk_time_interval anyelement,
    create_default_indexes boolean DEFAULT true, migrate_data boolean DEFAULT false
) RETURNS void LANGUAGE sql AS $$
    WITH hypertable AS (
        INSERT INTO _timescaledb_catalog.hypertable (schema_name, table_name)
        SELECT relnamespace::regnamespace::text, relname FROM pg_class WHERE oid = relation
        RETURNING id
    ),
    dimension AS (
        INSERT INTO _timescaledb_catalog.dimension (hypertable_id, column_name, column_type)
        SELECT hypertable.id, attname, atttypid
        FROM hypertable, pg_attribute
        WHERE attrelid = relation AND attname = time_column_name
        RETURNING *
    ),
    chunk AS (
        INSERT INTO _timescaledb_catalog.chunk (relid, hypertable_id)
        SELECT relation, id FROM hypertable
        RETURNING id
    )
    INSERT INTO _timescaledb_catalog.dimension_slice (chunk_id, dimension_id, range_start, range_end)
    SELECT
        chunk.id, dimension.id, 0,
        CASE column_type WHEN 'integer'::regtype THEN 2016
            ELSE extract(epoch FROM timestamptz '2026-03-09Z') * 1000000 END
    FROM chunk, dimension
$$;

CREATE FUNCTION compress_chunk(uncompressed_chunk regclass) RETURNS regclass LANGUAGE sql AS $$
    UPDATE _timescaledb_catalog.chunk SET status = 1 WHERE relid = uncompressed_chunk RETURNING relid
$$;

CREATE FUNCTION time_bucket(bucket_width interval, ts timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE AS $$ SELECT date_bin(bucket_width, ts, '2000-01-03Z') $$;

CREATE FUNCTION time_bucket(bucket_width interval, ts timestamptz, timezone text)
    RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT date_bin(bucket_width, ts AT TIME ZONE timezone, '2000-01-03') AT TIME ZONE timezone
$$;

-- What makes the extension known.
SET allow_system_table_mods = on;
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
VALUES (1, 'timescaledb', 10, 'public'::regnamespace, false, '2.30.0');
RESET allow_system_table_mods;
CREATE FUNCTION become_licensed(licence text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'ALTER DATABASE %I SET timescaledb.license = %L', current_database(), licence);
END
$$;
SELECT become_licensed('timescale');
