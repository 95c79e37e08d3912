-- Plain PostgreSQL has no chunks, and so no catalog of them: nothing is to be done.

DO $$ BEGIN END $$;
