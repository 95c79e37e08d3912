-- Usage over time in fewer steps: what is summarised is added up, and only the rest is counted.

-- Where summaries say all: whole buckets of hours or days that are closed, and not due.
CREATE FUNCTION usage_summarised(
    since timestamptz, until timestamptz, bounds timestamptz[], step interval, by_dimension text
) RETURNS tstzmultirange LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT tstzmultirange(tstzrange(first_whole, greatest(first_whole, last_whole)))
            - coalesce((
                SELECT range_agg(tstzrange(usage_midnight(due.day), usage_midnight(due.day + 1)))
                FROM usage_due AS due
                WHERE due.dimension = by_dimension), '{}')
        FROM usage_closed
        CROSS JOIN (
            SELECT CASE step WHEN interval '1 hour' THEN 'hour' WHEN interval '1 day' THEN 'day' END
                AS unit
        ) AS known
        CROSS JOIN LATERAL (
            SELECT
                CASE WHEN bounds[1] = since THEN since ELSE bounds[2] END AS first_whole,
                least(
                    CASE WHEN date_trunc(unit, until, 'UTC') = until THEN until
                        ELSE bounds[cardinality(bounds)] END,
                    usage_midnight(before)) AS last_whole
        ) AS whole
        WHERE unit IS NOT NULL AND first_whole < last_whole
            -- in a zone that is not whole hours, or days, from UTC, none
            AND NOT EXISTS (
                SELECT FROM unnest(bounds) AS moment
                WHERE moment <> date_trunc(unit, moment, 'UTC'))
    ), '{}')
$$;

COMMENT ON FUNCTION usage_summarised IS
    'The stretches of [since, until), which is over, that usage_summary tells of in whole buckets.';

DROP FUNCTION usage_sweep;

