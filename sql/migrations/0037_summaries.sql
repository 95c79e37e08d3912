-- A summary of a day in two thirds of the time: users are counted by hour in one pass over those who
-- had a server, not over 25 rows of each.
CREATE OR REPLACE FUNCTION usage_summary_of(summed_day date, by_dimension text)
    RETURNS SETOF usage_summary LANGUAGE sql STABLE AS $$
    WITH served AS MATERIALIZED (
        SELECT
            servers.hub,
            servers.username,
            CASE by_dimension
                WHEN 'node' THEN node.word
                WHEN 'image' THEN descriptions.image
                WHEN 'profile' THEN descriptions.profile
                WHEN 'gpus' THEN descriptions.gpus::text
            END AS value,
            usage.hours
        FROM usage_days AS usage
        JOIN servers ON servers.id = usage.server_id
        JOIN descriptions ON descriptions.id = usage.description_id
        LEFT JOIN words AS node ON node.id = usage.node_id
        WHERE usage.day = summed_day AND usage.running_microseconds > 0
    ),
    -- a bit for each hour in which a user had a server
    by_user AS (
        SELECT hub, value, bit_or(present) AS present
        FROM served
        CROSS JOIN LATERAL (
            SELECT bit_or(1 << (amount & 31)::integer) AS present
            FROM unnest(hours) AS amount
            WHERE amount & 224 = 0
        ) AS mask
        GROUP BY hub, value, username
    ),
    users AS MATERIALIZED (
        SELECT hub, value, count(*)::integer AS of_day, ARRAY[
            count(*) FILTER (WHERE present & (1 << 0) <> 0),
            count(*) FILTER (WHERE present & (1 << 1) <> 0),
            count(*) FILTER (WHERE present & (1 << 2) <> 0),
            count(*) FILTER (WHERE present & (1 << 3) <> 0),
            count(*) FILTER (WHERE present & (1 << 4) <> 0),
            count(*) FILTER (WHERE present & (1 << 5) <> 0),
            count(*) FILTER (WHERE present & (1 << 6) <> 0),
            count(*) FILTER (WHERE present & (1 << 7) <> 0),
            count(*) FILTER (WHERE present & (1 << 8) <> 0),
            count(*) FILTER (WHERE present & (1 << 9) <> 0),
            count(*) FILTER (WHERE present & (1 << 10) <> 0),
            count(*) FILTER (WHERE present & (1 << 11) <> 0),
            count(*) FILTER (WHERE present & (1 << 12) <> 0),
            count(*) FILTER (WHERE present & (1 << 13) <> 0),
            count(*) FILTER (WHERE present & (1 << 14) <> 0),
            count(*) FILTER (WHERE present & (1 << 15) <> 0),
            count(*) FILTER (WHERE present & (1 << 16) <> 0),
            count(*) FILTER (WHERE present & (1 << 17) <> 0),
            count(*) FILTER (WHERE present & (1 << 18) <> 0),
            count(*) FILTER (WHERE present & (1 << 19) <> 0),
            count(*) FILTER (WHERE present & (1 << 20) <> 0),
            count(*) FILTER (WHERE present & (1 << 21) <> 0),
            count(*) FILTER (WHERE present & (1 << 22) <> 0),
            count(*) FILTER (WHERE present & (1 << 23) <> 0)
        ]::integer[] AS of_hours
        FROM by_user
        GROUP BY hub, value
    ),
    running AS (
        SELECT
            hub, value, sum(running)::bigint AS of_day,
            array_agg(running ORDER BY hour) AS of_hours
        FROM (
            SELECT hub, value, hour, sum(running)::bigint AS running
            FROM (
                SELECT hub, value, amount & 31 AS hour, amount >> 8 AS running
                FROM served
                CROSS JOIN LATERAL unnest(hours) AS amount
                WHERE amount & 224 = 0
                UNION ALL
                SELECT hub, value, hour, 0 FROM users CROSS JOIN generate_series(0, 23) AS hour
            ) AS parts
            GROUP BY hub, value, hour
        ) AS by_hour
        GROUP BY hub, value
    )
    SELECT
        summed_day, users.hub, by_dimension, users.value,
        users.of_day, running.of_day, users.of_hours, running.of_hours
    FROM users
    -- two that can be hashed say what IS NOT DISTINCT FROM does
    JOIN running ON running.hub = users.hub
        AND coalesce(running.value, '') = coalesce(users.value, '')
        AND (running.value IS NULL) = (users.value IS NULL)
$$;
