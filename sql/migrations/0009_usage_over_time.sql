-- What dashboards draw. Each function counts [since, until), at most until now, exactly: what is
-- summarised is taken from there, the rest from sessions.

-- Counting up and down over starts and ends: what it costs is the number of sessions, not of the
-- buckets that each of them covers. By numbers for as long as possible: names are long to compare.
-- moments are the beginnings of buckets in order, the first at or before since; clocks the same by
-- usage_clock, the first not before since, and the end of the last; [since, until) is whole buckets.
CREATE FUNCTION usage_sweep(
    since timestamptz, until timestamptz, moments timestamptz[], clocks bigint[],
    widths double precision[], by_dimension text
) RETURNS TABLE (
    bucket timestamptz, hub text, value text, users bigint, seconds double precision,
    servers double precision)
    LANGUAGE sql STABLE AS $$
    -- selected, an array is as width_bucket wants it; as a variable it would be copied each time
    WITH found AS (
        SELECT
            server_id, thing_id, begins, ends,
            width_bucket(begins, (SELECT clocks)) AS first_bucket,
            width_bucket(ends - 1, (SELECT clocks)) AS last_bucket
        FROM (
            SELECT
                server_id,
                CASE by_dimension WHEN 'hub' THEN 0 WHEN 'node' THEN node_id ELSE description_id END
                    AS thing_id,
                usage_clock(greatest(started_at, since)) AS begins,
                usage_clock(least(ended_at, until)) AS ends
            FROM sessions_overlapping(since, until)
            WHERE state IN ('running', 'ended')
            OFFSET 0
        ) AS clipped
        WHERE begins < ends
    ),
    names AS MATERIALIZED (
        SELECT id::bigint AS id, word AS value FROM words WHERE by_dimension = 'node'
        UNION ALL
        SELECT id, CASE by_dimension
            WHEN 'image' THEN image WHEN 'profile' THEN profile WHEN 'gpus' THEN gpus::text END
        FROM descriptions
        WHERE by_dimension IN ('image', 'profile', 'gpus')
    ),
    -- descriptions that say the same of the dimension are one
    things AS MATERIALIZED (
        SELECT id, min(id) OVER (PARTITION BY value) AS first_id
        FROM names
        WHERE by_dimension IN ('image', 'profile', 'gpus')
    ),
    hubs AS MATERIALIZED (
        SELECT servers.hub, row_number() OVER () << 32 AS hub_key FROM servers GROUP BY servers.hub
    ),
    served AS (
        SELECT
            hub_key + coalesce(
                CASE WHEN by_dimension IN ('image', 'profile', 'gpus') THEN first_id
                    ELSE thing_id END, 0) AS thing_key,
            account_id, begins, ends, first_bucket, last_bucket
        FROM found
        JOIN servers ON servers.id = found.server_id
        JOIN hubs ON hubs.hub = servers.hub
        LEFT JOIN things ON things.id = found.thing_id
    ),
    -- a user with several servers in a bucket is one: counted from the first bucket that none of
    -- those that began before reaches
    counted AS MATERIALIZED (
        SELECT
            *,
            greatest(first_bucket, 1 + max(last_bucket) OVER (
                PARTITION BY account_id, thing_key ORDER BY first_bucket
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS new_bucket
        FROM served
    ),
    -- numbers in doubles, which are quicker to add up and exact up to 285 years of microseconds
    turns AS (
        -- the first bucket, whole ones from there to the last, and the last
        SELECT
            thing_key, first_bucket AS bucket,
            CASE WHEN new_bucket = first_bucket THEN 1 ELSE 0 END::double precision AS users,
            0::double precision AS servers,
            (least(ends, clocks[first_bucket + 1]) - begins)::double precision AS running
        FROM counted
        UNION ALL
        SELECT thing_key, first_bucket + 1, 0, 1, 0 FROM counted WHERE last_bucket > first_bucket
        UNION ALL
        SELECT thing_key, last_bucket, 0, -1, ends - clocks[last_bucket]
        FROM counted
        WHERE last_bucket > first_bucket
        UNION ALL
        SELECT thing_key, new_bucket, 1, 0, 0
        FROM counted
        WHERE new_bucket > first_bucket AND new_bucket <= last_bucket
        UNION ALL
        SELECT thing_key, last_bucket + 1, -1, 0, 0 FROM counted WHERE new_bucket <= last_bucket
    ),
    steps AS (
        SELECT
            thing_key,
            turns.bucket,
            sum(turns.running) AS running,
            sum(sum(turns.users)) OVER along AS users,
            sum(sum(turns.servers)) OVER along AS servers,
            lead(turns.bucket) OVER along AS next_bucket
        FROM turns
        GROUP BY thing_key, turns.bucket
        WINDOW along AS (PARTITION BY thing_key ORDER BY turns.bucket)
    )
    SELECT
        moments[filled], named.hub, named.value, named.users,
        CASE WHEN filled = named.bucket THEN named.servers * widths[filled] + running
            ELSE named.servers * widths[filled] END / 1000000,
        CASE WHEN filled = named.bucket
            THEN (named.servers * widths[filled] + running) / widths[filled]
            ELSE named.servers END
    FROM (
        SELECT
            hubs.hub, names.value, steps.users::bigint AS users, steps.servers, running,
            steps.bucket,
            generate_series(steps.bucket, greatest(steps.bucket, next_bucket - 1)) AS filled
        FROM steps
        JOIN hubs ON hubs.hub_key = thing_key & -4294967296
        LEFT JOIN names ON names.id = thing_key & 4294967295
        WHERE steps.users > 0
    ) AS named
    ORDER BY 1
$$;

COMMENT ON FUNCTION usage_sweep IS
    'Distinct users, seconds and average servers of each bucket, from sessions.';

-- Planned once: with the bounds in the plan, planning takes longer than counting. The memory is
-- what the planner thinks that it takes: with less it would sort and count in files.
CREATE FUNCTION usage_over_time(
    since timestamptz, until timestamptz, step interval, by_dimension text DEFAULT 'hub',
    zone text DEFAULT 'UTC'
) RETURNS TABLE (
    bucket timestamptz, hub text, value text, users bigint, seconds double precision,
    servers double precision)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET work_mem = '64MB' AS $$
DECLARE
    bounds timestamptz[];
    clocks bigint[];
    widths double precision[];
    midnight timestamptz;
    hours timestamptz[];
    ends timestamptz := least(until, now());
    unit text;
    summarised tstzmultirange := '{}';
    stretch tstzrange;
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
    FOR stretch IN
        SELECT one
        FROM (
            SELECT unnest(summarised) AS one
            UNION ALL
            SELECT unnest(tstzmultirange(tstzrange(since, ends)) - summarised)
        ) AS stretches
        ORDER BY one
    LOOP
        IF NOT stretch <@ summarised THEN
            IF clocks IS NULL THEN
                SELECT array_agg(usage_clock(greatest(moment, since)) ORDER BY moment) INTO clocks
                FROM unnest(bounds || ends) AS moment;
                SELECT array_agg(clocks[place + 1] - clocks[place] ORDER BY place) INTO widths
                FROM generate_series(1, cardinality(bounds)) AS place;
            END IF;
            RETURN QUERY
            SELECT *
            FROM usage_sweep(
                lower(stretch), upper(stretch), bounds, clocks, widths, by_dimension);
        ELSIF unit = 'day' THEN
            RETURN QUERY
            SELECT
                usage_midnight(summary.day), summary.hub, summary.value, summary.users::bigint,
                summary.running_microseconds / 1000000.0::double precision,
                summary.running_microseconds / 86400000000.0::double precision
            FROM usage_summary AS summary
            WHERE summary.day >= usage_day(lower(stretch))
                AND summary.day < usage_day(upper(stretch))
                AND summary.dimension = by_dimension
            ORDER BY 1;
        ELSE
            -- day by day, so that few rows are put in order at a time
            FOR midnight IN
                SELECT generate_series(
                    date_trunc('day', lower(stretch), 'UTC'),
                    upper(stretch) - interval '1 microsecond', interval '24 hours')
            LOOP
                -- NULL for hours that are not asked for
                hours := ARRAY(
                    SELECT CASE WHEN stretch @> begins THEN begins END
                    FROM generate_series(
                        midnight, midnight + interval '23 hours', interval '1 hour') AS begins
                    ORDER BY begins);
                RETURN QUERY
                SELECT
                    one.moment, one.hub, one.value, one.users::bigint, one.running / 1000000,
                    one.running / 3600000000
                FROM (
                    SELECT
                        summary.hub, summary.value, unnest(hours) AS moment,
                        unnest(summary.hour_users) AS users,
                        unnest(summary.hour_microseconds)::double precision AS running
                    FROM usage_summary AS summary
                    WHERE summary.day = usage_day(midnight) AND summary.dimension = by_dimension
                ) AS one
                WHERE one.users > 0 AND one.moment IS NOT NULL
                ORDER BY 1;
            END LOOP;
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION usage_over_time IS
    'Distinct users, seconds and the average number of running servers by bucket, Hub, and one of '
    'hub (value is NULL), node, image, profile, gpus; by bucket, and nothing where nobody was. '
    'A bucket has the moment at which it would begin if since did not cut it.';

CREATE FUNCTION active_users_over_time(since timestamptz, until timestamptz, step interval)
    RETURNS TABLE (bucket timestamptz, hub text, users bigint) LANGUAGE sql STABLE AS $$
    SELECT counted.bucket, counted.hub, counted.users
    FROM usage_over_time(since, until, step) AS counted
$$;

CREATE FUNCTION running_servers_over_time(since timestamptz, until timestamptz, step interval)
    RETURNS TABLE (bucket timestamptz, hub text, servers double precision)
    LANGUAGE sql STABLE AS $$
    SELECT counted.bucket, counted.hub, counted.servers
    FROM usage_over_time(since, until, step) AS counted
$$;

CREATE FUNCTION nodes_over_time(since timestamptz, until timestamptz, step interval)
    RETURNS TABLE (
        bucket timestamptz, hub text, node text, users bigint, servers double precision)
    LANGUAGE sql STABLE AS $$
    SELECT counted.bucket, counted.hub, counted.value, counted.users, counted.servers
    FROM usage_over_time(since, until, step, 'node') AS counted
$$;

CREATE FUNCTION images_over_time(since timestamptz, until timestamptz, step interval)
    RETURNS TABLE (
        bucket timestamptz, hub text, image text, users bigint, servers double precision)
    LANGUAGE sql STABLE AS $$
    SELECT counted.bucket, counted.hub, counted.value, counted.users, counted.servers
    FROM usage_over_time(since, until, step, 'image') AS counted
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