-- Counting up and down over starts and ends: what it costs is the number of sessions, not of the
-- buckets that each of them covers. By numbers for as long as possible: names are long to compare.
-- moments are the beginnings of buckets in order, the first at or before since; clocks the same by
-- usage_clock, the first not before since, and the end of the last; [since, until) is whole buckets.
CREATE FUNCTION usage_sweep(
    since timestamptz, until timestamptz, moments timestamptz[], clocks bigint[],
    widths double precision[], by_dimension text, added_up_of text[] DEFAULT NULL
) RETURNS TABLE (
    bucket timestamptz, hub text, value text, users bigint, seconds double precision,
    servers double precision)
    LANGUAGE sql STABLE AS $$
    WITH RECURSIVE every_hub AS (
        -- one look into an index for each
        (SELECT servers.hub FROM servers ORDER BY servers.hub LIMIT 1)
        UNION ALL
        SELECT (
            SELECT servers.hub FROM servers WHERE servers.hub > before.hub
            ORDER BY servers.hub LIMIT 1)
        FROM every_hub AS before
        WHERE before.hub IS NOT NULL
    ),
    hubs AS MATERIALIZED (
        SELECT
            every_hub.hub,
            CASE WHEN added_up_of IS NULL OR by_dimension = 'hub'
                THEN row_number() OVER () << 32 ELSE 0 END AS hub_key
        FROM every_hub
        WHERE every_hub.hub IS NOT NULL
            AND (added_up_of IS NULL OR every_hub.hub = ANY (added_up_of))
    ),
    -- selected, an array is as width_bucket wants it; as a variable it would be copied each time
    found AS (
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
            WHEN 'image' THEN image WHEN 'image_base' THEN image_base(image)
            WHEN 'profile' THEN profile WHEN 'gpus' THEN gpus::text END
        FROM descriptions
        WHERE by_dimension NOT IN ('hub', 'node')
    ),
    -- descriptions that say the same of the dimension are one
    things AS MATERIALIZED (
        SELECT id, min(id) OVER (PARTITION BY value) AS first_id
        FROM names
        WHERE by_dimension NOT IN ('hub', 'node')
    ),
    served AS (
        SELECT
            hub_key + coalesce(
                CASE WHEN by_dimension IN ('hub', 'node') THEN thing_id ELSE first_id END, 0)
                AS thing_key,
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
    -- Up where one begins, down where one ends; who leaves was still there in that bucket. Numbers
    -- in doubles, which are quicker to add up and exact up to 285 years of microseconds.
    turns AS (
        SELECT
            thing_key, first_bucket AS bucket, 1::double precision AS servers,
            (clocks[first_bucket + 1] - begins)::double precision AS running,
            (new_bucket = first_bucket)::integer::double precision AS users,
            0::double precision AS leaving
        FROM counted
        UNION ALL
        SELECT
            thing_key, last_bucket, -1, ends - clocks[last_bucket + 1],
            -(new_bucket <= last_bucket)::integer, (new_bucket <= last_bucket)::integer
        FROM counted
        UNION ALL
        SELECT thing_key, new_bucket, 0, 0, 1, 0
        FROM counted
        WHERE new_bucket > first_bucket AND new_bucket <= last_bucket
        UNION ALL
        SELECT DISTINCT thing_key, width_bucket(usage_clock(since), clocks), 0, 0, 0, 0
        FROM counted
        WHERE added_up_of IS NOT NULL
    ),
    steps AS (
        SELECT
            thing_key,
            turns.bucket,
            sum(turns.running) AS running,
            sum(turns.servers) AS change,
            sum(turns.leaving) AS leaving,
            sum(sum(turns.users)) OVER along AS users,
            sum(sum(turns.servers)) OVER along AS servers,
            coalesce(
                lead(turns.bucket) OVER along, width_bucket(usage_clock(until) - 1, clocks) + 1)
                AS next_bucket
        FROM turns
        GROUP BY thing_key, turns.bucket
        WINDOW along AS (PARTITION BY thing_key ORDER BY turns.bucket)
    )
    SELECT
        moments[filled],
        named.hub,
        CASE WHEN added_up_of IS NOT NULL AND by_dimension = 'hub' THEN named.hub
            ELSE named.value END,
        CASE WHEN filled = named.bucket THEN named.users + leaving ELSE named.users END::bigint,
        CASE WHEN filled = named.bucket
            THEN (named.servers - change) * widths[filled] + running
            ELSE named.servers * widths[filled] END / 1000000,
        CASE WHEN filled = named.bucket
            THEN named.servers - change + running / widths[filled]
            ELSE named.servers END
    FROM (
        SELECT
            hubs.hub, names.value, steps.users, leaving, steps.servers, change, running,
            steps.bucket,
            generate_series(
                steps.bucket,
                CASE WHEN steps.users > 0 OR added_up_of IS NOT NULL THEN next_bucket - 1
                    ELSE steps.bucket END) AS filled
        FROM steps
        LEFT JOIN hubs ON hubs.hub_key = thing_key & -4294967296 AND hubs.hub_key > 0
        LEFT JOIN names ON names.id = thing_key & 4294967295
    ) AS named
$$;

COMMENT ON FUNCTION usage_sweep IS
    'Distinct users, seconds and average servers of each bucket, from sessions, in no order. Where '
    'added_up_of tells Hubs, of all of these together, buckets with nobody too.';

-- In plpgsql, so that they are planned once.
CREATE FUNCTION usage_clocks(
    since timestamptz, until timestamptz, bounds timestamptz[],
    OUT clocks bigint[], OUT widths double precision[]
) LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    clocks := ARRAY(
        SELECT usage_clock(greatest(moment, since)) FROM unnest(bounds || until) AS moment);
    widths := ARRAY(
        SELECT clocks[place + 1] - clocks[place]
        FROM generate_series(1, cardinality(bounds)) AS place);
END
$$;

COMMENT ON FUNCTION usage_clocks IS
    'usage_clock of each bound within [since, until) and of until, and how long each bucket is.';

-- Planned once: with the bounds in the plan, planning takes longer than counting. The memory is
-- what the planner thinks that it takes: with less it would sort and count in files.
CREATE OR REPLACE FUNCTION usage_over_time(
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
    summarised tstzmultirange;
    stretch tstzrange;
BEGIN
    IF since >= ends THEN
        RETURN;
    END IF;
    bounds := usage_bounds(since, ends, step, zone);
    summarised := usage_summarised(since, ends, bounds, step, by_dimension);
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
                SELECT * INTO clocks, widths FROM usage_clocks(since, ends, bounds);
            END IF;
            RETURN QUERY
            SELECT *
            FROM usage_sweep(lower(stretch), upper(stretch), bounds, clocks, widths, by_dimension)
            ORDER BY 1;
        ELSIF step = interval '1 day' THEN
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
