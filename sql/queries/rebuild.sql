-- name: rebuild_days
-- The days (UTC) on which sessions start by their events or by their rows, and how many by events.
SELECT day, sum(told)::bigint AS told
FROM (
    SELECT date_trunc('day', filed_at, 'UTC') AS day, count(DISTINCT session_id) AS told
    FROM event_rows
    WHERE session_id IS NOT NULL
    GROUP BY day
    UNION ALL
    SELECT DISTINCT date_trunc('day', started_at, 'UTC'), 0 FROM session_rows
) AS days
GROUP BY day
ORDER BY day;

-- name: known_hubs
-- The Hubs that events came from.
SELECT DISTINCT hub FROM servers ORDER BY hub;

-- name: refold_between
-- Brings sessions that start in [$1, $2) up to what their events say; gives how many they are.
-- Those of the Hubs in $3.
WITH told AS MATERIALIZED (
    SELECT array_agg(session_id) AS ids, array_agg(filed_at) AS starts
    FROM (
        SELECT DISTINCT session_id, filed_at
        FROM event_rows
        WHERE filed_at >= $1 AND filed_at < $2 AND session_id IS NOT NULL
            AND server_id IN (SELECT id FROM servers WHERE hub = ANY ($3::text[]))
    ) AS sessions
)
SELECT coalesce(cardinality(ids), 0), session_refold(ids, starts) FROM told;

-- name: remove_open_without_events
-- Removes sessions that start in [$1, $2) and that no event speaks of; gives them.
DELETE FROM open_sessions AS kept
WHERE started_at >= $1 AND started_at < $2 AND NOT EXISTS (
    SELECT FROM event_rows
    WHERE event_rows.session_id = kept.id AND event_rows.filed_at = kept.started_at)
RETURNING id;

-- name: remove_ended_without_events
-- The same for those that have ended.
DELETE FROM ended_sessions AS kept
WHERE started_at >= $1 AND started_at < $2 AND NOT EXISTS (
    SELECT FROM event_rows
    WHERE event_rows.session_id = kept.id AND event_rows.filed_at = kept.started_at)
RETURNING id;

-- name: sessions_unlike_events
-- Which sessions that start in [$1, $2) are not what their events say, and how.
SELECT
    id,
    CASE
        WHEN kept.hub IS NULL THEN 'is missing'
        WHEN fold.hub IS NULL THEN 'has no events'
        ELSE 'differs'
    END AS how
FROM (SELECT * FROM session_fold WHERE started_at >= $1 AND started_at < $2) AS fold
FULL JOIN (SELECT * FROM sessions WHERE started_at >= $1 AND started_at < $2) AS kept USING (id)
WHERE (
    fold.hub, fold.username, fold.server_name, fold.started_at, fold.state, fold.ready_at,
    fold.ended_at, fold.ended_after, fold.ended_before, fold.end_reason, fold.end_source,
    fold.ended_by, fold.exit_status, fold.started_by, fold.display_name, fold.groups,
    fold.spawner_class, fold.profile, fold.user_options, fold.image, fold.image_name,
    fold.image_tag, fold.image_digest, fold.node, fold.namespace, fold.pod_name,
    fold.cpu_guarantee_cores, fold.cpu_limit_cores, fold.memory_guarantee_bytes,
    fold.memory_limit_bytes, fold.gpus, fold.simulated, fold.inferred
) IS DISTINCT FROM (
    kept.hub, kept.username, kept.server_name, kept.started_at, kept.state, kept.ready_at,
    kept.ended_at, kept.ended_after, kept.ended_before, kept.end_reason, kept.end_source,
    kept.ended_by, kept.exit_status, kept.started_by, kept.display_name, kept.groups,
    kept.spawner_class, kept.profile, kept.user_options, kept.image, kept.image_name,
    kept.image_tag, kept.image_digest, kept.node, kept.namespace, kept.pod_name,
    kept.cpu_guarantee_cores, kept.cpu_limit_cores, kept.memory_guarantee_bytes,
    kept.memory_limit_bytes, kept.gpus, kept.simulated, kept.inferred
)
ORDER BY id;
