-- TimescaleDB's catalog of chunks has not kept its shape: since 2.28 a slice says of which chunk it
-- is, since 2.29 a chunk has its table as regclass instead of its name. What has changed is asked
-- here alone, in the words of the version that is installed, which may change under a schema.

-- From the catalog itself: its views look at every chunk of the database, and do not tell of rows
-- that came since.
CREATE FUNCTION chunks_to_look_at(of_hypertable integer)
    RETURNS TABLE (chunk regclass, dimension_id integer, range_end bigint)
    LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = '_timescaledb_catalog.chunk'::regclass AND attname = 'relid'
            AND NOT attisdropped
    ) THEN
        RETURN QUERY
        SELECT chunk.relid::regclass, slice.dimension_id, slice.range_end
        FROM _timescaledb_catalog.chunk
        JOIN _timescaledb_catalog.dimension_slice AS slice ON slice.chunk_id = chunk.id
        WHERE chunk.hypertable_id = of_hypertable AND chunk.status & 9 <> 1;
    ELSE
        RETURN QUERY
        SELECT
            to_regclass(format('%I.%I', chunk.schema_name, chunk.table_name)), slice.dimension_id,
            slice.range_end
        FROM _timescaledb_catalog.chunk
        JOIN _timescaledb_catalog.chunk_constraint AS bound ON bound.chunk_id = chunk.id
        JOIN _timescaledb_catalog.dimension_slice AS slice ON slice.id = bound.dimension_slice_id
        WHERE chunk.hypertable_id = of_hypertable AND chunk.status & 9 <> 1;
    END IF;
END
$$;

COMMENT ON FUNCTION chunks_to_look_at IS
    'Chunks of a hypertable that are not compressed (status 1), or have had rows since (8).';

-- As it was, but for where it finds them. The licence may change, so it is asked each time.
CREATE OR REPLACE FUNCTION chunks_to_compress(before timestamptz)
    RETURNS TABLE (chunk regclass, of_table name, closed_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT chunk, name, closed_at
    FROM (
        SELECT
            chunk,
            kept.name,
            CASE WHEN dimension.column_type = 'integer'::regtype
                -- a chunk of polls closes with the first poll after it
                THEN (SELECT at FROM polls WHERE id >= range_end ORDER BY id LIMIT 1)
                ELSE to_timestamp(range_end / 1000000.0)
            END AS closed_at
        FROM compressed_tables() AS kept
        JOIN _timescaledb_catalog.hypertable ON hypertable.table_name = kept.name
            AND to_regclass(format('%I.%I', hypertable.schema_name, hypertable.table_name))
                = to_regclass(kept.name::text)
        CROSS JOIN LATERAL chunks_to_look_at(hypertable.id)
        JOIN _timescaledb_catalog.dimension ON dimension.id = dimension_id
        WHERE current_setting('timescaledb.license') = 'timescale'
    ) AS open
    CROSS JOIN LATERAL (
        -- what is still to be counted there comes first
        SELECT CASE
            WHEN name IN ('hourly_image_counts', 'hourly_node_counts') THEN (
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
