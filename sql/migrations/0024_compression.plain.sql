-- Plain PostgreSQL has no compression: what upkeep asks for answers that nothing is to be done.

DROP FUNCTION compress_events(timestamptz, integer);
DROP FUNCTION events_uncompressed_from(timestamptz);

CREATE FUNCTION compress_chunks(before timestamptz, most integer) RETURNS integer
    LANGUAGE sql AS $$ SELECT 0 $$;

COMMENT ON FUNCTION compress_chunks IS 'Does nothing: plain PostgreSQL does not compress.';

CREATE FUNCTION uncompressed_from(before timestamptz) RETURNS timestamptz
    LANGUAGE sql AS $$ SELECT NULL::timestamptz $$;

COMMENT ON FUNCTION uncompressed_from IS 'NULL: nothing is to be compressed.';
