-- TimescaleDB: events in a chunk for each week, compressed by upkeep where the licence allows.

SELECT create_hypertable(
    'event_rows', 'filed_at', chunk_time_interval => interval '7 days',
    create_default_indexes => false);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event_rows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION make_event_partitions(moments timestamptz[]) RETURNS integer
    LANGUAGE sql AS $$ SELECT 0 $$;

COMMENT ON FUNCTION make_event_partitions IS 'Does nothing: TimescaleDB makes chunks by itself.';

CREATE FUNCTION event_partition_missing_from(moment timestamptz, until timestamptz)
    RETURNS timestamptz LANGUAGE sql AS $$ SELECT NULL::timestamptz $$;

COMMENT ON FUNCTION event_partition_missing_from IS 'NULL: TimescaleDB makes chunks by itself.';

-- Which chunks closed before a moment and are to be compressed: not at all yet, or again because
-- events came late. The licence may change, so it is asked each time.
CREATE FUNCTION event_chunks_to_compress(before timestamptz)
    RETURNS TABLE (chunk regclass, closed_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT
        format('%I.%I', chunks.chunk_schema, chunks.chunk_name)::regclass,
        chunks.range_end
    FROM timescaledb_information.chunks
    JOIN _timescaledb_catalog.chunk AS known ON known.schema_name = chunks.chunk_schema
        AND known.table_name = chunks.chunk_name
    WHERE current_setting('timescaledb.license') = 'timescale'
        AND format('%I.%I', chunks.hypertable_schema, chunks.hypertable_name)::regclass
            = 'event_rows'::regclass
        AND chunks.range_end <= before
        AND (NOT chunks.is_compressed OR known.status & 8 <> 0)
    ORDER BY chunks.range_end
$$;

CREATE FUNCTION compress_events(before timestamptz, most integer) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    due regclass[];
BEGIN
    due := ARRAY(SELECT chunk FROM event_chunks_to_compress(before) LIMIT most);
    IF cardinality(due) > 0 AND NOT EXISTS (
        SELECT FROM timescaledb_information.hypertables
        WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass
                = 'event_rows'::regclass
            AND compression_enabled
    ) THEN
        ALTER TABLE event_rows SET (
            timescaledb.compress, timescaledb.compress_orderby = 'filed_at, id');
    END IF;
    PERFORM compress_chunk(chunk) FROM unnest(due) AS chunk;
    RETURN cardinality(due);
END
$$;

COMMENT ON FUNCTION compress_events IS
    'Compresses at most so many chunks of events that closed before; gives how many.';

CREATE FUNCTION events_uncompressed_from(before timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE AS $$ SELECT min(closed_at) FROM event_chunks_to_compress(before) $$;

COMMENT ON FUNCTION events_uncompressed_from IS
    'When the first chunk closed that should be compressed and is not; NULL if none.';
