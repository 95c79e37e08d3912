-- hourly_node_stats and hourly_image_stats: hours that are counted are stored, all others are
-- counted when read. A change to sessions of a counted hour notes the hour, in the same
-- transaction, so that it is read from sessions until upkeep has counted it again.

CREATE TABLE hourly_node_rows (
    hour             timestamptz NOT NULL,
    avg_age_seconds  double precision NOT NULL,
    hub_id           integer NOT NULL,
    node_id          integer,
    unique_users     integer NOT NULL,
    total_containers integer NOT NULL
);

CREATE INDEX hourly_node_rows_hour ON hourly_node_rows (hour);

COMMENT ON TABLE hourly_node_rows IS 'Counted hours of hourly_node_stats.';

CREATE TABLE hourly_image_rows (
    hour             timestamptz NOT NULL,
    hub_id           integer NOT NULL,
    description_id   integer NOT NULL,
    unique_users     integer NOT NULL,
    total_containers integer NOT NULL
);

CREATE INDEX hourly_image_rows_hour ON hourly_image_rows (hour);

COMMENT ON TABLE hourly_image_rows IS 'Counted hours of hourly_image_stats.';
COMMENT ON COLUMN hourly_image_rows.description_id IS
    'One of the descriptions with this base and version.';

CREATE TABLE hourly_counted (
    before timestamptz NOT NULL
);

CREATE UNIQUE INDEX hourly_counted_once ON hourly_counted ((true));
INSERT INTO hourly_counted VALUES ('-infinity');

COMMENT ON TABLE hourly_counted IS 'Hours before this one are counted. Never after now.';

-- No key: those who note the same hour at once must not wait for one another.
CREATE TABLE hourly_changed (
    hour timestamptz NOT NULL
);

COMMENT ON TABLE hourly_changed IS 'Counted hours whose sessions have changed since.';

CREATE VIEW hourly_uncounted AS
SELECT hour FROM hourly_changed
UNION
SELECT generate_series(
    greatest(
        before,
        date_trunc('hour', coalesce((SELECT min(started_at) FROM session_rows), now()), 'UTC')),
    now(), interval '1 hour')
FROM hourly_counted;

COMMENT ON VIEW hourly_uncounted IS 'Hours that must be counted when read; the last one is now.';

CREATE FUNCTION hourly_presence(hours timestamptz[]) RETURNS TABLE (
    hour timestamptz, hub text, username text, server_id integer, description_id integer,
    node_id integer, seconds double precision, age_seconds double precision)
    LANGUAGE sql STABLE AS $$
    SELECT
        hour,
        servers.hub,
        servers.username,
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
    JOIN servers ON servers.id = session.server_id
    WHERE session.state IN ('running', 'ended') AND present.since < present.until
$$;

COMMENT ON FUNCTION hourly_presence IS
    'Who ran what in these hours, for how many seconds, and how old it was on average.';

-- As their owner: who may read the views below need not be allowed to read sessions.
CREATE FUNCTION hourly_nodes(hours timestamptz[]) RETURNS TABLE (
    hour timestamptz, hub text, node_id integer, unique_users integer, total_containers integer,
    avg_age_seconds double precision)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT
        hour, hub, node_id,
        count(DISTINCT username)::integer,
        count(DISTINCT server_id)::integer,
        sum(age_seconds * seconds) / sum(seconds)
    FROM hourly_presence(hours)
    GROUP BY hour, hub, node_id
$$;

