-- What the Grafana dashboards ask of days, people and single sessions.

-- Whole closed days are taken as they are stored, the rest is cut from sessions.
CREATE FUNCTION panel_days_of_servers(of_servers integer[], since timestamptz, until timestamptz)
    RETURNS TABLE (
        server_id integer, description_id integer, node_id integer, day date, running bigint)
    LANGUAGE sql STABLE AS $$
    WITH days AS MATERIALIZED (
        SELECT first_day, greatest(first_day, least(usage_day(least(until, now())), before))
            AS last_day
        FROM usage_closed
        CROSS JOIN LATERAL (
            SELECT usage_day(since + interval '24 hours' - interval '1 microsecond') AS first_day
        ) AS whole
    )
    SELECT server_id, description_id, node_id, day, running_microseconds
    FROM days
    JOIN usage_days ON server_id = ANY (of_servers) AND day >= first_day AND day < last_day
    WHERE running_microseconds > 0
    UNION ALL
    SELECT
        session.server_id, session.description_id, session.node_id, present_on,
        usage_clock(least(ends, usage_midnight(present_on + 1)))
            - usage_clock(greatest(begins, usage_midnight(present_on)))
    FROM days
    CROSS JOIN LATERAL unnest(
        tstzmultirange(tstzrange(since, greatest(since, least(until, now()))))
        - tstzmultirange(tstzrange(usage_midnight(first_day), usage_midnight(last_day)))
    ) AS rest
    CROSS JOIN LATERAL sessions_overlapping(lower(rest), upper(rest)) AS session
    CROSS JOIN LATERAL (
        SELECT
            greatest(session.started_at, lower(rest)) AS begins,
            least(session.ended_at, upper(rest)) AS ends
    ) AS cut
    CROSS JOIN LATERAL generate_series(
        0, usage_day(ends - interval '1 microsecond') - usage_day(begins)) AS later
    CROSS JOIN LATERAL (SELECT usage_day(begins) + later AS present_on) AS one
    WHERE session.server_id = ANY (of_servers)
        AND session.state IN ('running', 'ended') AND begins < ends
$$;

COMMENT ON FUNCTION panel_days_of_servers IS
    'When these servers ran in [since, until): by UTC day, what it was and where.';

