-- Changes to what has been written long ago say between which bounds it lies, as literals: where
-- closed chunks are compressed, no other is then touched.

-- Called with the rows themselves: triggers on hypertables see no transition tables in every
-- version of TimescaleDB.
CREATE FUNCTION usage_follow_rows(changed usage_days[], sign integer) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_months AS kept (
        month, account_id, description_id, running_microseconds, starts, failures,
        waiting_microseconds, active_microseconds, active_known)
    SELECT
        date_trunc('month', day::timestamp)::date,
        account_id,
        description_id,
        sum(running_microseconds * sign),
        sum(starts * sign),
        sum(failures * sign),
        sum(waiting_microseconds * sign),
        coalesce(sum(active_microseconds * sign), 0),
        count(active_microseconds) * sign
    FROM unnest(changed)
    JOIN servers ON servers.id = server_id
    GROUP BY 1, account_id, description_id
    ORDER BY 1, account_id, description_id
    ON CONFLICT (month, account_id, description_id) DO UPDATE SET
        running_microseconds = kept.running_microseconds + excluded.running_microseconds,
        starts = kept.starts + excluded.starts,
        failures = kept.failures + excluded.failures,
        waiting_microseconds = kept.waiting_microseconds + excluded.waiting_microseconds,
        active_microseconds = kept.active_microseconds + excluded.active_microseconds,
        active_known = kept.active_known + excluded.active_known;
    INSERT INTO usage_due
    SELECT day, dimension
    FROM (SELECT DISTINCT day FROM unnest(changed)) AS days
    CROSS JOIN unnest('{hub,node,image,profile,gpus}'::text[]) AS dimensions (dimension)
    ORDER BY day, dimension
    ON CONFLICT DO NOTHING;
END
$$;

COMMENT ON FUNCTION usage_follow_rows IS
    'Brings months up to rows of usage_days that have come (1) or gone (-1); their days are due.';

DROP TRIGGER follow_insert ON usage_days;
DROP TRIGGER follow_delete ON usage_days;
DROP FUNCTION usage_follow_days();

