-- Plain PostgreSQL: what observations leave behind is used again for the next.

CREATE FUNCTION drop_emptied_chunks(something_went boolean) RETURNS void LANGUAGE sql AS $$ $$;

COMMENT ON FUNCTION drop_emptied_chunks IS 'Does nothing: there are no chunks.';
