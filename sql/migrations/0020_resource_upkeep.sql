-- What keeps the sums of what sessions asked for and used, and how they are read.

CREATE FUNCTION resource_mark(days date[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO resource_due (first_day, of_month)
    SELECT DISTINCT part.first_day, part.of_month
    FROM unnest(days) AS day
    CROSS JOIN LATERAL (SELECT date_trunc('month', day::timestamp)::date AS month) AS around
    CROSS JOIN LATERAL (VALUES
        (day, false, day + 1), (month, true, resource_month_end(month))
    ) AS part (first_day, of_month, ends)
    JOIN usage_closed ON part.ends <= usage_closed.before
    WHERE NOT EXISTS (
        SELECT FROM resource_due AS due
        WHERE due.first_day = part.first_day AND due.of_month = part.of_month)
$$;

COMMENT ON FUNCTION resource_mark IS
    'Makes those of these days, and of their months, due that are closed.';

-- Which days are closed is looked up by a statement of its own, after the lock: sums are brought
-- up to date by those who have it alone. A start never moves: it is in the session's id.
CREATE FUNCTION resource_follow_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM usage_lock_shared();
    PERFORM resource_mark(ARRAY(SELECT DISTINCT usage_day(started_at) FROM changed_rows));
    RETURN NULL;
END
$$;

CREATE FUNCTION resource_follow_samples() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM usage_lock_shared();
    PERFORM resource_mark(ARRAY(
        SELECT DISTINCT usage_day(session.started_at)
        FROM changed_rows
        JOIN ended_sessions AS session ON session.id = changed_rows.session_id));
    RETURN NULL;
END
$$;

CREATE FUNCTION resource_follow_closing() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_day date := OLD.before;
BEGIN
    IF first_day = '-infinity' THEN
        SELECT usage_day(min(started_at)) INTO first_day FROM session_rows;
    END IF;
    IF NEW.before > first_day THEN
        PERFORM resource_mark(ARRAY(
            SELECT first_day + later
            FROM generate_series(0, NEW.before - 1 - first_day) AS later));
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER resource_follow_insert AFTER INSERT ON ended_sessions
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION resource_follow_sessions();
CREATE TRIGGER resource_follow_update AFTER UPDATE ON ended_sessions
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION resource_follow_sessions();
CREATE TRIGGER resource_follow_delete AFTER DELETE ON ended_sessions
    REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION resource_follow_sessions();
CREATE TRIGGER resource_follow_insert AFTER INSERT ON session_samples
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION resource_follow_samples();
CREATE TRIGGER resource_follow_update AFTER UPDATE ON session_samples
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION resource_follow_samples();
CREATE TRIGGER resource_follow_delete AFTER DELETE ON session_samples
    REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION resource_follow_samples();
CREATE TRIGGER resource_follow_closing AFTER UPDATE ON usage_closed
    FOR EACH ROW EXECUTE FUNCTION resource_follow_closing();

-- Months last: they are added up from days.
CREATE FUNCTION resource_sum_up() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    due resource_due;
BEGIN
    -- who changes a session meanwhile waits, and makes it due again
    PERFORM pg_advisory_xact_lock(7236280, 3);
    SELECT * INTO due FROM resource_due ORDER BY of_month, first_day DESC LIMIT 1;
    IF due.first_day IS NULL THEN
        RETURN false;
    END IF;
    DELETE FROM resource_due WHERE first_day = due.first_day AND of_month = due.of_month;
    DELETE FROM resource_sums WHERE first_day = due.first_day AND of_month = due.of_month;
    IF due.of_month THEN
        INSERT INTO resource_sums SELECT * FROM resource_sums_of_month(due.first_day);
    ELSE
        INSERT INTO resource_sums SELECT * FROM resource_sums_of_day(due.first_day);
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION resource_sum_up IS
    'Adds up the latest day that is due, or month if no day is; false when nothing is.';

-- A month is compared with its last day, so that each is in one of the portions of a history.
CREATE FUNCTION resource_differences(since date, until date)
    RETURNS TABLE (first_day date) LANGUAGE sql STABLE AS $$
    WITH compared AS MATERIALIZED (
        SELECT part.first_day, part.of_month
        FROM generate_series(0, until - 1 - since) AS later
        CROSS JOIN LATERAL (SELECT since + later AS day) AS one
        CROSS JOIN LATERAL (
            SELECT day AS first_day, false AS of_month
            UNION ALL
            SELECT date_trunc('month', day::timestamp)::date, true
            WHERE extract(day FROM day + 1) = 1
        ) AS part
        JOIN usage_closed ON day < usage_closed.before
        WHERE NOT EXISTS (
            SELECT FROM resource_due AS due
            WHERE due.first_day = part.first_day AND due.of_month = part.of_month)
    ),
    kept AS MATERIALIZED (
        SELECT sums.* FROM resource_sums AS sums JOIN compared USING (first_day, of_month)
    ),
    counted AS MATERIALIZED (
        SELECT sums.*
        FROM compared
        CROSS JOIN LATERAL (
            SELECT * FROM resource_sums_of_day(compared.first_day) WHERE NOT compared.of_month
            UNION ALL
            SELECT * FROM resource_sums_of_month(compared.first_day) WHERE compared.of_month
        ) AS sums
    )
    SELECT one.first_day
    FROM (
        (SELECT * FROM kept EXCEPT ALL SELECT * FROM counted)
        UNION ALL
        (SELECT * FROM counted EXCEPT ALL SELECT * FROM kept)
    ) AS one
    GROUP BY one.first_day
$$;

COMMENT ON FUNCTION resource_differences IS
    'Closed days of [since, until), and months that end in it, whose sums are not what sessions say. '
    'Must be none.';

CREATE FUNCTION resource_read(
    since timestamptz, until timestamptz, hubs text[], groups text[], of_dimension text
) RETURNS SETOF resource_sums LANGUAGE plpgsql STABLE AS $$
DECLARE
    whole tstzmultirange := tstzmultirange(tstzrange(since, greatest(since, until)));
    first_whole date := usage_day(since + interval '24 hours' - interval '1 microsecond');
    last_whole date;
    months date[];
    days date[];
BEGIN
    -- everyone's is kept; a group's is computed from its servers
    IF NOT '*' = ANY (groups) THEN
        RETURN QUERY
        SELECT *
        FROM resource_counted(
            whole, since, until,
            ARRAY(SELECT server_id FROM panel_servers(since, until, hubs, groups)),
            ARRAY[of_dimension]);
        RETURN;
    END IF;
    SELECT greatest(first_whole, least(usage_day(until), before)) INTO last_whole FROM usage_closed;
    months := ARRAY(
        SELECT moment::date
        FROM generate_series(
            date_trunc('month', (first_whole + interval '1 month -1 day')),
            last_whole::timestamp, interval '1 month') AS moment
        WHERE resource_month_end(moment::date) <= last_whole
            AND NOT EXISTS (
                SELECT FROM resource_due WHERE of_month AND first_day = moment::date));
    days := ARRAY(
        SELECT first_whole + later
        FROM generate_series(0, last_whole - 1 - first_whole) AS later
        WHERE date_trunc('month', (first_whole + later)::timestamp)::date <> ALL (months)
            AND NOT EXISTS (
                SELECT FROM resource_due WHERE NOT of_month AND first_day = first_whole + later));
    RETURN QUERY
    SELECT *
    FROM resource_sums
    WHERE dimension = of_dimension AND hub = ANY (hubs)
        AND (of_month AND first_day = ANY (months) OR NOT of_month AND first_day = ANY (days));
    RETURN QUERY
    SELECT *
    FROM resource_counted(
        whole - coalesce((
            SELECT range_agg(part)
            FROM (
                SELECT tstzrange(usage_midnight(first_day),
                    usage_midnight(resource_month_end(first_day))) AS part
                FROM unnest(months) AS first_day
                UNION ALL
                SELECT tstzrange(usage_midnight(first_day), usage_midnight(first_day + 1))
                FROM unnest(days) AS first_day
            ) AS parts), '{}'),
        since, until, NULL, ARRAY[of_dimension]) AS rest
    WHERE rest.hub = ANY (hubs);
END
$$;

COMMENT ON FUNCTION resource_read IS
    'Sums of the sessions that lie at least partly in [since, until), in parts to add up; only '
    'hub, dimension and what follows them mean anything.';
