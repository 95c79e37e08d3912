-- No just-in-time compilation in this database. Of functions, unions and arrays the planner expects
-- many more rows than there are, and compiles for seconds what runs for milliseconds. Where others
-- have tables in the database too, or whoever migrates does not own it, it stays as it is.
DO $$
BEGIN
    PERFORM FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p')
        AND nspname <> current_schema()
        AND nspname !~ '^pg_|^_?timescaledb_|^information_schema$'
        AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e');
    IF FOUND THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER DATABASE %I SET jit = off', current_database());
EXCEPTION WHEN insufficient_privilege THEN
    RETURN;
END
$$;
