-- What polls saw is in two tables, as sessions are: while the latest poll still sees it, small and
-- rewritten; and once it has ended, large and written once. What has ended is read from an index
-- alone: its users, images and nodes are in it.

CREATE TABLE open_spans (
    LIKE observation_spans INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    CONSTRAINT open_spans_are_open CHECK (last_poll = 2147483647)
);

CREATE INDEX open_spans_block ON open_spans (block);
CREATE INDEX open_spans_user ON open_spans (user_id);

COMMENT ON TABLE open_spans IS
    'Servers that the latest poll of their Hub saw in the same way as all since first_poll.';

-- They are in the latest block of each Hub; as a literal, so that of closed chunks that are
-- compressed no other is touched.
DO $$
DECLARE
    latest integer;
BEGIN
    FOR latest IN SELECT max(block) FROM polls GROUP BY hub_id LOOP
        EXECUTE format(
            'WITH moved AS ('
            '    DELETE FROM observation_spans'
            '    WHERE block = %L AND last_poll = 2147483647 RETURNING *)'
            'INSERT INTO open_spans SELECT * FROM moved', latest);
    END LOOP;
END
$$;

COMMENT ON TABLE observation_spans IS
    'Servers that all polls from first_poll to last_poll saw in the same way.';
COMMENT ON COLUMN observation_spans.last_poll IS NULL;

-- In the order of this index rows are written: its pages are full.
DROP INDEX observation_spans_block;
CREATE INDEX observation_spans_block ON observation_spans (block, last_poll)
    INCLUDE (first_poll, user_id, image_id, node_id);

-- An index alone answers only of pages that are known to be seen by all: those of closed blocks are
-- within a block or two, however large the table is.
ALTER TABLE observation_spans SET (
    fillfactor = 100,
    autovacuum_vacuum_insert_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0
);

CREATE VIEW all_spans AS
SELECT * FROM observation_spans
UNION ALL
SELECT * FROM open_spans;

COMMENT ON VIEW all_spans IS 'What polls saw, whether it has ended or not.';

-- Two arms that each do all their joins: each is planned by what is known of its table, whose chunks
-- TimescaleDB would read as a whole in a union.
CREATE OR REPLACE VIEW container_observations AS
SELECT
    polls.at AS "timestamp",
    hub.word AS hub,
    observed_users.namespace,
    observed_users.pod_name,
    span.session_id,
    observed_users.user_email,
    observed_users.user_name,
    node.word AS node_name,
    observed_images.container_image,
    observed_images.container_base,
    observed_images.container_version,
    date_part('epoch', polls.at - span.began_at)::integer AS age_seconds
FROM polls
JOIN observation_spans AS span ON span.block = polls.block
    AND span.first_poll <= polls.id
    AND span.last_poll >= polls.id
LEFT JOIN words AS hub ON hub.id = polls.hub_id
LEFT JOIN observed_users ON observed_users.id = span.user_id
LEFT JOIN observed_images ON observed_images.id = span.image_id
LEFT JOIN words AS node ON node.id = span.node_id
UNION ALL
SELECT
    polls.at AS "timestamp",
    hub.word AS hub,
    observed_users.namespace,
    observed_users.pod_name,
    span.session_id,
    observed_users.user_email,
    observed_users.user_name,
    node.word AS node_name,
    observed_images.container_image,
    observed_images.container_base,
    observed_images.container_version,
    date_part('epoch', polls.at - span.began_at)::integer AS age_seconds
FROM polls
JOIN open_spans AS span ON span.block = polls.block
    AND span.first_poll <= polls.id
    AND span.last_poll >= polls.id
LEFT JOIN words AS hub ON hub.id = polls.hub_id
LEFT JOIN observed_users ON observed_users.id = span.user_id
LEFT JOIN observed_images ON observed_images.id = span.image_id
LEFT JOIN words AS node ON node.id = span.node_id;

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

    WITH ended AS (
        DELETE FROM open_spans AS span
        WHERE span.block = before.block
            AND NOT (same_block AND EXISTS (
                SELECT FROM unnest(sighted) AS one
                WHERE one.user_id = span.user_id
                    AND observed_alike(one, ROW(span.*)::observation_spans)))
        RETURNING span.*
    )
    INSERT INTO observation_spans
    SELECT block, first_poll, before.id, user_id, image_id, node_id, began_at, session_id
    FROM ended;

    INSERT INTO open_spans
    SELECT one.*
    FROM unnest(sighted) AS one
    WHERE NOT EXISTS (
        SELECT FROM open_spans AS span
        WHERE span.block = one.block
            AND span.user_id = one.user_id
            AND observed_alike(one, ROW(span.*)::observation_spans));
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
        -- as a literal: where closed chunks are compressed, no other is touched
        EXECUTE format('DELETE FROM observation_spans WHERE block = %L', oldest.block);
        DELETE FROM open_spans WHERE block = oldest.block;
        DELETE FROM polls WHERE hub_id = oldest.hub_id AND block = oldest.block;
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
