-- Counted hours take a row for each hour and Hub, with what they say in arrays, instead of a row
-- for each node and image: a third of the bytes, and few rows to find and to name a Hub of.

CREATE TABLE hourly_node_counts (
    hour             timestamptz NOT NULL,
    hub_id           integer NOT NULL,
    node_ids         integer[] NOT NULL,
    unique_users     integer[] NOT NULL,
    total_containers integer[] NOT NULL,
    avg_age_seconds  numeric(16, 6)[] NOT NULL
);

COMMENT ON TABLE hourly_node_counts IS
    'Counted hours of hourly_node_stats: arrays of equal length, an entry for each node.';

CREATE TABLE hourly_image_counts (
    hour             timestamptz NOT NULL,
    hub_id           integer NOT NULL,
    description_ids  integer[] NOT NULL,
    unique_users     integer[] NOT NULL,
    total_containers integer[] NOT NULL
);

COMMENT ON TABLE hourly_image_counts IS
    'Counted hours of hourly_image_stats: arrays of equal length, an entry for each image.';
COMMENT ON COLUMN hourly_image_counts.description_ids IS
    'Of each one of the descriptions with its base and version.';

INSERT INTO hourly_node_counts (
    hour, hub_id, node_ids, unique_users, total_containers, avg_age_seconds)
SELECT
    hour,
    hub_id,
    array_agg(node_id ORDER BY node_id),
    array_agg(unique_users ORDER BY node_id),
    array_agg(total_containers ORDER BY node_id),
    array_agg(avg_age_seconds::numeric ORDER BY node_id)
FROM hourly_node_rows
GROUP BY hour, hub_id
ORDER BY hour, hub_id;

INSERT INTO hourly_image_counts (hour, hub_id, description_ids, unique_users, total_containers)
SELECT
    hour,
    hub_id,
    array_agg(description_id ORDER BY description_id),
    array_agg(unique_users ORDER BY description_id),
    array_agg(total_containers ORDER BY description_id)
FROM hourly_image_rows
GROUP BY hour, hub_id
ORDER BY hour, hub_id;

CREATE INDEX hourly_node_counts_hour ON hourly_node_counts (hour);
CREATE INDEX hourly_image_counts_hour ON hourly_image_counts (hour);

CREATE FUNCTION hourly_present(hours timestamptz[]) RETURNS TABLE (
    hour timestamptz, hub text, account_id integer, server_id integer, description_id integer,
    node_id integer, seconds double precision, age_seconds double precision)
    LANGUAGE sql STABLE AS $$
    SELECT
        hour,
        servers.hub,
        servers.account_id,
        session.server_id,
        session.description_id,
        session.node_id,
        extract(epoch FROM present.until - present.since)::double precision,
        extract(epoch FROM (present.since - session.started_at)
            + (present.until - present.since) / 2)::double precision
    FROM unnest(hours) AS hour
    CROSS JOIN LATERAL sessions_overlapping(hour, hour + interval '1 hour') AS session
    CROSS JOIN LATERAL (
        SELECT
            greatest(session.started_at, hour) AS since,
            least(session.ended_at, hour + interval '1 hour', now()) AS until
        OFFSET 0
    ) AS present
    -- one by one: they are as many as sessions of the hour, whatever the number of servers
    CROSS JOIN LATERAL (
        SELECT servers.hub, servers.account_id FROM servers WHERE id = session.server_id OFFSET 0
    ) AS servers
    WHERE session.state IN ('running', 'ended') AND present.since < present.until
$$;

COMMENT ON FUNCTION hourly_present IS
    'Who ran what in these hours, for how many seconds, and how old it was on average.';

-- The views below ask for one hour after another, and each time for the same: it is planned once
-- for all of a connection.
CREATE OR REPLACE FUNCTION hourly_nodes(hours timestamptz[]) RETURNS TABLE (
    hour timestamptz, hub text, node_id integer, unique_users integer, total_containers integer,
    avg_age_seconds double precision)
    LANGUAGE plpgsql STABLE ROWS 50 SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        hour, hub, node_id,
        count(DISTINCT account_id)::integer,
        count(DISTINCT server_id)::integer,
        sum(age_seconds * seconds) / sum(seconds)
    FROM hourly_present(hours)
    GROUP BY hour, hub, node_id;
END
$$;

CREATE OR REPLACE FUNCTION hourly_images(hours timestamptz[]) RETURNS TABLE (
    hour timestamptz, hub text, description_id integer, unique_users integer,
    total_containers integer)
    LANGUAGE plpgsql STABLE ROWS 100 SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        hour, hub,
        min(description_id),
        count(DISTINCT account_id)::integer,
        count(DISTINCT server_id)::integer
    FROM hourly_present(hours)
    JOIN container_kinds USING (description_id)
    GROUP BY hour, hub, container_base, container_version;
END
$$;

