-- name: lock_hubs
-- Makes writers for the same Hub take turns, so that each fold sees all of a session's events.
SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS keys (key);

-- name: insert_events
-- Stores the events that are not there yet; gives those that were new, and their sessions.
INSERT INTO events (
    id, session_id, hub, username, server_name, started_at, kind, occurred_at, not_before,
    not_after, source, reason, actor, exit_status, facts)
SELECT
    id, session_id, hub, username, server_name, started_at, kind, occurred_at, not_before,
    not_after, source, reason, actor, exit_status, facts::jsonb
FROM unnest(
    $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[],
    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[],
    $13::text[], $14::integer[], $15::text[]
) AS incoming (
    id, session_id, hub, username, server_name, started_at, kind, occurred_at, not_before,
    not_after, source, reason, actor, exit_status, facts)
ON CONFLICT (id) DO NOTHING
RETURNING id, session_id;