-- In plpgsql, so that of the two ways only the one that is taken is planned. Everyone's is
-- summarised; a group's is computed from its servers.
CREATE FUNCTION panel_usage_by_node(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (node text, hours double precision)
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF '*' = ANY (groups) THEN
        RETURN QUERY
        SELECT counted.value, sum(counted.seconds) / 3600
        FROM usage_over_time(since, until, interval '1 day', 'node') AS counted
        WHERE counted.hub = ANY (hubs)
        GROUP BY counted.value;
    ELSE
        RETURN QUERY
        SELECT words.word, sum(used.running)::bigint / 3600000000.0::double precision
        FROM panel_days_of_servers(
            ARRAY(SELECT server_id FROM panel_servers(since, until, hubs, groups)),
            since, until) AS used
        LEFT JOIN words ON words.id = used.node_id
        GROUP BY words.word;
    END IF;
END
$$;

COMMENT ON FUNCTION panel_usage_by_node IS 'Hours of each node in [since, until).';

CREATE FUNCTION panel_daily_users(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (day timestamptz, hub text, users bigint)
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF '*' = ANY (groups) THEN
        RETURN QUERY
        SELECT counted.bucket, counted.hub, counted.users
        FROM usage_over_time(since, until, interval '1 day') AS counted
        WHERE counted.hub = ANY (hubs)
        ORDER BY counted.bucket;
    ELSE
        RETURN QUERY
        SELECT usage_midnight(present.on_day), present.hub, count(*)
        FROM (
            SELECT DISTINCT used.day AS on_day, servers.hub, servers.username
            FROM panel_days_of_servers(
                ARRAY(SELECT server_id FROM panel_servers(since, until, hubs, groups)),
                since, until) AS used
            JOIN servers ON servers.id = used.server_id
        ) AS present
        GROUP BY present.on_day, present.hub
        ORDER BY present.on_day;
    END IF;
END
$$;

COMMENT ON FUNCTION panel_daily_users IS 'Distinct users of each UTC day.';

-- Distinct users cannot be added up: of long ranges, whole months are what is stored.
CREATE FUNCTION panel_image_adoption(since timestamptz, until timestamptz, hubs text[])
    RETURNS TABLE (bucket timestamptz, image_base text, users bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    WITH base AS MATERIALIZED (
        SELECT description_id, container_base, dense_rank() OVER (ORDER BY container_base) AS place
        FROM container_kinds
    ),
    owner AS MATERIALIZED (
        SELECT id AS server_id, dense_rank() OVER (ORDER BY hub, username) AS person
        FROM servers
        WHERE hub = ANY (hubs)
    ),
    present AS (
        SELECT date_trunc('week', day::timestamp)::date AS first_day, server_id, description_id
        FROM usage_days
        WHERE until - since <= interval '45 days' AND running_microseconds > 0
            AND day >= usage_day(since)
            AND day < usage_day(until + interval '24 hours' - interval '1 microsecond')
        UNION ALL
        SELECT month, account_id, description_id
        FROM usage_months
        WHERE until - since > interval '45 days' AND running_microseconds > 0
            AND month >= date_trunc('month', usage_day(since)::timestamp)::date
            AND month < usage_day(until + interval '24 hours' - interval '1 microsecond')
        UNION ALL
        SELECT
            date_trunc(
                CASE WHEN until - since <= interval '45 days' THEN 'week' ELSE 'month' END,
                moment AT TIME ZONE 'UTC')::date,
            session.server_id, session.description_id
        FROM (
            SELECT greatest(since, usage_midnight(before)) AS begins, least(until, now()) AS ends
            FROM usage_closed
        ) AS live
        CROSS JOIN LATERAL sessions_overlapping(begins, greatest(begins, ends)) AS session
        CROSS JOIN LATERAL generate_series(
            date_trunc('day', greatest(session.started_at, begins), 'UTC'),
            least(session.ended_at, ends) - interval '1 microsecond', interval '24 hours') AS moment
        WHERE session.state IN ('running', 'ended')
    )
    SELECT usage_midnight(used.first_day), named.container_base, count(*)
    FROM (
        SELECT DISTINCT present.first_day, base.place, owner.person
        FROM present
        JOIN base USING (description_id)
        JOIN owner USING (server_id)
    ) AS used
    JOIN (SELECT DISTINCT place, container_base FROM base) AS named USING (place)
    GROUP BY used.first_day, named.container_base
    ORDER BY used.first_day
$$;

COMMENT ON FUNCTION panel_image_adoption IS
    'Distinct users of each image on the days, or in the months, that overlap [since, until): by '
    'week from Monday in up to 45 days, by month in more.';

CREATE FUNCTION panel_people(since timestamptz, until timestamptz, hubs text[], groups text[])
    RETURNS TABLE (
        hub text, username text, user_email text, full_name text, department text,
        job_title text, first_seen timestamptz, last_seen timestamptz)
    LANGUAGE sql STABLE AS $$
    SELECT
        users.hub, users.username, users.user_email, users.full_name, users.department,
        users.job_title, users.first_seen, users.last_seen
    FROM users
    WHERE users.hub = ANY (hubs)
        AND ('*' = ANY (groups) OR EXISTS (
            SELECT FROM group_memberships AS member
            WHERE member.hub = users.hub
                AND member.username = users.username
                AND member.group_name = ANY (groups)
                AND member.valid_from < until
                AND (member.valid_to IS NULL OR member.valid_to > since)))
$$;

COMMENT ON FUNCTION panel_people IS
    'users, of some groups: members at any moment of [since, until).';

CREATE FUNCTION panel_servers_seen(since timestamptz, until timestamptz) RETURNS TABLE (
    hub text, username text, server_name text, state text, started_at timestamptz,
    hours double precision, profile text, image text, image_base text, node text,
    gpus double precision)
    LANGUAGE sql STABLE AS $$
    SELECT
        servers.hub, servers.username, servers.server_name, session.state::text,
        session.started_at,
        (usage_clock(least(session.ended_at, until, now())) - usage_clock(session.started_at))
            / 3600000000.0::double precision,
        descriptions.profile, descriptions.image, image_base(descriptions.image), node.word,
        descriptions.gpus
    FROM sessions_overlapping(since, until) AS session
    JOIN servers ON servers.id = session.server_id
    LEFT JOIN descriptions ON descriptions.id = session.description_id
    LEFT JOIN words AS node ON node.id = session.node_id
    WHERE session.state IN ('running', 'ended')
        AND (session.ended_at IS NULL OR session.ended_at > since)
$$;

COMMENT ON FUNCTION panel_servers_seen IS
    'Servers that ran in [since, until), with the hours since their start at its end. Ask for an '
    'hour or less.';

-- Planned for the range that is asked for: a long one is read faster without the index.
CREATE FUNCTION panel_ends(since timestamptz, until timestamptz, hubs text[])
    RETURNS TABLE (state text, reason text, sessions bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' SET plan_cache_mode = force_custom_plan
    AS $$
    SELECT ended.state::text, panel_endings.reason, sum(ended.sessions)::bigint
    FROM (
        -- by server first: far fewer than there are sessions are then looked up
        SELECT server_id, ended_sessions.state, ended_sessions.ending_id, count(*) AS sessions
        FROM ended_sessions
        WHERE ended_at >= since AND ended_at < until
        GROUP BY server_id, ended_sessions.state, ended_sessions.ending_id
    ) AS ended
    JOIN servers ON servers.id = ended.server_id AND servers.hub = ANY (hubs)
    LEFT JOIN panel_endings ON panel_endings.ending_id = ended.ending_id
    GROUP BY ended.state, panel_endings.reason
$$;

COMMENT ON FUNCTION panel_ends IS
    'Sessions that ended or failed in [since, until), by the reason that is told of them.';

CREATE FUNCTION panel_week_hours(since timestamptz, until timestamptz, hubs text[], zone text)
    RETURNS TABLE (weekday integer, hour integer, servers double precision, users double precision)
    LANGUAGE sql STABLE AS $$
    WITH passed AS (
        SELECT
            extract(isodow FROM moment AT TIME ZONE zone)::integer AS weekday,
            extract(hour FROM moment AT TIME ZONE zone)::integer AS hour,
            count(*) AS times
        FROM generate_series(
            date_trunc('hour', since, 'UTC'), least(until, now()) - interval '1 microsecond',
            interval '1 hour') AS moment
        GROUP BY 1, 2
    ),
    used AS (
        SELECT
            extract(isodow FROM bucket AT TIME ZONE zone)::integer AS weekday,
            extract(hour FROM bucket AT TIME ZONE zone)::integer AS hour,
            sum(counted.servers) AS servers,
            sum(counted.users) AS users
        FROM usage_over_time(since, until, interval '1 hour') AS counted
        WHERE counted.hub = ANY (hubs)
        GROUP BY 1, 2
    )
    SELECT
        passed.weekday, passed.hour, coalesce(used.servers, 0) / passed.times,
        coalesce(used.users, 0) / passed.times::double precision
    FROM passed
    LEFT JOIN used USING (weekday, hour)
    ORDER BY passed.weekday, passed.hour
$$;

COMMENT ON FUNCTION panel_week_hours IS
    'Average running servers and users of each hour of the week; weekday 1 is Monday.';

CREATE FUNCTION panel_user(
    of_hub text, of_username text, since timestamptz, until timestamptz
) RETURNS TABLE (
    hours double precision, hours_with_gpu double precision, hours_without_gpu double precision,
    waiting_hours double precision, gib_hours double precision, core_hours double precision,
    gpu_hours double precision, sessions bigint, failures bigint, images bigint,
    last_seen timestamptz)
    LANGUAGE sql STABLE AS $$
    SELECT
        coalesce(sum(hours), 0),
        coalesce(sum(hours) FILTER (WHERE gpus > 0), 0),
        coalesce(sum(hours) FILTER (WHERE (gpus > 0) IS NOT TRUE), 0),
        coalesce(sum(waiting) FILTER (WHERE waiting > 0), 0),
        sum(hours * memory_gib),
        sum(hours * cores),
        sum(hours * gpus),
        count(*) FILTER (WHERE ran),
        count(*) FILTER (WHERE NOT ran AND started_at >= since),
        count(DISTINCT container_base) FILTER (WHERE ran),
        max(ends) FILTER (WHERE ran)
    FROM (
        SELECT
            session.state IN ('running', 'ended') AS ran,
            CASE WHEN session.state IN ('running', 'ended')
                THEN (usage_clock(ends) - usage_clock(begins)) / 3600000000.0::double precision
                ELSE 0 END AS hours,
            CASE WHEN session.state IN ('running', 'ended')
                THEN (usage_clock(least(session.ready_at, ends)) - usage_clock(begins))
                    / 3600000000.0::double precision END AS waiting,
            session.started_at, ends, kind.container_base, requested.memory_gib, requested.cores, requested.gpus
        FROM servers
        CROSS JOIN LATERAL sessions_of_span(ROW(
            servers.id, since, least(until, now()))::usage_span) AS session
        CROSS JOIN LATERAL (
            SELECT
                greatest(session.started_at, since) AS begins,
                least(session.ended_at, until, now()) AS ends
        ) AS cut
        LEFT JOIN container_kinds AS kind ON kind.description_id = session.description_id
        LEFT JOIN usage_resources AS requested ON requested.id = session.description_id
        WHERE servers.hub = of_hub AND servers.username = of_username
            AND session.state <> 'starting'
    ) AS part
$$;

COMMENT ON FUNCTION panel_user IS
    'One row: what a user ran in [since, until). Failures are counted where they started.';

CREATE FUNCTION panel_user_days(
    of_hub text, of_username text, since timestamptz, until timestamptz
) RETURNS TABLE (day timestamptz, hours_with_gpu double precision, hours_without_gpu double precision)
    LANGUAGE sql STABLE AS $$
    SELECT
        usage_midnight(used.day),
        coalesce(sum(used.running) FILTER (WHERE gpus > 0), 0)::double precision / 3600000000,
        coalesce(sum(used.running) FILTER (WHERE (gpus > 0) IS NOT TRUE), 0)::double precision
            / 3600000000
    FROM panel_days_of_servers(
        ARRAY(SELECT id FROM servers WHERE hub = of_hub AND username = of_username),
        since, until) AS used
    LEFT JOIN descriptions ON descriptions.id = used.description_id
    GROUP BY used.day
    ORDER BY used.day
$$;

COMMENT ON FUNCTION panel_user_days IS 'Hours of a user''s servers on each UTC day that has some.';

CREATE FUNCTION panel_user_timeline(
    of_hub text, of_username text, since timestamptz, until timestamptz
) RETURNS TABLE (moment timestamptz, server text, doing text)
    LANGUAGE sql STABLE AS $$
    SELECT changes.moment, changes.server, changes.doing
    FROM (
        SELECT
            change.moment, coalesce(nullif(servers.server_name, ''), '(default)') AS server,
            change.doing, change.place
        FROM servers
        CROSS JOIN LATERAL sessions_of_span(ROW(
            servers.id, since, least(until, now()))::usage_span) AS session
        LEFT JOIN container_kinds AS kind ON kind.description_id = session.description_id
        CROSS JOIN LATERAL (VALUES
            (
                greatest(session.started_at, since),
                CASE
                    WHEN session.state = 'failed' THEN 'failed'
                    WHEN session.ready_at <= since THEN coalesce(kind.container_base, 'running')
                    WHEN session.ready_at IS NULL AND session.state <> 'starting'
                        THEN coalesce(kind.container_base, 'running')
                    ELSE 'starting'
                END, 2
            ),
            (
                CASE WHEN session.ready_at > since AND session.ready_at < until
                    THEN session.ready_at END,
                coalesce(kind.container_base, 'running'), 3
            ),
            -- nothing runs from here on
            (CASE WHEN session.ended_at < until THEN session.ended_at END, NULL, 1)
        ) AS change (moment, doing, place)
        WHERE servers.hub = of_hub AND servers.username = of_username
            AND change.moment IS NOT NULL
    ) AS changes
    ORDER BY changes.moment, changes.place
$$;

COMMENT ON FUNCTION panel_user_timeline IS
    'What each of a user''s servers does from each moment on: starting, failed, the image that it '
    'runs; NULL is nothing. In order.';
