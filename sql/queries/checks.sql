-- name: sessions_to_check
-- One Hub's open sessions; of the ended ones those that the Hub shows, and lately inferred ends.
WITH chosen AS (
    SELECT session_rows.id
    FROM session_rows
    JOIN servers ON servers.id = session_rows.server_id
    WHERE servers.hub = $1 AND session_rows.ended_at IS NULL AND NOT session_rows.simulated
    UNION
    SELECT session_rows.id
    FROM unnest($2::text[], $3::text[], $4::timestamptz[])
        AS shown (username, server_name, started_at)
    JOIN servers ON servers.hub = $1
        AND servers.username = shown.username
        AND servers.server_name = shown.server_name
    JOIN session_rows ON session_rows.server_id = servers.id
        AND session_rows.started_at BETWEEN shown.started_at - interval '1 second'
            AND shown.started_at + interval '1 second'
    UNION
    SELECT session_rows.id
    FROM session_rows
    JOIN servers ON servers.id = session_rows.server_id
    WHERE servers.hub = $1
        AND session_rows.inferred
        AND session_rows.ended_at IS NOT NULL
        AND coalesce(session_rows.ended_before, session_rows.ended_at) >= $5
        AND NOT session_rows.simulated
)
SELECT
    sessions.id,
    sessions.hub,
    sessions.username,
    told.username AS original_username,
    sessions.server_name,
    sessions.started_at,
    sessions.state,
    sessions.ended_at,
    sessions.ended_after,
    sessions.ended_before,
    sessions.end_reason,
    sessions.end_source,
    sessions.ended_by,
    sessions.exit_status,
    sessions.image,
    sessions.node,
    sessions.namespace,
    sessions.pod_name,
    told.last_event_at,
    told.alive_at,
    told.recorded,
    told.stop_failed,
    told.shown_ready,
    session_activity.seen_at,
    session_activity.polled_at,
    session_activity.active_seconds,
    session_activity.last_activity_at,
    session_activity.resolution_seconds
FROM chosen
JOIN sessions ON sessions.id = chosen.id
CROSS JOIN LATERAL (
    SELECT
        min(username) AS username,
        max(not_after) FILTER (WHERE source LIKE 'hub%' AND source <> 'hub_api') AS last_event_at,
        max(occurred_at) FILTER (
            WHERE kind IN ('ready', 'renamed') AND source LIKE 'hub%' AND source <> 'hub_api'
        ) AS alive_at,
        bool_or(source LIKE 'hub%' AND source <> 'hub_api') AS recorded,
        bool_or(kind = 'stop_failed') AS stop_failed,
        bool_or(kind = 'ready' AND source = 'hub_api') AS shown_ready
    FROM event_details AS events
    WHERE events.filed_at = sessions.started_at AND events.session_id = sessions.id
) AS told
LEFT JOIN session_activity ON session_activity.session_id = sessions.id;

-- name: record_activity
-- Keeps what a check measured of sessions; one that was asked later is never overwritten.
SELECT record_activity(
    $1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::double precision[], $5::timestamptz[],
    $6::double precision[]);

-- name: record_observations
-- What a check saw running; the same check again adds nothing.
SELECT record_poll($1::timestamptz, $2::text, ARRAY(
    SELECT ROW(
        user_digest, image_digest, namespace, pod_name, session_id, user_email, user_name,
        node_name, container_image, container_base, container_version, age_seconds)::observation
    FROM unnest(
        $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::uuid[], $8::text[], $9::text[],
        $10::text[], $11::text[], $12::text[], $13::text[], $14::double precision[]
    ) AS seen (
        user_digest, image_digest, namespace, pod_name, session_id, user_email, user_name,
        node_name, container_image, container_base, container_version, age_seconds)));

-- name: activity_of_user
-- How active a user's sessions were that overlap [$3, $4).
SELECT session_activity.*
FROM sessions
JOIN session_activity ON session_activity.session_id = sessions.id
WHERE sessions.hub = $1
    AND sessions.username = $2
    AND sessions.started_at < $4
    AND (sessions.ended_at IS NULL OR sessions.ended_at > $3 OR sessions.started_at >= $3);

-- name: end_memberships
-- Ends, at $4, the memberships of one Hub that are not among the given ones.
UPDATE group_memberships AS kept
SET valid_to = greatest(kept.valid_from, $4)
WHERE kept.hub = $1
    AND kept.valid_to IS NULL
    AND NOT EXISTS (
        SELECT FROM unnest($2::text[], $3::text[]) AS seen (group_name, username)
        WHERE seen.group_name = kept.group_name AND seen.username = kept.username);

-- name: begin_memberships
-- Begins, at $4, the given memberships of one Hub that are not open yet.
INSERT INTO group_memberships (hub, group_name, username, valid_from)
SELECT $1, seen.group_name, seen.username, $4
FROM unnest($2::text[], $3::text[]) AS seen (group_name, username)
WHERE NOT EXISTS (
    SELECT FROM group_memberships AS kept
    WHERE kept.hub = $1
        AND kept.group_name = seen.group_name
        AND kept.username = seen.username
        AND kept.valid_to IS NULL)
ON CONFLICT DO NOTHING;

-- name: add_memberships
-- Adds the memberships of one Hub's groups in [$4, $5); those that touch one become one with it.
WITH given AS (
    SELECT added.group_name, added.username
    FROM unnest($2::text[], $3::text[]) AS added (group_name, username)
    WHERE NOT EXISTS (
        SELECT FROM group_memberships AS kept
        WHERE kept.hub = $1
            AND kept.group_name = added.group_name
            AND kept.username = added.username
            AND kept.valid_from <= $4::timestamptz
            AND (kept.valid_to IS NULL OR kept.valid_to >= $5::timestamptz))
),
touched AS (
    DELETE FROM group_memberships AS kept
    USING given
    WHERE kept.hub = $1
        AND kept.group_name = given.group_name
        AND kept.username = given.username
        AND kept.valid_from <= $5
        AND (kept.valid_to IS NULL OR kept.valid_to >= $4)
    RETURNING kept.group_name, kept.username, tstzrange(kept.valid_from, kept.valid_to) AS span
)
INSERT INTO group_memberships (hub, group_name, username, valid_from, valid_to)
SELECT $1, group_name, username, lower(range_merge(spans)), upper(range_merge(spans))
FROM (
    SELECT group_name, username, range_agg(span) AS spans
    FROM (
        SELECT group_name, username, tstzrange($4, $5) AS span FROM given
        UNION ALL
        SELECT group_name, username, span FROM touched
    ) AS all_spans
    GROUP BY group_name, username
) AS together;
