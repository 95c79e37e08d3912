-- What dashboards draw. Each function counts [since, until), at most until now, exactly: what is
-- summarised is taken from there, the rest from sessions.

-- Counting up and down over starts and ends: what it costs is the number of sessions, not of the
-- buckets that each of them covers. By numbers for as long as possible: names are long to compare.
-- bounds are by usage_clock the beginnings of buckets in order, the first at or before all
-- stretches, and the end of the last; a stretch is whole buckets.
CREATE FUNCTION usage_sweep(stretches tstzmultirange, bounds bigint[], by_dimension text)
    RETURNS TABLE (bucket integer, hub text, value text, users bigint, running bigint)
    LANGUAGE sql STABLE AS $$
    WITH found AS MATERIALIZED (
        SELECT
            server_id,
            CASE by_dimension WHEN 'hub' THEN 0 WHEN 'node' THEN node_id ELSE description_id END
                AS thing_id,
            begins,
            ends,
            width_bucket(begins, bounds) AS first_bucket,
            width_bucket(ends - 1, bounds) AS last_bucket
        FROM unnest(stretches) AS stretch
        CROSS JOIN LATERAL (
            SELECT
                session.*,
                usage_clock(greatest(started_at, lower(stretch))) AS begins,
                usage_clock(least(ended_at, upper(stretch))) AS ends
            FROM sessions_overlapping(lower(stretch), upper(stretch)) AS session
            WHERE state IN ('running', 'ended')
            OFFSET 0
        ) AS clipped
        WHERE begins < ends
    ),
    -- descriptions that say the same of the dimension are one
    things AS MATERIALIZED (
        SELECT id, CASE by_dimension
            WHEN 'image' THEN image_id
            WHEN 'profile' THEN min(id) OVER (PARTITION BY profile)
            WHEN 'gpus' THEN min(id) OVER (PARTITION BY gpus) END AS first_id
        FROM descriptions
        WHERE by_dimension IN ('image', 'profile', 'gpus')
    ),
    hubs AS MATERIALIZED (SELECT hub, min(id) AS hub_id FROM servers GROUP BY hub),
    served AS MATERIALIZED (
        SELECT
            hubs.hub_id,
            servers.account_id,
            CASE WHEN by_dimension IN ('image', 'profile', 'gpus') THEN first_id ELSE thing_id END
                AS thing_id,
            begins, ends, first_bucket, last_bucket
        FROM found
        JOIN servers ON servers.id = found.server_id
        JOIN hubs ON hubs.hub = servers.hub
        LEFT JOIN things ON things.id = found.thing_id
    ),
    -- a user with several servers in a bucket is one
    present AS MATERIALIZED (
        SELECT
            hub_id, thing_id,
            unnest(range_agg(int4range(first_bucket, last_bucket, '[]'))) AS buckets
        FROM served
        GROUP BY account_id, thing_id, hub_id
    ),
    turns AS (
        SELECT
            hub_id, thing_id, lower(buckets) AS bucket, 1 AS users, 0 AS servers,
            0::bigint AS running
        FROM present
        UNION ALL
        SELECT hub_id, thing_id, upper(buckets), -1, 0, 0 FROM present
        UNION ALL
        -- the first bucket, whole ones from there to the last, and the last
        SELECT
            hub_id, thing_id, first_bucket, 0, 0, least(ends, bounds[first_bucket + 1]) - begins
        FROM served
        UNION ALL
        SELECT hub_id, thing_id, first_bucket + 1, 0, 1, 0
        FROM served
        WHERE last_bucket > first_bucket
        UNION ALL
        SELECT hub_id, thing_id, last_bucket, 0, -1, ends - bounds[last_bucket]
        FROM served
        WHERE last_bucket > first_bucket
    ),
    steps AS (
        SELECT
            hub_id,
            thing_id,
            turns.bucket,
            sum(turns.running)::bigint AS running,
            (sum(sum(turns.users)) OVER along)::bigint AS users,
            (sum(sum(turns.servers)) OVER along)::bigint AS servers,
            lead(turns.bucket) OVER along AS next_bucket
        FROM turns
        GROUP BY hub_id, thing_id, turns.bucket
        WINDOW along AS (PARTITION BY hub_id, thing_id ORDER BY turns.bucket)
    )
    SELECT
        filled,
        hub,
        value,
        named.users,
        servers * (bounds[filled + 1] - bounds[filled])
            + CASE WHEN filled = named.bucket THEN running ELSE 0 END
    FROM (
        SELECT
            hubs.hub,
            CASE by_dimension
                WHEN 'node' THEN node.word
                WHEN 'image' THEN descriptions.image
                WHEN 'profile' THEN descriptions.profile
                WHEN 'gpus' THEN descriptions.gpus::text
            END AS value,
            steps.users, servers, running, steps.bucket,
            generate_series(steps.bucket, greatest(steps.bucket, next_bucket - 1)) AS filled
        FROM steps
        JOIN hubs ON hubs.hub_id = steps.hub_id
        LEFT JOIN words AS node ON node.id = thing_id AND by_dimension = 'node'
        LEFT JOIN descriptions ON descriptions.id = thing_id
            AND by_dimension IN ('image', 'profile', 'gpus')
        WHERE steps.users > 0
    ) AS named
