-- Usage: sessions cut at UTC hours and days. Whole microseconds, so that sums are exact.
--
-- Days before usage_closed.before are in usage_days, and always what sessions say: what changes a
-- session counts its server's days again, in the same transaction. Later days are cut when read.

CREATE FUNCTION usage_hour_at(hour integer) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT timestamptz '0001-01-01 00:00Z' + hour * interval '1 hour'
$$;

COMMENT ON FUNCTION usage_hour_at IS 'When an hour begins that is counted from year 1, UTC.';

CREATE FUNCTION usage_midnight(day date) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT day::timestamp AT TIME ZONE 'UTC' $$;

CREATE FUNCTION usage_day(moment timestamptz) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (moment AT TIME ZONE 'UTC')::date $$;

CREATE FUNCTION usage_share(
    amount bigint, since bigint, until bigint, from_moment bigint, to_moment bigint
) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN amount IS NULL THEN NULL
        WHEN from_moment <= since AND to_moment >= until
            THEN least(amount, greatest(0, until - since))
        WHEN from_moment >= to_moment OR since >= until THEN least(amount, 0)
        ELSE round(least(amount, until - since)
            * greatest(0, least(until, to_moment) - greatest(since, from_moment))::double precision
            / (until - since))::bigint
    END
$$;

COMMENT ON FUNCTION usage_share IS
    'What of an amount that lies evenly in [since, until) lies in [from_moment, to_moment); never '
    'more than there is room for.';

-- The accounting rules. Plain enough to be inlined: it runs once for each session that is read.
-- Activity is known by the hour; of an hour that is cut, its share of the time that checks asked.
CREATE FUNCTION usage_cut(session session_rows, since timestamptz, until timestamptz)
    RETURNS TABLE (
        hour integer, running bigint, waiting bigint, active bigint, starts integer,
        failures integer)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT
        hour,
        greatest(
            least(clipped.ends, (hour + 1) * 3600000000) - greatest(begins, hour * 3600000000), 0),
        greatest(
            least(clipped.ready, (hour + 1) * 3600000000) - greatest(begins, hour * 3600000000), 0),
        CASE WHEN clipped.asked_hours IS NOT NULL THEN usage_share(
            clipped.asked_hours[hour - clipped.asked_first + 1],
            greatest(clipped.asked_since, hour * 3600000000),
            least(clipped.asked_until, (hour + 1) * 3600000000),
            greatest(begins, hour * 3600000000),
            least(clipped.ends, (hour + 1) * 3600000000))
        END,
        (clipped.starts AND hour = first_hour)::integer,
        (clipped.starts AND hour = first_hour AND clipped.failed)::integer
    FROM (
        SELECT
            *,
            begins / 3600000000 AS first_hour,
            greatest(begins, ends - 1) / 3600000000 AS last_hour,
            (asked_since / 3600000000)::integer AS asked_first
        FROM (
            SELECT
                usage_clock(greatest(session.started_at, since)) AS begins,
                CASE WHEN session.state IN ('running', 'ended')
                    THEN usage_clock(least(session.ended_at, until)) ELSE 0 END AS ends,
                CASE WHEN session.state IN ('running', 'ended') AND session.ready_at IS NOT NULL
                    THEN usage_clock(least(session.ready_at, until)) ELSE 0 END AS ready,
                session.active_hours AS asked_hours,
                usage_clock(session.started_at) AS asked_since,
                usage_clock(least(session.ended_at, session.polled_at)) AS asked_until,
                session.started_at >= since AND session.started_at < until AS starts,
                session.state = 'failed' AS failed
            OFFSET 0
        ) AS bounds
        OFFSET 0
    ) AS clipped
    CROSS JOIN LATERAL generate_series(first_hour::integer, last_hour::integer) AS hour
    -- that each hour lies between the bounds tells the planner that there are few
    WHERE (clipped.starts OR clipped.ends > clipped.begins)
        AND hour >= first_hour AND hour <= last_hour
$$;

COMMENT ON FUNCTION usage_cut IS
    'A session by the hour, from year 1, as far as it lies in [since, until), open or not.';

-- So that sessions of any length are found by a window at any time: nearly all are found by their
-- start, the others here.
CREATE INDEX ended_sessions_long ON ended_sessions USING gist (tstzrange(started_at, ended_at))
    WHERE ended_at - started_at > interval '24 hours';
CREATE INDEX ended_sessions_long_of_server ON ended_sessions (server_id, ended_at)
    WHERE ended_at - started_at > interval '24 hours';

