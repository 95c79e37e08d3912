-- The names that dashboards of sampled container metrics ask for, over exact sessions.

CREATE FUNCTION node_is_named_for_gpus(node text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        node ~* ('gpu|(^|[^a-z0-9])(a10g?|a16|a30|a40|a100|a6000|b200|gb200|gh200|h100|h200|k80'
            '|l4|l40s?|mi[0-9]{3}[ax]?|p4|p40|p100|t4|v100)([^a-z0-9]|$)')
        AND node !~* '(^|[^a-z0-9])cpu', false)
$$;

COMMENT ON FUNCTION node_is_named_for_gpus IS
    'The rule for sessions of which no request is known: gpu or a model in the name, and not cpu.';

CREATE INDEX people_history_email ON people_history (email) WHERE valid_to IS NULL;
CREATE INDEX servers_username ON servers (username);

-- Two arms, so that a user_email that is asked for reaches the index of where it comes from.
CREATE VIEW session_owners AS
SELECT servers.id AS server_id, servers.hub, servers.username, known.email AS user_email
FROM people_history AS known
JOIN servers ON servers.hub = known.hub AND servers.username = known.username
WHERE known.valid_to IS NULL AND known.email IS NOT NULL
UNION ALL
SELECT servers.id, servers.hub, servers.username, servers.username
FROM servers
WHERE NOT EXISTS (
    SELECT FROM people_history AS known
    WHERE known.hub = servers.hub
        AND known.username = servers.username
        AND known.valid_to IS NULL
        AND known.email IS NOT NULL);

COMMENT ON VIEW session_owners IS 'Whose server it is: the e-mail, the name where none is known.';

CREATE VIEW container_kinds AS
SELECT
    id AS description_id,
    split_part(coalesce(image_name, image), '/', -1) AS container_base,
    coalesce(image_tag, image_digest) AS container_version,
    -- NULL where the node's name has to tell
    CASE
        WHEN gpus > 0 THEN true
        WHEN num_nonnulls(
            gpus, cpu_guarantee_cores, cpu_limit_cores, memory_guarantee_bytes,
            memory_limit_bytes) > 0 THEN false
    END AS gpu_requested
FROM descriptions;

COMMENT ON VIEW container_kinds IS 'What is said of images and GPUs under the names below.';

-- Two arms, so that a bound on session_end reaches the index on ended_at; without conditions of
-- their own, so that a join reaches the index on server_id.
CREATE VIEW session_runs AS
SELECT server_id, description_id, request_id, node_id, state, started_at, ended_at AS counted_until
FROM ended_sessions
UNION ALL
SELECT
    server_id, description_id, request_id, node_id, state, started_at,
    greatest(started_at, now() - interval '1 minute')
FROM open_sessions;

COMMENT ON VIEW session_runs IS 'Sessions; those that are open as if they had ended a minute ago.';

CREATE VIEW user_sessions AS
SELECT
    session_owners.user_email,
    requests.pod_name,
    node.word AS node_name,
    width_bucket(session_runs.started_at, same_pod.starts)::bigint AS session_id,
    session_runs.started_at AS session_start,
    session_runs.counted_until AS session_end,
    extract(epoch FROM session_runs.counted_until - session_runs.started_at) / 3600.0
        AS runtime_hours,
    container_kinds.container_base,
    container_kinds.container_version,
    session_owners.hub,
    session_owners.username,
    coalesce(container_kinds.gpu_requested, node_is_named_for_gpus(node.word)) AS on_gpu
FROM session_runs
JOIN session_owners ON session_owners.server_id = session_runs.server_id
LEFT JOIN container_kinds ON container_kinds.description_id = session_runs.description_id
LEFT JOIN requests ON requests.id = session_runs.request_id
LEFT JOIN words AS node ON node.id = session_runs.node_id
-- once for each server, pod and node, and only for those who ask for session_id
LEFT JOIN LATERAL (
    SELECT array_agg(earlier.started_at ORDER BY earlier.started_at) AS starts
    FROM session_rows AS earlier
    JOIN requests AS asked ON asked.id = earlier.request_id
    WHERE earlier.server_id = session_runs.server_id
        AND earlier.node_id IS NOT DISTINCT FROM session_runs.node_id
        AND asked.pod_name IS NOT DISTINCT FROM requests.pod_name
        AND earlier.state IN ('running', 'ended')
) AS same_pod ON true
WHERE session_runs.state IN ('running', 'ended');

COMMENT ON VIEW user_sessions IS
    'One row for each session that became ready. Bounds on user_email, node_name, session_start '
    'and session_end reach indexes.';
COMMENT ON COLUMN user_sessions.user_email IS
    'The user''s name in the Hub where no e-mail is known. Ask for hub as well where several '
    'Hubs share the database.';
COMMENT ON COLUMN user_sessions.session_id IS
    'Counts from 1 for each server, pod and node, in the order of starts.';
COMMENT ON COLUMN user_sessions.session_end IS
    'For one that runs: a minute ago, so that a window that ends now has it.';

-- Added up for each server and image first: far fewer rows then carry a name.
CREATE VIEW user_session_stats AS
SELECT
    session_owners.user_email,
    extract(epoch FROM sum(used.running)) / 3600.0 AS total_hours,
    coalesce(extract(epoch FROM sum(used.on_gpu)) / 3600.0, 0) AS gpu_hours,
    coalesce(extract(epoch FROM sum(used.on_cpu)) / 3600.0, 0) AS cpu_hours,
    sum(used.sessions)::bigint AS total_sessions,
    count(DISTINCT used.container_base) AS applications_used,
    min(used.first_start) AS first_session,
    max(used.last_end) AS last_session,
    session_owners.hub
FROM session_owners
CROSS JOIN LATERAL (
    SELECT
        container_kinds.container_base,
        sum(run.counted_until - run.started_at) AS running,
        sum(run.counted_until - run.started_at) FILTER (
            WHERE coalesce(gpu_requested, node_is_named_for_gpus(node.word))) AS on_gpu,
        sum(run.counted_until - run.started_at) FILTER (
            WHERE NOT coalesce(gpu_requested, node_is_named_for_gpus(node.word))) AS on_cpu,
        count(*) AS sessions,
        min(run.started_at) AS first_start,
        max(run.counted_until) AS last_end
    FROM session_runs AS run
    JOIN container_kinds ON container_kinds.description_id = run.description_id
    LEFT JOIN words AS node ON node.id = run.node_id
    WHERE run.server_id = session_owners.server_id AND run.state IN ('running', 'ended')
    GROUP BY container_kinds.container_base
) AS used
GROUP BY session_owners.hub, session_owners.user_email;

COMMENT ON VIEW user_session_stats IS 'Each user''s sessions of all time, added up for each Hub.';
