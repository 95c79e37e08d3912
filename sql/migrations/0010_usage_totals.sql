-- Who and what used most, in any window.

-- Whole closed months, whole closed days before and after them, and the rest from sessions.
CREATE FUNCTION usage_totals(since timestamptz, until timestamptz)
    RETURNS TABLE (
        server_id integer, description_id integer, running bigint, starts integer,
        failures integer)
    LANGUAGE sql STABLE AS $$
    WITH days AS MATERIALIZED (
        SELECT
            usage_day(since + interval '24 hours' - interval '1 microsecond') AS first_day,
            least(usage_day(least(until, now())), before) AS last_day
        FROM usage_closed
    ),
    parts AS MATERIALIZED (
        SELECT
            first_day,
            last_day,
            (date_trunc('month', first_day::timestamp + interval '1 month -1 day'))::date
                AS first_month,
            date_trunc('month', last_day::timestamp)::date AS last_month
        FROM days
        WHERE first_day < last_day
    )
    SELECT account_id, description_id, running_microseconds, starts, failures
    FROM parts
    JOIN usage_months ON month >= first_month AND month < last_month
    UNION ALL
    SELECT
        servers.account_id, by_server.description_id, by_server.running, by_server.starts,
        by_server.failures
    FROM (
        SELECT server_id, description_id, running_microseconds AS running, starts, failures
        FROM parts
        JOIN usage_days ON day >= first_day AND day < least(last_day, first_month)
        UNION ALL
        SELECT server_id, description_id, running_microseconds, starts, failures
        FROM parts
        JOIN usage_days ON day >= greatest(first_month, last_month) AND day < last_day
        UNION ALL
        SELECT
            session.server_id, session.description_id, cut.running, counts::integer,
            (counts AND session.state = 'failed')::integer
        FROM unnest(
            tstzmultirange(tstzrange(since, greatest(since, least(until, now()))))
            - coalesce((
                SELECT tstzmultirange(tstzrange(
                    usage_midnight(first_day), usage_midnight(last_day)))
                FROM parts), '{}')
        ) AS rest
        CROSS JOIN LATERAL sessions_overlapping(lower(rest), upper(rest)) AS session
        CROSS JOIN LATERAL (
            SELECT
                CASE WHEN session.state IN ('running', 'ended') THEN greatest(0,
                    usage_clock(least(session.ended_at, upper(rest)))
                    - usage_clock(greatest(session.started_at, lower(rest)))) ELSE 0 END
                    AS running,
                session.started_at >= lower(rest) AND session.started_at < upper(rest) AS counts
        ) AS cut
    ) AS by_server
    JOIN servers ON servers.id = by_server.server_id
$$;

COMMENT ON FUNCTION usage_totals IS
    'Usage in [since, until), at most until now, by user and description, in parts to add up. '
    'server_id is the first server of the user.';

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
