-- TimescaleDB: events in a chunk for each week, compressed by upkeep where the licence allows.

SELECT create_hypertable(
    'event_rows', 'filed_at', chunk_time_interval => interval '7 days',
    create_default_indexes => false);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event_rows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION make_event_partitions(moments timestamptz[]) RETURNS integer
    LANGUAGE sql AS $$ SELECT 0 $$;

COMMENT ON FUNCTION make_event_partitions IS 'Does nothing: TimescaleDB makes chunks by itself.';
