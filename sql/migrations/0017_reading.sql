-- What pages and the REST API ask: usage of one user, one group, or everyone, in any time zone.

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

-- The window as one bucket where step is NULL.
CREATE FUNCTION usage_steps(since timestamptz, until timestamptz, step interval, zone text)
    RETURNS timestamptz[] LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN step IS NULL THEN ARRAY[since]
        ELSE usage_bounds(since, until, step, zone) END
$$;

CREATE FUNCTION usage_of_user(
    of_hub text, of_username text, since timestamptz, until timestamptz, step interval, zone text
) RETURNS TABLE (
    bucket timestamptz, server_id integer, description_id integer, node_id integer,
    running bigint, waiting bigint, active bigint, starts integer, failures integer)
    LANGUAGE sql STABLE AS $$
    WITH window_of AS MATERIALIZED (
        SELECT least(until, now()) AS ends, usage_steps(since, least(until, now()), step, zone)
            AS bounds
        WHERE since < least(until, now())
    )
    SELECT
        split.bucket, session.server_id, session.description_id, session.node_id, split.running,
        split.waiting, split.active, split.starts, split.failures
    FROM window_of
    CROSS JOIN servers
    CROSS JOIN LATERAL sessions_of_span(ROW(servers.id, since, ends)::usage_span) AS session
    CROSS JOIN LATERAL usage_split(session, since, ends, bounds) AS split
    WHERE servers.hub = of_hub AND servers.username = of_username
$$;

COMMENT ON FUNCTION usage_of_user IS
    'Usage of one user in [since, until), at most until now, in parts to add up.';

-- A session counts for the groups in which its user was when it was requested: those that the
-- Hub named then, else those in which checks saw the user.
CREATE FUNCTION sessions_of_group(
    of_hub text, of_group text, since timestamptz, until timestamptz
) RETURNS SETOF session_rows LANGUAGE sql STABLE AS $$
    SELECT session.*
    FROM sessions_overlapping(since, until) AS session
    JOIN servers ON servers.id = session.server_id
    JOIN requests ON requests.id = session.request_id
    WHERE servers.hub = of_hub
        AND CASE WHEN requests.groups IS NOT NULL THEN of_group = ANY (requests.groups)
            ELSE EXISTS (
                SELECT FROM group_memberships AS seen
                WHERE seen.hub = of_hub AND seen.group_name = of_group
                    AND seen.username = servers.username
                    AND seen.valid_from <= session.started_at
                    AND (seen.valid_to IS NULL OR seen.valid_to > session.started_at)) END
$$;

COMMENT ON FUNCTION sessions_of_group IS 'Sessions of a group that overlap [since, until).';

CREATE FUNCTION usage_of_group(
    of_hub text, of_group text, since timestamptz, until timestamptz, step interval, zone text
) RETURNS TABLE (
    bucket timestamptz, server_id integer, description_id integer, node_id integer,
    running bigint, waiting bigint, active bigint, starts integer, failures integer)
    LANGUAGE sql STABLE AS $$
    WITH window_of AS MATERIALIZED (
        SELECT least(until, now()) AS ends, usage_steps(since, least(until, now()), step, zone)
            AS bounds
        WHERE since < least(until, now())
    )
    SELECT
        split.bucket, session.server_id, session.description_id, session.node_id, split.running,
        split.waiting, split.active, split.starts, split.failures
    FROM window_of
    CROSS JOIN LATERAL sessions_of_group(of_hub, of_group, since, ends) AS session
    CROSS JOIN LATERAL usage_split(session, since, ends, bounds) AS split
$$;

COMMENT ON FUNCTION usage_of_group IS
    'Usage of one group in [since, until), at most until now, in parts to add up.';

-- Who is in several groups counts in each.
CREATE FUNCTION usage_of_groups(
    of_hubs text[], since timestamptz, until timestamptz, step interval, zone text
) RETURNS TABLE (
    bucket timestamptz, group_name text, server_id integer, description_id integer,
    node_id integer, running bigint, waiting bigint, active bigint, starts integer,
    failures integer)
    LANGUAGE sql STABLE AS $$
    WITH window_of AS MATERIALIZED (
        SELECT least(until, now()) AS ends, usage_steps(since, least(until, now()), step, zone)
            AS bounds
        WHERE since < least(until, now())
    ),
    parts AS MATERIALIZED (
        SELECT
            split.bucket, session.server_id, session.description_id, session.node_id,
            session.request_id,
            CASE WHEN requests.groups IS NULL THEN session.started_at END AS asked_at,
            sum(split.running)::bigint AS running, sum(split.waiting)::bigint AS waiting,
            sum(split.active)::bigint AS active, sum(split.starts)::integer AS starts,
            sum(split.failures)::integer AS failures
        FROM window_of
        CROSS JOIN LATERAL sessions_overlapping(since, ends) AS session
        JOIN requests ON requests.id = session.request_id
        CROSS JOIN LATERAL usage_split(session, since, ends, bounds) AS split
        GROUP BY
            split.bucket, session.server_id, session.description_id, session.node_id,
            session.request_id, asked_at
    )
    SELECT
        parts.bucket, member.group_name, parts.server_id, parts.description_id, parts.node_id,
        parts.running, parts.waiting, parts.active, parts.starts, parts.failures
    FROM parts
    JOIN servers ON servers.id = parts.server_id AND servers.hub = ANY (of_hubs)
    JOIN requests ON requests.id = parts.request_id
    CROSS JOIN LATERAL (
        SELECT unnest(requests.groups) AS group_name
        UNION
        SELECT seen.group_name
        FROM group_memberships AS seen
        WHERE parts.asked_at IS NOT NULL AND seen.hub = servers.hub
            AND seen.username = servers.username AND seen.valid_from <= parts.asked_at
            AND (seen.valid_to IS NULL OR seen.valid_to > parts.asked_at)
    ) AS member
$$;

COMMENT ON FUNCTION usage_of_groups IS
    'Usage of every group in [since, until), at most until now, in parts to add up.';

-- Whole closed days, and the rest from sessions.
CREATE FUNCTION usage_sums(since timestamptz, until timestamptz)
    RETURNS TABLE (
        server_id integer, description_id integer, node_id integer, running bigint,
        waiting bigint, active bigint, starts integer, failures integer)
    LANGUAGE sql STABLE AS $$
    WITH closed AS MATERIALIZED (
        SELECT
            usage_day(since + interval '24 hours' - interval '1 microsecond') AS first_day,
            least(usage_day(least(until, now())), before) AS last_day
        FROM usage_closed
    ),
    parts AS MATERIALIZED (
        SELECT first_day, last_day FROM closed WHERE first_day < last_day
    )
    SELECT
        server_id, description_id, node_id, running_microseconds, waiting_microseconds,
        active_microseconds, starts, failures
    FROM parts
    JOIN usage_days ON day >= first_day AND day < last_day
    UNION ALL
    SELECT
        session.server_id, session.description_id, session.node_id, cut.running, cut.waiting,
        cut.active, cut.starts, cut.failures
    FROM unnest(
        tstzmultirange(tstzrange(since, greatest(since, least(until, now()))))
        - coalesce((
            SELECT tstzmultirange(tstzrange(usage_midnight(first_day), usage_midnight(last_day)))
            FROM parts), '{}')
    ) AS rest
    CROSS JOIN LATERAL sessions_overlapping(lower(rest), upper(rest)) AS session
    CROSS JOIN LATERAL usage_cut(session, lower(rest), upper(rest)) AS cut
$$;

COMMENT ON FUNCTION usage_sums IS
    'Usage in [since, until), at most until now, by server and what it was, in parts to add up.';
