-- What checks every five minutes would have measured and observed of the sessions that are there:
-- each active half of its time, and a span for each of them in blocks of half a day.

UPDATE ended_sessions SET
    seen_at = ended_at,
    polled_at = ended_at,
    last_activity_at = ended_at,
    active_seconds = extract(epoch FROM ended_at - started_at) / 2,
    resolution_seconds = 300,
    active_hours = active_hours_with(
        NULL, started_at, ended_at, ended_at,
        (extract(epoch FROM ended_at - started_at) * 500000)::bigint);

CREATE TEMPORARY TABLE runs AS
SELECT
    id AS session_id, hub, pod_name, username AS user_name,
    username || '@campus.example' AS user_email, node, image, started_at,
    (SELECT date_trunc('day', min(started_at), 'UTC') FROM sessions) AS polled_from,
    ready_at, ended_at
FROM sessions
WHERE ready_at IS NOT NULL;

INSERT INTO words (word) SELECT DISTINCT hub FROM runs ON CONFLICT DO NOTHING;

INSERT INTO observed_users (digest, namespace, pod_name, user_email, user_name)
SELECT DISTINCT content_digest(pod_name), 'jhub', pod_name, user_email, user_name FROM runs;

INSERT INTO observed_images (digest, container_image, container_base, container_version)
SELECT DISTINCT
    content_digest(image), image, split_part(split_part(image, '/', -1), ':', 1),
    split_part(image, ':', -1)
FROM runs;

INSERT INTO polls (id, block, hub_id, at)
SELECT
    number, number - (number - 1) % 144, words.id, polled_from + (number - 1) * interval '5 minutes'
FROM (SELECT hub, min(polled_from) AS polled_from, max(ended_at) AS last_at FROM runs GROUP BY hub)
    AS polled
JOIN words ON words.word = polled.hub
CROSS JOIN LATERAL generate_series(
    1, ceil(extract(epoch FROM last_at - polled_from) / 300)::integer + 1) AS number;

INSERT INTO observation_spans (
    block, first_poll, last_poll, user_id, image_id, node_id, began_at, session_id)
SELECT
    block, greatest(first_poll, block), least(last_poll, block + 143), observed_users.id,
    observed_images.id, words.id, date_trunc('milliseconds', started_at), session_id
FROM (
    SELECT
        *,
        1 + ceil(extract(epoch FROM ready_at - polled_from) / 300)::integer AS first_poll,
        ceil(extract(epoch FROM ended_at - polled_from) / 300)::integer AS last_poll
    FROM runs
) AS seen
JOIN observed_users USING (pod_name, user_email)
JOIN observed_images ON observed_images.container_image = seen.image
JOIN words ON words.word = seen.node
CROSS JOIN LATERAL generate_series(first_poll - (first_poll - 1) % 144, last_poll, 144) AS block
WHERE first_poll <= last_poll
-- as they end
ORDER BY block, 3;

DROP TABLE runs;

VACUUM FULL ended_sessions;
