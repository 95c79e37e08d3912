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

-- A group has what its members did while they were in it, as usage_by_group says.
CREATE FUNCTION sessions_of_group(
    of_hub text, of_group text, since timestamptz, until timestamptz
) RETURNS TABLE (id uuid, server_id integer, started_at timestamptz)
    LANGUAGE sql STABLE AS $$
    SELECT DISTINCT session.id, session.server_id, session.started_at
    FROM group_memberships AS member
    JOIN servers ON servers.hub = member.hub AND servers.username = member.username
    CROSS JOIN LATERAL sessions_of_span(ROW(
        servers.id, greatest(member.valid_from, since), least(member.valid_to, until)
    )::usage_span) AS session
    WHERE member.hub = of_hub AND member.group_name = of_group
        AND greatest(member.valid_from, since) < least(member.valid_to, until)
$$;

COMMENT ON FUNCTION sessions_of_group IS
    'Sessions that overlap a membership of a group within [since, until), each once.';

-- Who is in several groups counts in each. Only sessions of members are read, and once for all
-- groups in which somebody was equally long.
CREATE FUNCTION usage_of_groups(
    of_hubs text[], of_groups text[], since timestamptz, until timestamptz, step interval, zone text
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
    spans AS MATERIALIZED (
        SELECT
            member.hub, member.username, greatest(member.valid_from, since) AS begins,
            least(member.valid_to, window_of.ends) AS ends,
            array_agg(member.group_name) AS group_names
        FROM window_of
        JOIN group_memberships AS member
            ON greatest(member.valid_from, since) < least(member.valid_to, window_of.ends)
        WHERE member.hub = ANY (of_hubs)
            AND (of_groups IS NULL OR member.group_name = ANY (of_groups))
        GROUP BY 1, 2, 3, 4
    )
    SELECT
        split.bucket, of_member.group_name, session.server_id, session.description_id,
        session.node_id, split.running, split.waiting, split.active, split.starts, split.failures
    FROM window_of
    CROSS JOIN spans
    JOIN servers ON servers.hub = spans.hub AND servers.username = spans.username
    CROSS JOIN LATERAL sessions_of_span(
        ROW(servers.id, spans.begins, spans.ends)::usage_span) AS session
    CROSS JOIN LATERAL usage_split(session, spans.begins, spans.ends, window_of.bounds) AS split
    CROSS JOIN LATERAL unnest(spans.group_names) AS of_member (group_name)
$$;

COMMENT ON FUNCTION usage_of_groups IS
    'Usage in [since, until), at most until now, of those who were in each group while they were '
    'in it, in parts to add up; of all groups where of_groups is NULL.';

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
