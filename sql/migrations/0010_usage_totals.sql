-- Who and what used most, in any window.

-- A session cut at bounds, the first of which is at or before since; by the rules of usage_cut.
CREATE FUNCTION usage_split(
    session session_rows, since timestamptz, until timestamptz, bounds timestamptz[]
) RETURNS TABLE (
    bucket timestamptz, running bigint, waiting bigint, active bigint, starts integer,
    failures integer)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT
        bounds[place],
        part.running,
        CASE WHEN clipped.ran AND session.ready_at IS NOT NULL THEN greatest(0,
            usage_clock(least(session.ready_at, part_ends)) - usage_clock(part_begins)) ELSE 0 END,
        CASE WHEN clipped.ran AND session.active_hours IS NOT NULL THEN (
            SELECT sum(usage_share(
                amount,
                greatest(asked_since, known.begins),
                least(asked_until, known.begins + 3600000000),
                usage_clock(part_begins), usage_clock(part_ends)))::bigint
            FROM (
                SELECT amount, (asked_since / 3600000000 + place - 1) * 3600000000 AS begins
                FROM unnest(session.active_hours) WITH ORDINALITY AS hours (amount, place)
            ) AS known
            WHERE known.begins < usage_clock(part_ends)
                AND known.begins + 3600000000 > usage_clock(part_begins))
        END,
        (clipped.counts AND place = first_place)::integer,
        (clipped.counts AND place = first_place AND session.state = 'failed')::integer
    FROM (
        SELECT
            *,
            width_bucket(begins, bounds) AS first_place,
            width_bucket(greatest(begins, ends - interval '1 microsecond'), bounds) AS last_place
        FROM (
            SELECT
                session.state IN ('running', 'ended') AS ran,
                session.started_at >= since AND session.started_at < until AS counts,
                usage_clock(session.started_at) AS asked_since,
                usage_clock(least(session.ended_at, session.polled_at)) AS asked_until,
                greatest(session.started_at, since) AS begins,
                CASE WHEN session.state IN ('running', 'ended')
                    THEN least(session.ended_at, until)
                    ELSE greatest(session.started_at, since) END AS ends
            OFFSET 0
        ) AS times
        OFFSET 0
    ) AS clipped
    CROSS JOIN LATERAL generate_series(first_place, last_place) AS place
    CROSS JOIN LATERAL (
        SELECT
            greatest(begins, bounds[place]) AS part_begins,
            least(ends, bounds[place + 1]) AS part_ends
    ) AS cut
    CROSS JOIN LATERAL (
        SELECT CASE WHEN clipped.ran
            THEN greatest(0, usage_clock(part_ends) - usage_clock(part_begins)) ELSE 0 END
            AS running
    ) AS part
    WHERE clipped.counts OR clipped.ends > clipped.begins
$$;

COMMENT ON FUNCTION usage_split IS
    'A session by bucket, as far as it lies in [since, until); until is at most now.';

-- The same in one piece; without a series in it, the planner knows that it is one.
CREATE FUNCTION usage_within(session session_rows, since timestamptz, until timestamptz)
    RETURNS TABLE (
        running bigint, waiting bigint, active bigint, starts integer, failures integer)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT
        CASE WHEN ran THEN greatest(0, usage_clock(ends) - usage_clock(begins)) ELSE 0 END,
        CASE WHEN ran AND session.ready_at IS NOT NULL THEN greatest(0,
            usage_clock(least(session.ready_at, ends)) - usage_clock(begins)) ELSE 0 END,
        CASE WHEN ran AND session.active_hours IS NOT NULL THEN (
            SELECT sum(usage_share(
                amount,
                greatest(asked_since, known.begins),
                least(asked_until, known.begins + 3600000000),
                usage_clock(cut.begins), usage_clock(cut.ends)))::bigint
            FROM (
                SELECT
                    amount, asked_since, asked_until,
                    (asked_since / 3600000000 + place - 1) * 3600000000 AS begins
                FROM (
                    SELECT
                        usage_clock(session.started_at) AS asked_since,
                        usage_clock(least(session.ended_at, session.polled_at)) AS asked_until
                ) AS asked
                CROSS JOIN unnest(session.active_hours) WITH ORDINALITY AS hours (amount, place)
            ) AS known
            WHERE known.begins < usage_clock(cut.ends)
                AND known.begins + 3600000000 > usage_clock(cut.begins))
        END,
        counts::integer,
        (counts AND session.state = 'failed')::integer
    FROM (
        SELECT
            session.state IN ('running', 'ended') AS ran,
            session.started_at >= since AND session.started_at < until AS counts,
            greatest(session.started_at, since) AS begins,
            CASE WHEN session.state IN ('running', 'ended') THEN least(session.ended_at, until)
                ELSE greatest(session.started_at, since) END AS ends
    ) AS cut
    WHERE counts OR ends > begins
$$;

COMMENT ON FUNCTION usage_within IS
    'What of a session lies in [since, until), by the rules of usage_cut; until is at most now.';

