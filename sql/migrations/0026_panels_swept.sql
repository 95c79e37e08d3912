-- Panels over time: summaries are added up as arrays, and only what is drawn is counted.

CREATE FUNCTION panel_summaries(
    first_day date, last_day date, step interval, by_dimension text, hubs text[]
) RETURNS TABLE (
    day date, label text, users double precision[], running double precision[])
    LANGUAGE plpgsql STABLE ROWS 1000 AS $$
DECLARE
    kept_as text := CASE by_dimension WHEN 'image_base' THEN 'image' ELSE by_dimension END;
BEGIN
    IF step = interval '1 day' THEN
        RETURN QUERY
        WITH bases AS MATERIALIZED (
            SELECT DISTINCT image, image_base(image) AS base
            FROM descriptions
            WHERE by_dimension = 'image_base'
        )
        SELECT
            summary.day,
            CASE by_dimension WHEN 'hub' THEN summary.hub WHEN 'image_base' THEN bases.base
                ELSE summary.value END,
            ARRAY[sum(summary.users::double precision)],
            ARRAY[sum(running_microseconds::double precision)]
        FROM usage_summary AS summary
        LEFT JOIN bases ON bases.image = summary.value
        WHERE summary.day >= first_day AND summary.day <= last_day
            AND summary.dimension = kept_as AND summary.hub = ANY (hubs)
        GROUP BY 1, 2;
        RETURN;
    END IF;
    -- a sum for each hour is far cheaper than a row for each hour
    RETURN QUERY
    WITH bases AS MATERIALIZED (
        SELECT DISTINCT image, image_base(image) AS base
        FROM descriptions
        WHERE by_dimension = 'image_base'
    )
    SELECT
        kept.day, kept.label,
        ARRAY[
            sum(n[1]), sum(n[2]), sum(n[3]), sum(n[4]), sum(n[5]), sum(n[6]), sum(n[7]), sum(n[8]),
            sum(n[9]), sum(n[10]), sum(n[11]), sum(n[12]), sum(n[13]), sum(n[14]), sum(n[15]),
            sum(n[16]), sum(n[17]), sum(n[18]), sum(n[19]), sum(n[20]), sum(n[21]), sum(n[22]),
            sum(n[23]), sum(n[24])],
        ARRAY[
            sum(m[1]), sum(m[2]), sum(m[3]), sum(m[4]), sum(m[5]), sum(m[6]), sum(m[7]), sum(m[8]),
            sum(m[9]), sum(m[10]), sum(m[11]), sum(m[12]), sum(m[13]), sum(m[14]), sum(m[15]),
            sum(m[16]), sum(m[17]), sum(m[18]), sum(m[19]), sum(m[20]), sum(m[21]), sum(m[22]),
            sum(m[23]), sum(m[24])]
    FROM (
        SELECT
            summary.day,
            CASE by_dimension WHEN 'hub' THEN summary.hub WHEN 'image_base' THEN bases.base
                ELSE summary.value END AS label,
            hour_users::double precision[] AS n, hour_microseconds::double precision[] AS m
        FROM usage_summary AS summary
        LEFT JOIN bases ON bases.image = summary.value
        WHERE summary.day >= first_day AND summary.day <= last_day
            AND summary.dimension = kept_as AND summary.hub = ANY (hubs)
        OFFSET 0
    ) AS kept
    GROUP BY kept.day, kept.label;
END
$$;

COMMENT ON FUNCTION panel_summaries IS
    'Users and microseconds of the days from the first to the last, of the day or of each hour, '
    'added up over Hubs. Of image_base, a user of two versions at once is two users.';

-- A function of its own, so that the planner expects few: none where all is summarised.
CREATE FUNCTION panel_swept(
    rests tstzmultirange, bounds timestamptz[], clocks bigint[], widths double precision[],
    by_dimension text, hubs text[]
) RETURNS TABLE (
    bucket timestamptz, value text, users bigint, seconds double precision,
    servers double precision)
    LANGUAGE plpgsql STABLE ROWS 1000 AS $$
DECLARE
    rest tstzrange;
BEGIN
    FOR rest IN SELECT unnest(rests) LOOP
        RETURN QUERY
        SELECT swept.bucket, swept.value, swept.users, swept.seconds, swept.servers
        FROM usage_sweep(
            lower(rest), upper(rest), bounds, clocks, widths, by_dimension, hubs) AS swept;
    END LOOP;