CREATE FUNCTION sessions_overlapping(since timestamptz, until timestamptz)
    RETURNS SETOF session_rows LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT *
    FROM ended_sessions
    WHERE ended_sessions.started_at >= since - interval '24 hours'
        AND ended_sessions.started_at < until
        AND (ended_sessions.ended_at > since OR ended_sessions.started_at >= since)
    UNION ALL
    SELECT *
    FROM ended_sessions
    WHERE ended_sessions.ended_at - ended_sessions.started_at > interval '24 hours'
        AND ended_sessions.started_at < since - interval '24 hours'
        AND tstzrange(ended_sessions.started_at, ended_sessions.ended_at)
            && tstzrange(since, greatest(since, until))
    UNION ALL
    SELECT *
    FROM open_sessions
    WHERE open_sessions.started_at < until
$$;

COMMENT ON FUNCTION sessions_overlapping IS
    'Sessions that overlap [since, until); one without length counts. Fast whatever the history.';

CREATE TABLE usage_days (
    running_microseconds bigint NOT NULL,
    waiting_microseconds bigint NOT NULL,
    active_microseconds  bigint,
    day                  date NOT NULL,
    server_id            integer NOT NULL,
    description_id       integer NOT NULL,
    node_id              integer,
    starts               integer NOT NULL,
    failures             integer NOT NULL,
    hours                bigint[] NOT NULL
);

CREATE INDEX usage_days_day ON usage_days (day);
CREATE INDEX usage_days_server_id_day ON usage_days (server_id, day);

COMMENT ON TABLE usage_days IS
    'What each server ran on each closed day, by what it was and where. See usage_daily.';
COMMENT ON COLUMN usage_days.hours IS
    'The same by the hour: amount * 256 + what * 32 + hour of the day; what is 0 running and 1 '
    'waiting, in microseconds, 2 starts, 3 failures. Nothing where there was none. 4 is '
    'activity, and nothing where no check asked.';
COMMENT ON COLUMN usage_days.active_microseconds IS 'NULL where no check asked.';

CREATE TABLE usage_closed (
    before date NOT NULL
);

CREATE UNIQUE INDEX usage_closed_once ON usage_closed ((true));
INSERT INTO usage_closed VALUES ('-infinity');

COMMENT ON TABLE usage_closed IS 'Days before this one are in usage_days. Never after today.';

CREATE TYPE usage_span AS (
    server_id integer,
    since     timestamptz,
    until     timestamptz
);

CREATE FUNCTION sessions_of_span(span usage_span) RETURNS SETOF session_rows
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT * FROM sessions_overlapping(span.since, span.until) WHERE span.server_id IS NULL
    UNION ALL
    SELECT *
    FROM ended_sessions
    WHERE ended_sessions.server_id = span.server_id
        AND ended_sessions.started_at >= span.since - interval '24 hours'
        AND ended_sessions.started_at < span.until
        AND (ended_sessions.ended_at > span.since OR ended_sessions.started_at >= span.since)
    UNION ALL
    SELECT *
    FROM ended_sessions
    WHERE ended_sessions.ended_at - ended_sessions.started_at > interval '24 hours'
        AND ended_sessions.server_id = span.server_id
        AND ended_sessions.ended_at > span.since
        AND ended_sessions.started_at < least(span.since - interval '24 hours', span.until)
    UNION ALL
    SELECT *
    FROM open_sessions
    WHERE open_sessions.server_id = span.server_id AND open_sessions.started_at < span.until
$$;

COMMENT ON FUNCTION sessions_of_span IS
    'Sessions of one server, or of all where server_id is NULL, that overlap [since, until). Fast '
    'whatever the history.';

CREATE FUNCTION usage_counted(spans usage_span[]) RETURNS SETOF usage_days
    LANGUAGE sql STABLE AS $$
    SELECT
        sum(running)::bigint,
        sum(waiting)::bigint,
        sum(active)::bigint,
        date '0001-01-01' + hour / 24,
        server_id,
        description_id,
        node_id,
        sum(starts)::integer,
        sum(failures)::integer,
        coalesce(array_agg(running * 256 + hour % 24) FILTER (WHERE running > 0), '{}')
            || array_agg(waiting * 256 + 32 + hour % 24) FILTER (WHERE waiting > 0)
            || array_agg(starts * 256 + 64 + hour % 24) FILTER (WHERE starts > 0)
            || array_agg(failures * 256 + 96 + hour % 24) FILTER (WHERE failures > 0)
            || array_agg(active * 256 + 128 + hour % 24) FILTER (WHERE active IS NOT NULL)
    FROM (
        SELECT
            cut.hour,
            session.server_id,
            session.description_id,
            session.node_id,
            sum(cut.running)::bigint AS running,
            sum(cut.waiting)::bigint AS waiting,
            sum(cut.active)::bigint AS active,
            sum(cut.starts) AS starts,
            sum(cut.failures) AS failures
        FROM unnest(spans) AS span
        CROSS JOIN LATERAL sessions_of_span(span) AS session
        CROSS JOIN LATERAL usage_cut(session, span.since, span.until) AS cut
        GROUP BY cut.hour, session.server_id, session.description_id, session.node_id
    ) AS by_hour
    GROUP BY hour / 24, server_id, description_id, node_id
