-- Who and what used most, in any window.

-- Whole closed months, whole closed days before and after them, and the rest from sessions.
CREATE FUNCTION usage_totals(since timestamptz, until timestamptz)
    RETURNS TABLE (server_id integer, description_id integer, running bigint, starts integer)
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
    SELECT server_id, description_id, running_microseconds, starts
    FROM parts
    JOIN usage_months ON month >= first_month AND month < last_month
    UNION ALL
    SELECT server_id, description_id, running_microseconds, starts
    FROM parts
    JOIN usage_days ON day >= first_day AND day < least(last_day, first_month)
    UNION ALL
    SELECT server_id, description_id, running_microseconds, starts
    FROM parts
    JOIN usage_days ON day >= greatest(first_month, last_month) AND day < last_day
    UNION ALL
    SELECT session.server_id, session.description_id, cut.running, cut.starts
    FROM unnest(
        tstzmultirange(tstzrange(since, greatest(since, least(until, now()))))
        - coalesce((
            SELECT tstzmultirange(tstzrange(usage_midnight(first_day), usage_midnight(last_day)))
            FROM parts), '{}')
    ) AS rest
    CROSS JOIN LATERAL sessions_overlapping(lower(rest), upper(rest)) AS session
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN session.state IN ('running', 'ended') THEN greatest(0,
                usage_clock(least(session.ended_at, upper(rest)))
                - usage_clock(greatest(session.started_at, lower(rest)))) ELSE 0 END AS running,
            (session.started_at >= lower(rest) AND session.started_at < upper(rest))::integer
                AS starts
    ) AS cut
$$;

CREATE FUNCTION top_users(since timestamptz, until timestamptz, at_most integer DEFAULT 100)
    RETURNS TABLE (hub text, username text, hours double precision, starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT
        servers.hub, servers.username,
        sum(total.running)::bigint / 3600000000.0::double precision AS hours,
        sum(total.starts)::bigint
    FROM (
        SELECT server_id, sum(running) AS running, sum(starts) AS starts
        FROM usage_totals(since, until)
        GROUP BY server_id
    ) AS total
    JOIN servers ON servers.id = total.server_id
    GROUP BY servers.hub, servers.username
    HAVING sum(total.running) > 0
    ORDER BY hours DESC, servers.hub, servers.username
    LIMIT at_most
$$;

COMMENT ON FUNCTION top_users IS 'Who ran servers longest, with the hours and how many they began.';

-- By numbers for as long as possible: names are long to compare. The memory is what a year of
-- many users needs to be added up without a file.
CREATE FUNCTION image_table(since timestamptz, until timestamptz)
    RETURNS TABLE (
        hub text, image text, users bigint, hours double precision, starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    WITH total AS MATERIALIZED (
        SELECT server_id, description_id, sum(running)::bigint AS running, sum(starts) AS starts
        FROM usage_totals(since, until)
        GROUP BY server_id, description_id
    ),
    person AS MATERIALIZED (
        SELECT servers.id, servers.hub, first_id
        FROM servers
        JOIN (
            SELECT servers.hub, servers.username, min(id) AS first_id
            FROM servers
            GROUP BY servers.hub, servers.username
        ) AS named USING (hub, username)
    ),
    by_user AS (
        SELECT
            person.hub, person.first_id, picture.first_id AS picture_id,
            sum(total.running)::bigint AS running, sum(total.starts)::bigint AS starts
        FROM total
        JOIN person ON person.id = total.server_id
        JOIN (
            SELECT descriptions.id, first_id
            FROM descriptions
            JOIN (
                SELECT descriptions.image, min(id) AS first_id
                FROM descriptions
                GROUP BY descriptions.image
            ) AS named ON coalesce(named.image, '') = coalesce(descriptions.image, '')
        ) AS picture ON picture.id = total.description_id
        GROUP BY person.hub, person.first_id, picture.first_id
    )
    SELECT by_image.hub, descriptions.image, by_image.users, by_image.hours, by_image.starts
    FROM (
        SELECT
            by_user.hub,
            by_user.picture_id,
            count(*) FILTER (WHERE by_user.running > 0) AS users,
            sum(by_user.running)::bigint / 3600000000.0::double precision AS hours,
            sum(by_user.starts)::bigint AS starts
        FROM by_user
        GROUP BY by_user.hub, by_user.picture_id
    ) AS by_image
    JOIN descriptions ON descriptions.id = by_image.picture_id
    ORDER BY by_image.hours DESC, by_image.hub, descriptions.image
$$;

COMMENT ON FUNCTION image_table IS
    'Each image with its distinct users, the hours that it ran and how many servers began with it.';
