-- TimescaleDB: a chunk of observations goes once all that was in it has gone.

-- As its owner, as compress_chunks is.
CREATE FUNCTION drop_emptied_chunks(something_went boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    first_kept integer := (SELECT min(id) FROM polls);
    theirs regnamespace := (SELECT extnamespace FROM pg_extension WHERE extname = 'timescaledb');
BEGIN
    IF something_went AND first_kept IS NOT NULL THEN
        EXECUTE format('SELECT %s.drop_chunks($1, older_than => $2)', theirs)
        USING 'observation_spans'::regclass, first_kept;
    END IF;
END
$$;

COMMENT ON FUNCTION drop_emptied_chunks IS
    'Drops the chunks of observation_spans that lie before the first poll that is kept.';