-- Whole closed months, whole closed days before and after them, and the rest from sessions. A month
-- that is not over has all of its closed days, so it counts as whole to where days are closed.
-- Months tell neither servers nor nodes apart: who asks for these is told of days.
CREATE FUNCTION usage_totals(
    since timestamptz, until timestamptz, by_server boolean DEFAULT false
) RETURNS TABLE (
        server_id integer, description_id integer, node_id integer, running bigint,
        waiting bigint, active bigint, starts integer, failures integer)
    LANGUAGE sql STABLE AS $$
    WITH days AS MATERIALIZED (
        SELECT
            usage_day(since + interval '24 hours' - interval '1 microsecond') AS first_day,
            least(usage_day(least(until, now())), before) AS last_day,
            before
        FROM usage_closed
    ),
    parts AS MATERIALIZED (
        SELECT
            first_day,
            last_day,
            CASE WHEN by_server THEN last_day
                ELSE date_trunc('month', first_day::timestamp + interval '1 month -1 day')::date
            END AS first_month,
            CASE WHEN by_server THEN last_day
                WHEN last_day = before
                THEN date_trunc('month', last_day::timestamp + interval '1 month -1 day')::date
                ELSE date_trunc('month', last_day::timestamp)::date END AS last_month
        FROM days
        WHERE first_day < last_day
    )
    -- a selection, and no union, so that what is not asked for is not computed
    SELECT
        added.server_id, added.description_id, added.node_id, added.running, added.waiting,
        added.active, added.starts, added.failures
    FROM (
        SELECT
            account_id AS server_id, description_id, NULL::integer AS node_id,
            running_microseconds AS running, waiting_microseconds AS waiting,
            CASE WHEN active_known > 0 THEN active_microseconds END AS active, starts, failures
        FROM parts
        JOIN usage_months ON month >= first_month AND month < last_month
        WHERE NOT by_server
        UNION ALL
        SELECT
            CASE WHEN by_server THEN servers.id ELSE servers.account_id END,
            by_day.description_id, by_day.node_id, by_day.running, by_day.waiting, by_day.active,
            by_day.starts, by_day.failures
        FROM (
            SELECT
                server_id, description_id, node_id, running_microseconds AS running,
                waiting_microseconds AS waiting, active_microseconds AS active, starts, failures
            FROM parts
            JOIN usage_days ON day >= first_day AND day < least(last_day, first_month)
            UNION ALL
            SELECT
                server_id, description_id, node_id, running_microseconds, waiting_microseconds,
                active_microseconds, starts, failures
            FROM parts
            JOIN usage_days ON day >= greatest(first_month, last_month) AND day < last_day
            UNION ALL
            SELECT
                session.server_id, session.description_id, session.node_id, cut.running,
                cut.waiting, cut.active, cut.starts, cut.failures
            FROM unnest(
                tstzmultirange(tstzrange(since, greatest(since, least(until, now()))))
                - coalesce((
                    SELECT tstzmultirange(tstzrange(
                        usage_midnight(first_day), usage_midnight(last_day)))
                    FROM parts), '{}')
            ) AS rest
            CROSS JOIN LATERAL sessions_overlapping(lower(rest), upper(rest)) AS session
            CROSS JOIN LATERAL usage_within(session, lower(rest), upper(rest)) AS cut
        ) AS by_day
        JOIN servers ON servers.id = by_day.server_id
    ) AS added
$$;

COMMENT ON FUNCTION usage_totals IS
    'Usage in [since, until), at most until now, in parts to add up, by user (server_id is the '
    'first server) and description; by server and node too where by_server asks for it.';

CREATE FUNCTION top_users(since timestamptz, until timestamptz, at_most integer DEFAULT 100)
    RETURNS TABLE (hub text, username text, hours double precision, starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT
        servers.hub, servers.username,
        total.running / 3600000000 AS hours,
        total.starts
    FROM (
        -- whole microseconds of 285 years are exact in a double, and quicker to add up
        SELECT server_id, sum(running::double precision) AS running, sum(starts) AS starts
        FROM usage_totals(since, until)
        GROUP BY server_id
        HAVING sum(running::double precision) > 0
    ) AS total
    JOIN servers ON servers.id = total.server_id
    ORDER BY hours DESC, servers.hub, servers.username
    LIMIT at_most
$$;

COMMENT ON FUNCTION top_users IS 'Who ran servers longest, with the hours and how many they began.';

-- The memory is what a year of many users needs to be added up without a file.
CREATE FUNCTION image_table(since timestamptz, until timestamptz)
    RETURNS TABLE (
        hub text, image text, users bigint, hours double precision, starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT by_image.hub, descriptions.image, by_image.users, by_image.hours, by_image.starts
    FROM (
        SELECT
            servers.hub,
            by_user.image_id,
            count(*) FILTER (WHERE by_user.running > 0) AS users,
            sum(by_user.running) / 3600000000 AS hours,
            sum(by_user.starts)::bigint AS starts
        FROM (
            SELECT
                server_id, image_id, sum(running::double precision) AS running,
                sum(starts) AS starts
            FROM usage_totals(since, until)
            JOIN descriptions ON descriptions.id = description_id
            GROUP BY server_id, image_id
            HAVING sum(running::double precision) > 0 OR sum(starts) > 0
        ) AS by_user
        JOIN servers ON servers.id = by_user.server_id
        GROUP BY servers.hub, by_user.image_id
    ) AS by_image
    JOIN descriptions ON descriptions.id = by_image.image_id
    ORDER BY by_image.hours DESC, by_image.hub, descriptions.image
$$;

COMMENT ON FUNCTION image_table IS
    'Each image with its distinct users, the hours that it ran and how many servers began with it.';