$$;

COMMENT ON FUNCTION usage_sweep IS 'Distinct users and microseconds of each bucket, from sessions.';

-- Planned once: with the bounds in the plan, planning takes longer than counting.
CREATE FUNCTION usage_over_time(
    since timestamptz, until timestamptz, step interval, by_dimension text DEFAULT 'hub',
    zone text DEFAULT 'UTC'
) RETURNS TABLE (
    bucket timestamptz, hub text, value text, users bigint, seconds double precision,
    servers double precision)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    bounds timestamptz[];
    ends timestamptz := least(until, now());
    unit text;
    summarised tstzmultirange := '{}';
BEGIN
    IF since >= ends THEN
        RETURN;
    END IF;
    bounds := usage_bounds(since, ends, step, zone);
    unit := CASE step WHEN interval '1 hour' THEN 'hour' WHEN interval '1 day' THEN 'day' END;
    -- in a zone that is not whole hours, or days, from UTC
    IF EXISTS (SELECT FROM unnest(bounds) AS moment WHERE moment <> date_trunc(unit, moment, 'UTC'))
    THEN
        unit := NULL;
    END IF;
    IF unit IS NOT NULL THEN
        SELECT tstzmultirange(tstzrange(first_whole, greatest(first_whole, last_whole)))
            - coalesce((
                SELECT range_agg(tstzrange(usage_midnight(due.day), usage_midnight(due.day + 1)))
                FROM usage_due AS due
                WHERE due.dimension = by_dimension), '{}')
        INTO summarised
        FROM usage_closed
        CROSS JOIN LATERAL (
            SELECT
                CASE WHEN bounds[1] = since THEN since ELSE bounds[2] END AS first_whole,
                least(
                    CASE WHEN date_trunc(unit, ends, 'UTC') = ends THEN ends
                        ELSE bounds[cardinality(bounds)] END,
                    usage_midnight(before)) AS last_whole
        ) AS whole
        WHERE first_whole < last_whole;
        summarised := coalesce(summarised, '{}');
    END IF;
    IF unit = 'day' THEN
        RETURN QUERY
        SELECT
            usage_midnight(summary.day), summary.hub, summary.value, summary.users::bigint,
            summary.running_microseconds / 1000000.0::double precision,
            summary.running_microseconds / 86400000000.0::double precision
        FROM unnest(summarised) AS part
        JOIN usage_summary AS summary
            ON summary.day >= usage_day(lower(part)) AND summary.day < usage_day(upper(part))
        WHERE summary.dimension = by_dimension;
    ELSIF unit = 'hour' THEN
        RETURN QUERY
        SELECT
            midnight + (one.hour - 1) * interval '1 hour', summary.hub,
            summary.value, one.users::bigint,
            one.running / 1000000.0::double precision,
            one.running / 3600000000.0::double precision
        FROM (
            SELECT
                usage_summary.*, usage_midnight(day) AS midnight, lower(part) AS part_since,
                upper(part) AS part_until
            FROM unnest(summarised) AS part
            JOIN usage_summary ON usage_summary.day >= usage_day(lower(part))
                AND usage_summary.day <= usage_day(upper(part) - interval '1 microsecond')
            WHERE usage_summary.dimension = by_dimension
            -- so that midnights are found once a day
            OFFSET 0
        ) AS summary
        CROSS JOIN LATERAL unnest(summary.hour_users, summary.hour_microseconds)
            WITH ORDINALITY AS one (users, running, hour)
        WHERE one.users > 0
            AND midnight + (one.hour - 1) * interval '1 hour' >= part_since
            AND midnight + (one.hour - 1) * interval '1 hour' < part_until;
    END IF;
    RETURN QUERY
    SELECT
        bounds[swept.bucket], swept.hub, swept.value, swept.users,
        swept.running / 1000000.0::double precision,
        swept.running / (clocks[swept.bucket + 1] - clocks[swept.bucket])::double precision
    FROM (
        SELECT ARRAY(
            SELECT usage_clock(greatest(moment, since))
            FROM unnest(bounds || ends) WITH ORDINALITY AS bound (moment, place)
            ORDER BY place
        ) AS clocks
        OFFSET 0
    ) AS cut
    CROSS JOIN LATERAL usage_sweep(
        tstzmultirange(tstzrange(since, ends)) - summarised, clocks, by_dimension) AS swept;
