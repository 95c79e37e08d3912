-- TimescaleDB: packed hours are in chunks, compressed as the rows were that they came from.

SELECT create_hypertable(
    name, 'hour', chunk_time_interval => interval '14 days', create_default_indexes => false,
    migrate_data => true)
FROM unnest('{hourly_node_counts,hourly_image_counts}'::regclass[]) AS name;

ANALYZE hourly_node_counts, hourly_image_counts;

-- What is compressed stays as it is, under these names and in these orders. Spans are ordered by
-- all that their index has besides their block: some versions of TimescaleDB merge no chunks else.
DO $$
DECLARE
    routine regprocedure;
    text    text;
    renamed text[];
BEGIN
    FOREACH routine IN ARRAY
        '{compressed_tables(),chunks_to_compress(timestamptz)}'::regprocedure[]
    LOOP
        text := pg_get_functiondef(routine);
        FOREACH renamed SLICE 1 IN ARRAY ARRAY[
            ['hourly_node_rows', 'hourly_node_counts'],
            ['hourly_image_rows', 'hourly_image_counts'],
            ['hour, node_id', 'hour, hub_id'],
            ['hour, description_id', 'hour, hub_id'],
            ['user_id, first_poll', 'user_id, first_poll, last_poll, image_id, node_id']
        ] LOOP
            text := replace(text, renamed[1], renamed[2]);
        END LOOP;
        EXECUTE text;
    END LOOP;
END
$$;
