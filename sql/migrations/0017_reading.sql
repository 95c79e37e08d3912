-- What pages and the REST API ask: usage of one user, one group, or everyone, in any time zone.

-- The window as one bucket where step is NULL.
CREATE FUNCTION usage_steps(since timestamptz, until timestamptz, step interval, zone text)
    RETURNS timestamptz[] LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN step IS NULL THEN ARRAY[since]
        ELSE usage_bounds(since, until, step, zone) END
$$;

-- Closed days lie whole in buckets that begin at midnight, UTC; all else is cut from sessions.
CREATE FUNCTION usage_of_server(
    of_server integer, since timestamptz, until timestamptz, bounds timestamptz[], closed_before date
) RETURNS TABLE (
    bucket timestamptz, description_id integer, node_id integer, running bigint,
    waiting bigint, active bigint, starts integer, failures integer)
    LANGUAGE sql STABLE AS $$
    SELECT
        bounds[width_bucket(usage_midnight(day), bounds)], description_id, node_id,
        running_microseconds, waiting_microseconds, active_microseconds, starts, failures
    FROM usage_days
    WHERE server_id = of_server
        AND day >= usage_day(since + interval '24 hours' - interval '1 microsecond')
        AND day < least(usage_day(until), closed_before)
    UNION ALL
    SELECT
        split.bucket, session.description_id, session.node_id, split.running, split.waiting,
        split.active, split.starts, split.failures
    FROM (
        SELECT
            usage_midnight(usage_day(since + interval '24 hours' - interval '1 microsecond'))
                AS first_midnight,
            usage_midnight(least(usage_day(until), closed_before)) AS last_midnight
    ) AS whole
    CROSS JOIN LATERAL unnest(
        tstzmultirange(tstzrange(since, greatest(since, until)))
        - tstzmultirange(tstzrange(first_midnight, greatest(first_midnight, last_midnight)))
    ) AS rest
    CROSS JOIN LATERAL sessions_of_span(
        ROW(of_server, lower(rest), upper(rest))::usage_span) AS session
    CROSS JOIN LATERAL usage_split(session, lower(rest), upper(rest), bounds) AS split
$$;

COMMENT ON FUNCTION usage_of_server IS
    'Usage of one server in [since, until), which is over, by bucket, in parts to add up. Days '
    'before closed_before are taken as they are stored: -infinity unless all buckets but the '
    'first begin at midnight, UTC.';

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

-- The one way to all usage. Who is in several groups counts in each. Planned once: planning takes
-- longer than what one user has to be counted.
CREATE FUNCTION usage_asked(
    of_hubs text[], of_username text, of_groups text[], since timestamptz, until timestamptz,
    step interval, zone text, by_dimension text
) RETURNS TABLE (
    bucket timestamptz, group_name text, server_id integer, description_id integer,
    node_id integer, running double precision, waiting double precision,
    active double precision, starts bigint, failures bigint)
    LANGUAGE plpgsql STABLE ROWS 10000
    SET plan_cache_mode = force_generic_plan SET work_mem = '64MB' AS $$
DECLARE
    ends timestamptz := least(until, now());
    bounds timestamptz[];
    closed_before date;
BEGIN
    IF since >= ends THEN
        RETURN;
    END IF;
    bounds := usage_steps(since, ends, step, zone);
    SELECT before INTO closed_before
    FROM usage_closed
    WHERE NOT EXISTS (
        SELECT FROM unnest(bounds[2:]) AS moment WHERE moment <> usage_midnight(usage_day(moment)));
    closed_before := coalesce(closed_before, '-infinity');
    IF of_username IS NOT NULL THEN
        RETURN QUERY
        SELECT
            part.bucket, NULL::text, servers.id, part.description_id, part.node_id,
            part.running::double precision, part.waiting::double precision,
            part.active::double precision, part.starts::bigint, part.failures::bigint
        FROM servers
        CROSS JOIN LATERAL usage_of_server(servers.id, since, ends, bounds, closed_before) AS part
        WHERE servers.hub = ANY (of_hubs) AND servers.username = of_username;
    ELSIF of_groups IS NOT NULL OR by_dimension = 'group' THEN
        RETURN QUERY
        -- once for all groups in which somebody was equally long
        WITH spans AS MATERIALIZED (
            SELECT
                member.hub, member.username, greatest(member.valid_from, since) AS span_since,
                least(member.valid_to, ends) AS span_until,
                array_agg(member.group_name) AS group_names
            FROM group_memberships AS member
            WHERE greatest(member.valid_from, since) < least(member.valid_to, ends)
                AND member.hub = ANY (of_hubs)
                AND (of_groups IS NULL OR member.group_name = ANY (of_groups))
            GROUP BY 1, 2, 3, 4
        ),
        owned AS MATERIALIZED (
            SELECT
                servers.id, spans.*,
                of_groups IS NULL AND step IS NULL AND span_since = since AND span_until = ends
                    AS by_totals
            FROM spans
            JOIN servers ON servers.hub = spans.hub AND servers.username = spans.username
        )
        -- of all groups, most members were in them all the time
        SELECT
            since, of_member.group_name, total.server_id, total.description_id, NULL::integer,
            total.running::double precision, total.waiting::double precision,
            total.active::double precision, total.starts::bigint, total.failures::bigint
        FROM usage_totals(since, ends) AS total
        JOIN owned ON owned.id = total.server_id
        CROSS JOIN LATERAL unnest(group_names) AS of_member (group_name)
        WHERE of_groups IS NULL AND step IS NULL AND by_totals
        UNION ALL
        SELECT
            part.bucket, of_member.group_name, owned.id, part.description_id, part.node_id,
            part.running::double precision, part.waiting::double precision,
            part.active::double precision, part.starts::bigint, part.failures::bigint
        FROM owned
        CROSS JOIN LATERAL usage_of_server(
            owned.id, span_since, span_until, bounds, closed_before) AS part
        CROSS JOIN LATERAL unnest(group_names) AS of_member (group_name)
        WHERE NOT by_totals;
    ELSIF step IS NULL THEN
        RETURN QUERY
        SELECT
            since, NULL::text, total.server_id, total.description_id, total.node_id,
            total.running::double precision, total.waiting::double precision,
            total.active::double precision, total.starts::bigint, total.failures::bigint
        FROM usage_totals(since, ends, by_dimension IN ('server', 'node')) AS total;
    ELSE
        RETURN QUERY
        SELECT
            part.bucket, NULL::text, part.server_id, part.description_id,
            CASE WHEN by_dimension = 'node' THEN part.node_id END,
            sum(part.running::double precision), sum(part.waiting::double precision),
            sum(part.active::double precision), sum(part.starts), sum(part.failures)
        FROM usage_parts(since, ends, step, zone) AS part
        GROUP BY 1, 3, 4, 5;
    END IF;
END
$$;

COMMENT ON FUNCTION usage_asked IS
    'Microseconds of usage in [since, until), at most until now, in parts to add up, undivided '
    'where step is NULL: of one user, or of those who were in groups (all where of_groups is NULL '
    'and by_dimension group) while they were in them, or of everyone. What by_dimension does not '
    'ask for may be told of the first server alone, or not at all.';
