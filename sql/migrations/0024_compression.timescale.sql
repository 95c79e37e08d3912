-- TimescaleDB: what grows by the day is in chunks, as events are, and compressed when they have
-- closed. Not ended_sessions: its rows are found by their ids and servers whatever their age, and
-- an index over all of them does that at once.

DROP FUNCTION compress_events(timestamptz, integer);
DROP FUNCTION events_uncompressed_from(timestamptz);
DROP FUNCTION event_chunks_to_compress(timestamptz);

-- A chunk is small enough to be compressed in one round of upkeep.
SELECT create_hypertable(
    name, by, chunk_time_interval => width, create_default_indexes => false, migrate_data => true)
FROM (VALUES
    ('usage_days'::regclass, 'day', interval '7 days'),
    ('usage_months', 'month', interval '30 days'),
    ('usage_summary', 'day', interval '28 days'),
    ('hourly_node_rows', 'hour', interval '14 days'),
    ('hourly_image_rows', 'hour', interval '14 days')
) AS grown (name, by, width);

-- In polls, of which one Hub has so many in a week by default.
SELECT create_hypertable(
    'observation_spans', 'block', chunk_time_interval => 2016, create_default_indexes => false,
    migrate_data => true);

CREATE FUNCTION compressed_tables() RETURNS TABLE (name name, segment_by text, order_by text)
    LANGUAGE sql IMMUTABLE AS $$
    VALUES
        ('event_rows'::name, '', 'filed_at, id'),
        ('hourly_image_rows', '', 'hour, description_id'),
        ('hourly_node_rows', '', 'hour, node_id'),
        ('observation_spans', 'block', 'user_id, first_poll'),
        ('usage_days', '', 'server_id, day'),
        ('usage_months', '', 'account_id, month'),
        ('usage_summary', '', 'dimension, day')
$$;

COMMENT ON FUNCTION compressed_tables IS
    'What is compressed, and how: by what rows are kept together and in which order.';

-- Which chunks closed before a moment and are to be compressed: not at all yet, or again because
-- rows came late. The licence may change, so it is asked each time. From the catalog itself: its
-- views look at every chunk of the database.
CREATE FUNCTION chunks_to_compress(before timestamptz)
    RETURNS TABLE (chunk regclass, of_table name, closed_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT chunk, name, closed_at
    FROM (
        SELECT
            to_regclass(format('%I.%I', chunk.schema_name, chunk.table_name)) AS chunk,
            kept.name,
            CASE WHEN dimension.column_type = 'integer'::regtype
                -- a chunk of polls closes with the first poll after it
                THEN (SELECT at FROM polls WHERE id >= slice.range_end ORDER BY id LIMIT 1)
                ELSE to_timestamp(slice.range_end / 1000000.0)
            END AS closed_at
        FROM compressed_tables() AS kept
        JOIN _timescaledb_catalog.hypertable ON hypertable.table_name = kept.name
            AND to_regclass(format('%I.%I', hypertable.schema_name, hypertable.table_name))
                = to_regclass(kept.name::text)
        JOIN _timescaledb_catalog.chunk ON chunk.hypertable_id = hypertable.id
            -- 1 is compressed, 8 that rows have come since
            AND chunk.status & 9 <> 1
        JOIN _timescaledb_catalog.chunk_constraint AS bound ON bound.chunk_id = chunk.id
        JOIN _timescaledb_catalog.dimension_slice AS slice ON slice.id = bound.dimension_slice_id
        JOIN _timescaledb_catalog.dimension ON dimension.id = slice.dimension_id
        WHERE current_setting('timescaledb.license') = 'timescale'
    ) AS open
    CROSS JOIN LATERAL (
        -- what is still to be counted there comes first
        SELECT CASE
            WHEN name IN ('hourly_image_rows', 'hourly_node_rows') THEN (
                SELECT least(hourly_counted.before, min(hour))
                FROM hourly_counted LEFT JOIN hourly_changed ON true
                GROUP BY hourly_counted.before)
            WHEN name LIKE 'usage%' THEN (
                SELECT CASE name
                    WHEN 'usage_months' THEN date_trunc('month', counted_days.until, 'UTC')
                    ELSE counted_days.until
                END
                FROM (
                    SELECT usage_midnight(least(usage_closed.before, min(day))) AS until
                    FROM usage_closed LEFT JOIN usage_due ON true
                    GROUP BY usage_closed.before
                ) AS counted_days)
            ELSE 'infinity'
        END AS counted_until
    ) AS counted
    WHERE chunk IS NOT NULL AND closed_at <= before AND closed_at <= counted_until
    ORDER BY closed_at, name
$$;

-- Runs as its owner: only who owns a table may compress its chunks. Where our schema alone is
-- searched, the extension's functions are found by the name of theirs.
CREATE FUNCTION compress_chunks(before timestamptz, most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    due record;
    done integer := 0;
    theirs regnamespace := (SELECT extnamespace FROM pg_extension WHERE extname = 'timescaledb');
BEGIN
    FOR due IN
        SELECT * FROM chunks_to_compress(before)
        JOIN compressed_tables() ON name = of_table
        ORDER BY closed_at, name
        LIMIT most
    LOOP
        IF NOT EXISTS (
            SELECT FROM timescaledb_information.hypertables
            WHERE hypertable_name = due.name
                AND format('%I.%I', hypertable_schema, hypertable_name)::regclass
                    = due.name::text::regclass
                AND compression_enabled
        ) THEN
            EXECUTE format(
                'ALTER TABLE %I SET (timescaledb.compress, timescaledb.compress_segmentby = %L,'
                ' timescaledb.compress_orderby = %L)', due.name, due.segment_by, due.order_by);
        END IF;
        EXECUTE format('SELECT %s.compress_chunk($1)', theirs) USING due.chunk;
        done := done + 1;
    END LOOP;
    RETURN done;
END
$$;

COMMENT ON FUNCTION compress_chunks IS
    'Compresses at most so many chunks that closed before; gives how many.';

CREATE FUNCTION uncompressed_from(before timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE AS $$ SELECT min(closed_at) FROM chunks_to_compress(before) $$;

COMMENT ON FUNCTION uncompressed_from IS
    'When the first chunk closed that should be compressed and is not; NULL if none.';