END
$$;

COMMENT ON FUNCTION usage_over_time IS
    'Distinct users, seconds and the average number of running servers by bucket, Hub, and one of '
    'hub (value is NULL), node, image, profile, gpus; in no order, and nothing where nobody was. '
    'A bucket has the moment at which it would begin if since did not cut it.';

CREATE FUNCTION active_users_over_time(since timestamptz, until timestamptz, step interval)
    RETURNS TABLE (bucket timestamptz, hub text, users bigint) LANGUAGE sql STABLE AS $$
    SELECT counted.bucket, counted.hub, counted.users
    FROM usage_over_time(since, until, step) AS counted
    ORDER BY counted.bucket
$$;

CREATE FUNCTION running_servers_over_time(since timestamptz, until timestamptz, step interval)
    RETURNS TABLE (bucket timestamptz, hub text, servers double precision)
    LANGUAGE sql STABLE AS $$
    SELECT counted.bucket, counted.hub, counted.servers
    FROM usage_over_time(since, until, step) AS counted
    ORDER BY counted.bucket
$$;

CREATE FUNCTION nodes_over_time(since timestamptz, until timestamptz, step interval)
    RETURNS TABLE (
        bucket timestamptz, hub text, node text, users bigint, servers double precision)
    LANGUAGE sql STABLE AS $$
    SELECT counted.bucket, counted.hub, counted.value, counted.users, counted.servers
    FROM usage_over_time(since, until, step, 'node') AS counted
    ORDER BY counted.bucket
$$;

CREATE FUNCTION images_over_time(since timestamptz, until timestamptz, step interval)
    RETURNS TABLE (
        bucket timestamptz, hub text, image text, users bigint, servers double precision)
    LANGUAGE sql STABLE AS $$
    SELECT counted.bucket, counted.hub, counted.value, counted.users, counted.servers
    FROM usage_over_time(since, until, step, 'image') AS counted
    ORDER BY counted.bucket
$$;

COMMENT ON FUNCTION active_users_over_time IS 'Distinct users with a running server, by bucket.';
COMMENT ON FUNCTION running_servers_over_time IS 'Average number of running servers, by bucket.';
COMMENT ON FUNCTION nodes_over_time IS 'Distinct users and average servers of each node.';
COMMENT ON FUNCTION images_over_time IS 'Distinct users and average servers of each image.';

-- Counting up and down over every start and end of the window: it costs what that has of sessions.
CREATE FUNCTION peak_servers_over_time(
    since timestamptz, until timestamptz, step interval, zone text DEFAULT 'UTC'
) RETURNS TABLE (bucket timestamptz, hub text, servers bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    WITH bounds AS MATERIALIZED (
        SELECT least(until, now()) AS until, usage_bounds(since, least(until, now()), step, zone)
            AS moments
    ),
    found AS MATERIALIZED (
        SELECT
            servers.hub, greatest(session.started_at, since) AS begins,
            least(session.ended_at, bounds.until) AS ends
        FROM bounds
        CROSS JOIN LATERAL sessions_overlapping(since, bounds.until) AS session
        JOIN servers ON servers.id = session.server_id
        WHERE session.state IN ('running', 'ended')
    ),
    turns AS (
        SELECT turn.hub, turn.at, sum(turn.change) AS change
        FROM (
            SELECT found.hub, begins AS at, 1 AS change FROM found
            UNION ALL
            SELECT found.hub, ends, -1 FROM found
            UNION ALL
            -- a bucket begins with what runs already
            SELECT every.hub, greatest(moment, since), 0
            FROM (SELECT DISTINCT found.hub FROM found) AS every
            CROSS JOIN bounds
            CROSS JOIN unnest(bounds.moments) AS moment
        ) AS turn
        GROUP BY turn.hub, turn.at
    )
    SELECT bounds.moments[width_bucket(counted.at, bounds.moments)], counted.hub,
        max(counted.running)
    FROM bounds
    CROSS JOIN (
        SELECT turns.hub, turns.at,
            (sum(turns.change) OVER (PARTITION BY turns.hub ORDER BY turns.at))::bigint AS running
        FROM turns
    ) AS counted
    WHERE counted.at < bounds.until
    GROUP BY 1, counted.hub
    HAVING max(counted.running) > 0
    ORDER BY 1
$$;

COMMENT ON FUNCTION peak_servers_over_time IS
    'The most servers that ran at the same moment in each bucket of [since, until).';
