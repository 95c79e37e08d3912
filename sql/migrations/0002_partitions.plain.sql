-- Plain PostgreSQL: events in a partition for each quarter of a year.

ALTER TABLE event_rows RENAME TO event_row_shape;
ALTER INDEX event_rows_pkey RENAME TO event_row_shape_pkey;
CREATE TABLE event_rows (LIKE event_row_shape INCLUDING ALL) PARTITION BY RANGE (filed_at);
DROP TABLE event_row_shape;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event_rows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Runs as its owner: who writes events need not be allowed to make tables.
CREATE FUNCTION make_event_partitions(moments timestamptz[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    begins timestamp;
    partition text;
    made integer := 0;
BEGIN
    FOR begins IN
        SELECT DISTINCT date_trunc('quarter', moment AT TIME ZONE 'UTC')
        FROM unnest(moments) AS moment
    LOOP
        partition := 'event_rows_' || to_char(begins, 'YYYY"q"Q');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(7236280, 2);
        -- asked of the catalog itself: what to_regclass remembers may be older than the lock
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_inherits
            JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = 'event_rows'::regclass AND relname = partition);
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF event_rows FOR VALUES FROM (%L) TO (%L)',
            partition, begins || '+00', begins + interval '3 months' || '+00');
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', partition);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

COMMENT ON FUNCTION make_event_partitions IS
    'Makes the partitions of events filed at these moments that are not there; gives how many.';

CREATE FUNCTION event_partition_missing_from(moment timestamptz, until timestamptz)
    RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT min(begins) AT TIME ZONE 'UTC'
    FROM generate_series(
        date_trunc('quarter', moment AT TIME ZONE 'UTC'), until AT TIME ZONE 'UTC',
        interval '3 months') AS begins
    WHERE to_regclass('event_rows_' || to_char(begins, 'YYYY"q"Q')) IS NULL
$$;

COMMENT ON FUNCTION event_partition_missing_from IS
    'The start of the first partition that is missing between two moments; NULL if none is.';

CREATE FUNCTION compress_events(before timestamptz, most integer) RETURNS integer
    LANGUAGE sql AS $$ SELECT 0 $$;

COMMENT ON FUNCTION compress_events IS 'Does nothing: plain PostgreSQL does not compress.';

CREATE FUNCTION events_uncompressed_from(before timestamptz) RETURNS timestamptz
    LANGUAGE sql AS $$ SELECT NULL::timestamptz $$;

COMMENT ON FUNCTION events_uncompressed_from IS 'NULL: nothing is to be compressed.';

-- time_bucket as TimescaleDB has it, with its origins: a Monday, and for months a January.
CREATE FUNCTION time_bucket(bucket_width interval, ts timestamp, origin timestamp)
    RETURNS timestamp LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN extract(year FROM bucket_width) = 0 AND extract(month FROM bucket_width) = 0
            THEN date_bin(bucket_width, ts, coalesce(origin, timestamp '2000-01-03'))
        ELSE date_trunc('month', coalesce(origin, timestamp '2000-01-01'))
            + bucket_width * floor((
                12 * (extract(year FROM ts)
                    - extract(year FROM coalesce(origin, timestamp '2000-01-01')))
                + extract(month FROM ts)
                - extract(month FROM coalesce(origin, timestamp '2000-01-01')))
                / (12 * extract(year FROM bucket_width) + extract(month FROM bucket_width))
            )::double precision
    END
$$;

CREATE FUNCTION time_bucket(bucket_width interval, ts timestamp)
    RETURNS timestamp LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT time_bucket(bucket_width, ts, NULL::timestamp)
$$;

CREATE FUNCTION time_bucket(bucket_width interval, ts timestamp, "offset" interval)
    RETURNS timestamp LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT time_bucket(bucket_width, ts - "offset", NULL::timestamp) + "offset"
$$;

CREATE FUNCTION time_bucket(bucket_width interval, ts timestamptz, origin timestamptz)
    RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT time_bucket(bucket_width, ts AT TIME ZONE 'UTC', origin AT TIME ZONE 'UTC')
        AT TIME ZONE 'UTC'
$$;

CREATE FUNCTION time_bucket(bucket_width interval, ts timestamptz)
    RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT time_bucket(bucket_width, ts, NULL::timestamptz)
$$;

CREATE FUNCTION time_bucket(bucket_width interval, ts timestamptz, "offset" interval)
    RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (time_bucket(bucket_width, (ts AT TIME ZONE 'UTC') - "offset", NULL::timestamp)
        + "offset") AT TIME ZONE 'UTC'
$$;

CREATE FUNCTION time_bucket(
    bucket_width interval, ts timestamptz, timezone text, origin timestamptz DEFAULT NULL,
    "offset" interval DEFAULT NULL
) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (time_bucket(
            bucket_width,
            (ts AT TIME ZONE timezone) - coalesce("offset", interval '0'),
            origin AT TIME ZONE timezone)
        + coalesce("offset", interval '0')) AT TIME ZONE timezone
$$;

CREATE FUNCTION time_bucket(bucket_width interval, ts date)
    RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT time_bucket(bucket_width, ts::timestamp, NULL::timestamp)::date
$$;