$$;

COMMENT ON FUNCTION usage_counted IS
    'What usage_days must have for these spans, computed from sessions. For verify it is the truth.';

-- Those who change sessions share it; who closes a day has it alone, so that no change is missed.
CREATE FUNCTION usage_lock_shared() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock_shared(7236280, 3)
$$;

CREATE FUNCTION usage_count_again(changed usage_span[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    closed_before timestamptz;
    spans usage_span[];
BEGIN
    PERFORM usage_lock_shared();
    SELECT usage_midnight(before) INTO closed_before FROM usage_closed;
    SELECT array_agg(ROW(server_id, usage_midnight(lower(days)), usage_midnight(upper(days)))
        ::usage_span)
    INTO spans
    FROM (
        SELECT server_id, unnest(range_agg(daterange(
            usage_day(since), usage_day(least(until, closed_before - interval '1 microsecond')),
            '[]'))) AS days
        FROM unnest(changed)
        WHERE since < closed_before
        GROUP BY server_id
    ) AS touched;
    IF spans IS NOT NULL THEN
        DELETE FROM usage_days
        USING unnest(spans) AS span
        WHERE usage_days.server_id = span.server_id
            AND usage_days.day >= usage_day(span.since)
            AND usage_days.day < usage_day(span.until);
        INSERT INTO usage_days SELECT * FROM usage_counted(spans);
    END IF;
END
$$;

COMMENT ON FUNCTION usage_count_again IS
    'Brings closed days of servers up to their sessions. Touches no later day.';

-- Only what a later check measured changes anything. What is measured of closed days counts
-- there.
CREATE FUNCTION record_activity(
    ids uuid[], seen timestamptz[], polled timestamptz[], active double precision[],
    last_active timestamptz[], resolutions double precision[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    measured_spans usage_span[];
BEGIN
    PERFORM FROM open_sessions WHERE id = ANY (ids) ORDER BY id FOR UPDATE;
    SELECT array_agg(
        ROW(server_id, coalesce(session.polled_at, session.started_at), measured.polled_at)
        ::usage_span)
    INTO measured_spans
    FROM unnest(ids, polled) AS measured (session_id, polled_at)
    JOIN session_rows AS session ON session.id = measured.session_id;

    UPDATE open_sessions AS kept SET
        seen_at = greatest(kept.seen_at, measured.seen_at),
        polled_at = measured.polled_at,
        active_seconds = measured.active_seconds,
        last_activity_at = measured.last_activity_at,
        resolution_seconds = measured.resolution_seconds,
        active_hours = active_hours_with(
            kept.active_hours, kept.started_at, measured.polled_at,
            coalesce(measured.last_activity_at, measured.polled_at),
            round((measured.active_seconds * 1000000)::numeric)::bigint
                - round((coalesce(kept.active_seconds, 0) * 1000000)::numeric)::bigint)
    FROM unnest(ids, seen, polled, active, last_active, resolutions) AS measured (
        session_id, seen_at, polled_at, active_seconds, last_activity_at, resolution_seconds)
    WHERE kept.id = measured.session_id
        AND (kept.polled_at IS NULL OR kept.polled_at <= measured.polled_at);

    -- those that have ended since the check began
    UPDATE ended_sessions AS kept SET
        seen_at = greatest(kept.seen_at, measured.seen_at),
        polled_at = measured.polled_at,
        active_seconds = measured.active_seconds,
        last_activity_at = measured.last_activity_at,
        resolution_seconds = measured.resolution_seconds,
        active_hours = active_hours_with(
            kept.active_hours, kept.started_at, measured.polled_at,
            coalesce(measured.last_activity_at, measured.polled_at),
            round((measured.active_seconds * 1000000)::numeric)::bigint
                - round((coalesce(kept.active_seconds, 0) * 1000000)::numeric)::bigint)
    FROM unnest(ids, seen, polled, active, last_active, resolutions) AS measured (
        session_id, seen_at, polled_at, active_seconds, last_activity_at, resolution_seconds)
    WHERE kept.id = measured.session_id
        AND (kept.polled_at IS NULL OR kept.polled_at <= measured.polled_at);

    PERFORM usage_count_again(measured_spans);
END
$$;

COMMENT ON FUNCTION record_activity IS 'Keeps what a check measured of sessions, one place each.';

-- Called by session_refold. An end that comes or moves changes no day before it: what was open
-- counted as running.
CREATE FUNCTION usage_follow(before ended_sessions[], after ended_sessions[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    changed usage_span[];
BEGIN
    SELECT array_agg(ROW(server_id, since, until)::usage_span) INTO changed
    FROM (
        SELECT
            ARRAY[old.server_id, new.server_id] AS server_ids,
            (
                old.server_id, old.description_id, old.node_id, old.started_at, old.ready_at,
                old.state IN ('running', 'ended'), old.state = 'failed'
            ) IS NOT DISTINCT FROM (
                new.server_id, new.description_id, new.node_id, new.started_at, new.ready_at,
                new.state IN ('running', 'ended'), new.state = 'failed'
            ) AS moved_end_only,
            least(old.started_at, new.started_at) AS started_at,
            coalesce(old.ended_at, 'infinity') AS old_end,
            coalesce(new.ended_at, 'infinity') AS new_end
        FROM unnest(after) AS new
        LEFT JOIN unnest(before) AS old ON old.id = new.id
    ) AS change
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN moved_end_only THEN least(old_end, new_end) ELSE started_at END AS since,
            greatest(old_end, new_end) AS until
    ) AS span
    CROSS JOIN LATERAL unnest(server_ids) AS server_id
    WHERE server_id IS NOT NULL AND (NOT moved_end_only OR old_end <> new_end);
    PERFORM usage_count_again(changed);
END
$$;

COMMENT ON FUNCTION usage_follow IS
    'Counts again what changed between these rows of sessions, as they were and as they are.';

-- A statement of its own for each step: each sees what the ones before have waited for.
CREATE FUNCTION usage_close(before_day date, at_most integer DEFAULT 1) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    first_day date;
    next_day date;
BEGIN
    PERFORM pg_advisory_xact_lock(7236280, 3);
    SELECT before INTO first_day FROM usage_closed;
    IF first_day = '-infinity' THEN
        -- what lies before all sessions is closed with nothing in it
        SELECT coalesce(usage_day(min(started_at)), before_day) INTO first_day FROM session_rows;
    END IF;
    next_day := least(first_day + at_most, before_day, usage_day(now()));
    IF next_day <= first_day THEN
        RETURN false;
    END IF;
    INSERT INTO usage_days
    SELECT * FROM usage_counted(ARRAY[
        ROW(NULL, usage_midnight(first_day), usage_midnight(next_day))::usage_span]);
    UPDATE usage_closed SET before = next_day;
    RETURN true;
END
$$;

COMMENT ON FUNCTION usage_close IS
    'Counts the next days that lie before the given one; false when there are none.';

CREATE FUNCTION usage_differences(
    since date DEFAULT '-infinity', until date DEFAULT 'infinity'
) RETURNS TABLE (day date, server_id integer) LANGUAGE sql STABLE AS $$
    WITH amounts AS (
        SELECT 1 AS side, usage_days.*
        FROM usage_days
        WHERE usage_days.day >= since AND usage_days.day < until
        UNION ALL
        SELECT -1, counted.*
        FROM usage_closed
        CROSS JOIN LATERAL usage_counted(ARRAY[ROW(
            NULL, usage_midnight(since), usage_midnight(least(until, before)))::usage_span]
        ) AS counted
    )
    SELECT differing.day, differing.server_id
    FROM (
        SELECT amounts.day, amounts.server_id, description_id, node_id, what, sum(side * amount)
        FROM amounts
        CROSS JOIN LATERAL (
            VALUES (-1, running_microseconds), (-2, waiting_microseconds), (-3, amounts.starts),
                (-4, failures), (-5, 1), (-6, cardinality(hours)),
                (-7, active_microseconds)
            UNION ALL
            SELECT one & 255, one >> 8 FROM unnest(hours) AS one
        ) AS parts (what, amount)
        GROUP BY amounts.day, amounts.server_id, description_id, node_id, what
        HAVING sum(side * amount) <> 0
    ) AS differing
    GROUP BY differing.day, differing.server_id
$$;

COMMENT ON FUNCTION usage_differences IS
    'Closed days of servers in [since, until) whose usage is not what sessions say. Must be none.';