-- Hour and Hub are columns below the arrays, so that conditions on them reach the table; hours that
-- are not counted are asked for one by one, so that none is that the question leaves out.
CREATE OR REPLACE VIEW hourly_node_stats AS
SELECT
    counted.hour,
    node.word AS node_name,
    counted.unique_users::bigint AS unique_users,
    counted.total_containers::bigint AS total_containers,
    counted.avg_age_seconds,
    counted.hub
FROM (
    SELECT
        hour,
        hub.word AS hub,
        unnest(node_ids) AS node_id,
        unnest(unique_users) AS unique_users,
        unnest(total_containers) AS total_containers,
        unnest(avg_age_seconds) AS avg_age_seconds
    FROM hourly_node_counts
    LEFT JOIN words AS hub ON hub.id = hub_id
    WHERE hour <> ALL (ARRAY(SELECT hour FROM hourly_changed))
    UNION ALL
    SELECT
        uncounted.hour, live.hub, live.node_id, live.unique_users, live.total_containers,
        live.avg_age_seconds::numeric(16, 6)
    FROM hourly_uncounted AS uncounted
    CROSS JOIN LATERAL hourly_nodes(ARRAY[uncounted.hour]) AS live
) AS counted
LEFT JOIN words AS node ON node.id = counted.node_id;

CREATE OR REPLACE VIEW hourly_image_stats AS
SELECT
    counted.hour,
    container_kinds.container_base,
    container_kinds.container_version,
    counted.unique_users::bigint AS unique_users,
    counted.total_containers::bigint AS total_containers,
    counted.hub
FROM (
    SELECT
        hour,
        hub.word AS hub,
        unnest(description_ids) AS description_id,
        unnest(unique_users) AS unique_users,
        unnest(total_containers) AS total_containers
    FROM hourly_image_counts
    LEFT JOIN words AS hub ON hub.id = hub_id
    WHERE hour <> ALL (ARRAY(SELECT hour FROM hourly_changed))
    UNION ALL
    SELECT
        uncounted.hour, live.hub, live.description_id, live.unique_users, live.total_containers
    FROM hourly_uncounted AS uncounted
    CROSS JOIN LATERAL hourly_images(ARRAY[uncounted.hour]) AS live
) AS counted
LEFT JOIN container_kinds ON container_kinds.description_id = counted.description_id;

DROP FUNCTION hourly_presence(timestamptz[]);
-- One by one, as TimescaleDB wants it.
DROP TABLE hourly_node_rows;
DROP TABLE hourly_image_rows;

CREATE OR REPLACE FUNCTION hourly_count(before_hour timestamptz, at_most integer) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    counting timestamptz[];
    forgotten text;
BEGIN
    PERFORM pg_advisory_xact_lock(7236280, 3);
    SELECT array_agg(hour) INTO counting
    FROM (
        SELECT hour
        FROM hourly_uncounted
        WHERE hour + interval '1 hour' <= least(before_hour, now())
        ORDER BY hour
        LIMIT at_most
    ) AS next_hours;
    IF counting IS NULL THEN
        RETURN 0;
    END IF;

    INSERT INTO words (word)
    SELECT DISTINCT hub FROM servers
    WHERE NOT EXISTS (SELECT FROM words WHERE word = hub)
    ORDER BY hub
    ON CONFLICT DO NOTHING;

    FOREACH forgotten IN ARRAY '{hourly_node_counts,hourly_image_counts}'::text[] LOOP
        EXECUTE format(
            'DELETE FROM %I WHERE hour = ANY ($1) AND hour >= %L AND hour <= %L',
            forgotten, counting[1], counting[cardinality(counting)])
        USING counting;
    END LOOP;
    INSERT INTO hourly_node_counts (
        hour, hub_id, node_ids, unique_users, total_containers, avg_age_seconds)
    SELECT
        hour,
        hub.id,
        array_agg(node_id ORDER BY node_id),
        array_agg(unique_users ORDER BY node_id),
        array_agg(total_containers ORDER BY node_id),
        array_agg(avg_age_seconds::numeric ORDER BY node_id)
    FROM hourly_nodes(counting) AS counted
    JOIN words AS hub ON hub.word = counted.hub
    GROUP BY hour, hub.id
    ORDER BY hour, hub.id;
    INSERT INTO hourly_image_counts (
        hour, hub_id, description_ids, unique_users, total_containers)
    SELECT
        hour,
        hub.id,
        array_agg(description_id ORDER BY description_id),
        array_agg(unique_users ORDER BY description_id),
        array_agg(total_containers ORDER BY description_id)
    FROM hourly_images(counting) AS counted
    JOIN words AS hub ON hub.word = counted.hub
    GROUP BY hour, hub.id
    ORDER BY hour, hub.id;

    DELETE FROM hourly_changed WHERE hour = ANY (counting);
    UPDATE hourly_counted
    SET before = greatest(before, counting[cardinality(counting)] + interval '1 hour');
    RETURN cardinality(counting);
END
$$;
