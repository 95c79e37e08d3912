-- No just-in-time compilation in this database. Of functions, unions and arrays the planner expects
-- many more rows than there are, and compiles for seconds what runs for milliseconds. Whoever
-- migrates and does not own the database may not say so; `db roles` says it for its roles.
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET jit = off', current_database());
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'jit stays as it is: % does not own this database', current_user;
END
$$;