END
$$;

COMMENT ON FUNCTION panel_swept IS 'usage_sweep of Hubs together, stretch by stretch.';

-- usage_over_time with its empty buckets: without them a line would cross a night as if it had
-- been busy. by_dimension is one of its own, or image_base.
CREATE OR REPLACE FUNCTION panel_over_time(
    since timestamptz, until timestamptz, by_dimension text, hubs text[]
) RETURNS TABLE (
    moment timestamptz, value text, users bigint, servers double precision,
    hours double precision)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET work_mem = '64MB' AS $$
DECLARE
    step interval := panel_step(since, until);
    ends timestamptz := least(until, now());
    bounds timestamptz[];
    clocks bigint[];
    widths double precision[];
    summarised tstzmultirange;
BEGIN
    IF since >= ends THEN
        RETURN;
    END IF;
    bounds := usage_bounds(since, ends, step, 'UTC');
    SELECT * INTO clocks, widths FROM usage_clocks(since, ends, bounds);
    summarised := usage_summarised(
        since, ends, bounds, step,
        CASE by_dimension WHEN 'image_base' THEN 'image' ELSE by_dimension END);
    IF isempty(summarised) THEN
        RETURN QUERY
        SELECT
            greatest(swept.bucket, since), swept.value, swept.users, swept.servers,
            swept.seconds / 3600
        FROM usage_sweep(since, ends, bounds, clocks, widths, by_dimension, hubs) AS swept;
        RETURN;
    END IF;
    RETURN QUERY
    WITH swept AS MATERIALIZED (
        SELECT * FROM panel_swept(
            tstzmultirange(tstzrange(since, ends)) - summarised, bounds, clocks, widths,
            by_dimension, hubs)
    ),
    buckets AS MATERIALIZED (
        SELECT
            begins, clocks_place, begins <@ summarised AS kept, usage_day(begins) AS day,
            CASE step WHEN interval '1 day' THEN 1
                ELSE extract(hour FROM begins AT TIME ZONE 'UTC')::integer + 1 END AS place
        FROM unnest(bounds) WITH ORDINALITY AS bounds (begins, clocks_place)
    ),
    days AS MATERIALIZED (
        SELECT buckets.day, min(place) AS first_place, max(place) AS last_place
        FROM buckets
        WHERE kept
        GROUP BY buckets.day
    ),
    -- what was there in an hour that is asked for
    summed AS MATERIALIZED (
        SELECT summaries.*
        FROM panel_summaries(
            (SELECT min(days.day) FROM days), (SELECT max(days.day) FROM days), step,
            by_dimension, hubs) AS summaries
        JOIN days ON days.day = summaries.day
        WHERE cardinality(summaries.users) = last_place - first_place + 1
            OR EXISTS (
                SELECT FROM unnest(summaries.users[first_place:last_place]) AS present
                WHERE present > 0)
    ),
    labels AS MATERIALIZED (
        SELECT summed.label FROM summed
        UNION
        SELECT swept.value FROM swept
    ),
    filled AS (
        SELECT days.day, labels.label, summed.users, summed.running
        FROM days
        CROSS JOIN labels
        LEFT JOIN summed ON summed.day = days.day
            AND coalesce(summed.label, '') = coalesce(labels.label, '')
    )
    SELECT
        begins, filled.label, coalesce(filled.users[place], 0)::bigint,
        coalesce(filled.running[place], 0) / widths[clocks_place],
        coalesce(filled.running[place], 0) / 3600000000
    FROM buckets
    JOIN filled ON filled.day = buckets.day
    WHERE kept
    UNION ALL
    SELECT
        greatest(begins, since), labels.label, coalesce(swept.users, 0),
        coalesce(swept.servers, 0), coalesce(swept.seconds, 0) / 3600
    FROM buckets
    CROSS JOIN labels
    LEFT JOIN swept ON swept.bucket = begins
        AND coalesce(swept.value, '') = coalesce(labels.label, '')
    WHERE NOT kept;
END
$$;

COMMENT ON FUNCTION panel_over_time IS
    'Users, average running servers and hours, of each value in each bucket of panel_step, zeros '
    'too. Of image_base, a user of two versions in a bucket may be two users.';