CREATE FUNCTION usage_put(spans usage_span[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    put usage_days[];
BEGIN
    WITH come AS (INSERT INTO usage_days SELECT * FROM usage_counted(spans) RETURNING *)
    SELECT array_agg(ROW(come.*)::usage_days) INTO put FROM come;
    PERFORM usage_follow_rows(put, 1);
END
$$;

COMMENT ON FUNCTION usage_put IS 'Counts these spans, of which usage_days has nothing, into it.';

CREATE OR REPLACE FUNCTION usage_count_again(changed usage_span[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    closed_before timestamptz;
    spans usage_span[];
    first_day date;
    last_day date;
    taken usage_days[];
BEGIN
    PERFORM usage_lock_shared();
    SELECT usage_midnight(before) INTO closed_before FROM usage_closed;
    SELECT
        array_agg(ROW(server_id, usage_midnight(lower(days)), usage_midnight(upper(days)))
            ::usage_span),
        min(lower(days)),
        max(upper(days))
    INTO spans, first_day, last_day
    FROM (
        SELECT server_id, unnest(range_agg(daterange(
            usage_day(since), usage_day(least(until, closed_before - interval '1 microsecond')),
            '[]'))) AS days
        FROM unnest(changed)
        WHERE since < closed_before
        GROUP BY server_id
    ) AS touched;
    IF spans IS NOT NULL THEN
        EXECUTE format(
            'WITH gone AS ('
            '    DELETE FROM usage_days USING unnest($1) AS span'
            '    WHERE usage_days.server_id = span.server_id'
            '        AND usage_days.day >= usage_day(span.since)'
            '        AND usage_days.day < usage_day(span.until)'
            '        AND usage_days.day >= %L AND usage_days.day < %L'
            '    RETURNING usage_days.*)'
            'SELECT array_agg(ROW(gone.*)::usage_days) FROM gone',
            first_day, last_day)
        INTO taken USING spans;
        PERFORM usage_follow_rows(taken, -1);
        PERFORM usage_put(spans);
    END IF;
END
$$;

-- A session that was not known changes no day after its end.
CREATE OR REPLACE FUNCTION usage_follow(before ended_sessions[], after ended_sessions[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    changed usage_span[];
BEGIN
    SELECT array_agg(ROW(server_id, since, until)::usage_span) INTO changed
    FROM (
        SELECT
            ARRAY[old.server_id, new.server_id] AS server_ids,
            (
                old.server_id, old.description_id, old.node_id, old.started_at, old.ready_at,
                old.state IN ('running', 'ended'), old.state = 'failed'
            ) IS NOT DISTINCT FROM (
                new.server_id, new.description_id, new.node_id, new.started_at, new.ready_at,
                new.state IN ('running', 'ended'), new.state = 'failed'
            ) AS moved_end_only,
            least(old.started_at, new.started_at) AS started_at,
            CASE WHEN old.id IS NOT NULL THEN coalesce(old.ended_at, 'infinity') END AS old_end,
            coalesce(new.ended_at, 'infinity') AS new_end
        FROM unnest(after) AS new
        LEFT JOIN unnest(before) AS old ON old.id = new.id
    ) AS change
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN moved_end_only THEN least(old_end, new_end) ELSE started_at END AS since,
            greatest(old_end, new_end) AS until
    ) AS span
    CROSS JOIN LATERAL unnest(server_ids) AS server_id
    WHERE server_id IS NOT NULL AND (NOT moved_end_only OR old_end <> new_end);
    PERFORM usage_count_again(changed);
END
$$;

CREATE OR REPLACE FUNCTION usage_close(before_day date, at_most integer DEFAULT 1) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    first_day date;
    next_day date;
BEGIN
    PERFORM pg_advisory_xact_lock(7236280, 3);
    SELECT before INTO first_day FROM usage_closed;
    IF first_day = '-infinity' THEN
        -- what lies before all sessions is closed with nothing in it
        SELECT coalesce(usage_day(min(started_at)), before_day) INTO first_day FROM session_rows;
    END IF;
    next_day := least(first_day + at_most, before_day, usage_day(now()));
    IF next_day <= first_day THEN
        RETURN false;
    END IF;
    PERFORM usage_put(ARRAY[
        ROW(NULL, usage_midnight(first_day), usage_midnight(next_day))::usage_span]);
    UPDATE usage_closed SET before = next_day;
    RETURN true;
END
$$;

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

    FOREACH forgotten IN ARRAY '{hourly_node_rows,hourly_image_rows}'::text[] LOOP
        EXECUTE format(
            'DELETE FROM %I WHERE hour = ANY ($1) AND hour >= %L AND hour <= %L',
            forgotten, counting[1], counting[cardinality(counting)])
        USING counting;
    END LOOP;
    INSERT INTO hourly_node_rows (
        hour, hub_id, node_id, unique_users, total_containers, avg_age_seconds)
    SELECT hour, hub.id, node_id, unique_users, total_containers, avg_age_seconds
    FROM hourly_nodes(counting) AS counted
    JOIN words AS hub ON hub.word = counted.hub;
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

-- The spans of one user are few: the moment need not be in the index, which is then a quarter as
-- large.
DROP INDEX observation_spans_user;
CREATE INDEX observation_spans_user ON observation_spans (user_id);

CREATE OR REPLACE FUNCTION record_poll(moment timestamptz, hub text, seen observation[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    hub_number integer;
    before polls;
    number integer;
    same_block boolean;
    sighted observation_spans[];
BEGIN
    INSERT INTO words (word) SELECT DISTINCT name FROM (
        SELECT hub AS name UNION ALL SELECT node_name FROM unnest(seen)
    ) AS names
    WHERE name IS NOT NULL AND NOT EXISTS (SELECT FROM words AS kept WHERE kept.word = name)
    ORDER BY name
    ON CONFLICT DO NOTHING;

    SELECT id INTO STRICT hub_number FROM words WHERE word = hub;
    IF EXISTS (SELECT FROM polls WHERE at = moment AND hub_id = hub_number) THEN
        RETURN;
    END IF;

    INSERT INTO observed_users (digest, namespace, pod_name, user_email, user_name)
    SELECT DISTINCT ON (user_digest) user_digest, namespace, pod_name, user_email, user_name
    FROM unnest(seen) AS one
    WHERE NOT EXISTS (SELECT FROM observed_users AS kept WHERE kept.digest = one.user_digest)
    ORDER BY user_digest
    ON CONFLICT DO NOTHING;

    INSERT INTO observed_images (digest, container_image, container_base, container_version)
    SELECT DISTINCT ON (image_digest)
        image_digest, container_image, container_base, container_version
    FROM unnest(seen) AS one
    WHERE NOT EXISTS (SELECT FROM observed_images AS kept WHERE kept.digest = one.image_digest)
    ORDER BY image_digest
    ON CONFLICT DO NOTHING;

    SELECT * INTO before FROM polls
    WHERE hub_id = hub_number ORDER BY block DESC, id DESC LIMIT 1;
    number := nextval(pg_get_serial_sequence('polls', 'id'));
    same_block := coalesce((
        SELECT moment >= at AND moment < at + interval '12 hours'
        FROM polls WHERE id = before.block), false);
    INSERT INTO polls (id, block, hub_id, at)
    VALUES (number, CASE WHEN same_block THEN before.block ELSE number END, hub_number, moment);

    SELECT array_agg(span) INTO sighted
    FROM (
        SELECT DISTINCT ON (
            one.namespace, one.pod_name, CASE WHEN one.pod_name IS NULL THEN one.session_id END)
            CASE WHEN same_block THEN before.block ELSE number END AS block,
            number AS first_poll,
            2147483647 AS last_poll,
            users.id AS user_id,
            images.id AS image_id,
            node.id AS node_id,
            moment - one.age_seconds * interval '1 second' AS began_at,
            one.session_id
        FROM unnest(seen) AS one
        JOIN observed_users AS users ON users.digest = one.user_digest
        JOIN observed_images AS images ON images.digest = one.image_digest
        LEFT JOIN words AS node ON node.word = one.node_name
    ) AS span;

    EXECUTE format(
        'UPDATE observation_spans AS span SET last_poll = %L'
        ' WHERE span.block = %L'
        '     AND span.last_poll = 2147483647'
        '     AND NOT (%L AND EXISTS ('
        '         SELECT FROM unnest($1) AS one'
        '         WHERE one.user_id = span.user_id AND observed_alike(one, span)))',
        before.id, before.block, same_block)
    USING sighted;

    EXECUTE format(
        'INSERT INTO observation_spans'
        ' SELECT one.*'
        ' FROM unnest($1) AS one'
        ' WHERE NOT (%L AND EXISTS ('
        '     SELECT FROM observation_spans AS span'
        '     WHERE span.block = %L'
        '         AND span.last_poll = 2147483647'
        '         AND span.user_id = one.user_id'
        '         AND observed_alike(one, span)))',
        same_block, before.block)
    USING sighted;
END
$$;

-- Whole blocks, so that what is left stays as it was seen.
CREATE OR REPLACE FUNCTION drop_observations(before timestamptz, most integer) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    oldest polls;
    dropped integer := 0;
BEGIN
    WHILE dropped < most LOOP
        SELECT * INTO oldest FROM polls WHERE at < before ORDER BY at LIMIT 1;
        EXIT WHEN NOT FOUND OR EXISTS (
            SELECT FROM polls
            WHERE hub_id = oldest.hub_id AND block = oldest.block AND at >= before);
        EXECUTE format('DELETE FROM observation_spans WHERE block = %L', oldest.block);
        DELETE FROM polls WHERE hub_id = oldest.hub_id AND block = oldest.block;
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