CREATE FUNCTION hourly_images(hours timestamptz[]) RETURNS TABLE (
    hour timestamptz, hub text, description_id integer, unique_users integer,
    total_containers integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT
        hour, hub,
        min(description_id),
        count(DISTINCT username)::integer,
        count(DISTINCT server_id)::integer
    FROM hourly_presence(hours)
    JOIN container_kinds USING (description_id)
    GROUP BY hour, hub, container_base, container_version
$$;

CREATE VIEW hourly_node_stats AS
SELECT
    counted.hour,
    node.word AS node_name,
    counted.unique_users::bigint AS unique_users,
    counted.total_containers::bigint AS total_containers,
    counted.avg_age_seconds::numeric AS avg_age_seconds,
    counted.hub
FROM (
    SELECT hour, hub.word AS hub, node_id, unique_users, total_containers, avg_age_seconds
    FROM hourly_node_rows
    LEFT JOIN words AS hub ON hub.id = hub_id
    WHERE hour <> ALL (ARRAY(SELECT hour FROM hourly_changed))
    UNION ALL
    SELECT live.*
    FROM (SELECT array_agg(hour) AS hours FROM hourly_uncounted) AS uncounted
    CROSS JOIN LATERAL hourly_nodes(uncounted.hours) AS live
) AS counted
LEFT JOIN words AS node ON node.id = counted.node_id;

COMMENT ON VIEW hourly_node_stats IS
    'Who was on each node in each hour, at any moment of it; this hour until now.';
COMMENT ON COLUMN hourly_node_stats.total_containers IS
    'Pods; where servers are not pods, servers.';
COMMENT ON COLUMN hourly_node_stats.avg_age_seconds IS
    'Of what ran, over every moment that it ran in this hour.';

CREATE VIEW hourly_image_stats AS
SELECT
    counted.hour,
    container_kinds.container_base,
    container_kinds.container_version,
    counted.unique_users::bigint AS unique_users,
    counted.total_containers::bigint AS total_containers,
    counted.hub
FROM (
    SELECT hour, hub.word AS hub, description_id, unique_users, total_containers
    FROM hourly_image_rows
    LEFT JOIN words AS hub ON hub.id = hub_id
    WHERE hour <> ALL (ARRAY(SELECT hour FROM hourly_changed))
    UNION ALL
    SELECT live.*
    FROM (SELECT array_agg(hour) AS hours FROM hourly_uncounted) AS uncounted
    CROSS JOIN LATERAL hourly_images(uncounted.hours) AS live
) AS counted
LEFT JOIN container_kinds ON container_kinds.description_id = counted.description_id;

COMMENT ON VIEW hourly_image_stats IS
    'Who used each image in each hour, at any moment of it; this hour until now.';

CREATE FUNCTION hourly_note(spans tstzrange[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    counted_before timestamptz;
BEGIN
    PERFORM usage_lock_shared();
    SELECT before INTO counted_before FROM hourly_counted;
    INSERT INTO hourly_changed (hour)
    SELECT DISTINCT generate_series(
        date_trunc('hour', lower(span), 'UTC'),
        least(upper(span), counted_before) - interval '1 microsecond', interval '1 hour')
    FROM unnest(spans) AS span
    WHERE lower(span) < counted_before;
END
$$;

COMMENT ON FUNCTION hourly_note IS 'Notes the counted hours that lie in these spans.';

-- Called by session_refold, as usage_follow is, and by the same rule: an end that comes or moves
-- changes no hour before it, because what was open counted as running.
CREATE FUNCTION hourly_follow(before ended_sessions[], after ended_sessions[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    changed tstzrange[];
BEGIN
    SELECT array_agg(span) INTO changed
    FROM (
        SELECT
            old.server_id IS NOT NULL AND old.state IN ('running', 'ended') AS old_counts,
            new.state IN ('running', 'ended') AS new_counts,
            (old.server_id, old.description_id, old.node_id, old.started_at)
                IS NOT DISTINCT FROM
                (new.server_id, new.description_id, new.node_id, new.started_at) AS alike,
            old.started_at AS old_start,
            new.started_at AS new_start,
            coalesce(old.ended_at, 'infinity') AS old_end,
            coalesce(new.ended_at, 'infinity') AS new_end
        FROM unnest(after) AS new
        LEFT JOIN unnest(before) AS old ON old.id = new.id
    ) AS change
    CROSS JOIN LATERAL (
        SELECT tstzrange(least(old_end, new_end), greatest(old_end, new_end)) AS span
        WHERE alike AND old_counts AND new_counts
        UNION ALL
        SELECT tstzrange(old_start, old_end) WHERE old_counts AND NOT (alike AND new_counts)
        UNION ALL
        SELECT tstzrange(new_start, new_end) WHERE new_counts AND NOT (alike AND old_counts)
    ) AS spans;
    PERFORM hourly_note(changed);
END
$$;

COMMENT ON FUNCTION hourly_follow IS
    'Notes the hours that changed between these rows of sessions, as they were and as they are.';

-- A statement of its own for each step: each sees what the ones before have waited for.
CREATE FUNCTION hourly_count(before_hour timestamptz, at_most integer) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    counting timestamptz[];
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

    DELETE FROM hourly_node_rows WHERE hour = ANY (counting);
    INSERT INTO hourly_node_rows (
        hour, hub_id, node_id, unique_users, total_containers, avg_age_seconds)
    SELECT hour, hub.id, node_id, unique_users, total_containers, avg_age_seconds
    FROM hourly_nodes(counting) AS counted
    JOIN words AS hub ON hub.word = counted.hub;

    DELETE FROM hourly_image_rows WHERE hour = ANY (counting);
    INSERT INTO hourly_image_rows (
        hour, hub_id, description_id, unique_users, total_containers)
    SELECT hour, hub.id, description_id, unique_users, total_containers
    FROM hourly_images(counting) AS counted
    JOIN words AS hub ON hub.word = counted.hub;

    DELETE FROM hourly_changed WHERE hour = ANY (counting);
    UPDATE hourly_counted
    SET before = greatest(before, counting[cardinality(counting)] + interval '1 hour');
    RETURN cardinality(counting);
END
$$;

COMMENT ON FUNCTION hourly_count IS
    'Counts hours that end before the given moment, the oldest first; gives how many it counted.';
