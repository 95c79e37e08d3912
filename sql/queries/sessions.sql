-- name: fold_sessions
-- Brings the rows of these sessions up to what their events say.
INSERT INTO sessions (
    id, hub, username, server_name, started_at, state, ready_at, ended_at, ended_after,
    ended_before, end_reason, end_source, ended_by, exit_status, started_by, display_name, groups,
    spawner_class, profile, user_options, image, image_name, image_tag, image_digest, node,
    namespace, pod_name, cpu_guarantee_cores, cpu_limit_cores, memory_guarantee_bytes,
    memory_limit_bytes, gpus, simulated, inferred)
SELECT
    id, hub, username, server_name, started_at, state, ready_at, ended_at, ended_after,
    ended_before, end_reason, end_source, ended_by, exit_status, started_by, display_name, groups,
    spawner_class, profile, user_options, image, image_name, image_tag, image_digest, node,
    namespace, pod_name, cpu_guarantee_cores, cpu_limit_cores, memory_guarantee_bytes,
    memory_limit_bytes, gpus, simulated, inferred
FROM session_fold
WHERE id = ANY ($1::uuid[])
ON CONFLICT (id) DO UPDATE SET
    hub = excluded.hub,
    username = excluded.username,
    server_name = excluded.server_name,
    started_at = excluded.started_at,
    state = excluded.state,
    ready_at = excluded.ready_at,
    ended_at = excluded.ended_at,
    ended_after = excluded.ended_after,
    ended_before = excluded.ended_before,
    end_reason = excluded.end_reason,
    end_source = excluded.end_source,
    ended_by = excluded.ended_by,
    exit_status = excluded.exit_status,
    started_by = excluded.started_by,
    display_name = excluded.display_name,
    groups = excluded.groups,
    spawner_class = excluded.spawner_class,
    profile = excluded.profile,
    user_options = excluded.user_options,
    image = excluded.image,
    image_name = excluded.image_name,
    image_tag = excluded.image_tag,
    image_digest = excluded.image_digest,
    node = excluded.node,
    namespace = excluded.namespace,
    pod_name = excluded.pod_name,
    cpu_guarantee_cores = excluded.cpu_guarantee_cores,
    cpu_limit_cores = excluded.cpu_limit_cores,
    memory_guarantee_bytes = excluded.memory_guarantee_bytes,
    memory_limit_bytes = excluded.memory_limit_bytes,
    gpus = excluded.gpus,
    simulated = excluded.simulated,
    inferred = excluded.inferred;

-- name: sessions_of_user
-- One user's sessions that overlap [$3, $4), newest first; a session without length counts.
SELECT sessions.*
FROM sessions
WHERE hub = $1
    AND username = $2
    AND started_at < $4
    AND (ended_at IS NULL OR ended_at > $3 OR started_at >= $3)
ORDER BY started_at DESC, id
LIMIT $5;
