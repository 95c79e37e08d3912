-- The names of sampled metrics: what the planner has to know to read them by the shorter way.

-- Without it, it thinks that most spans repeat, and looks up the polls of each again and again.
CREATE STATISTICS observation_spans_distinct (ndistinct)
    ON block, first_poll, last_poll FROM observation_spans;

-- Each table joined by itself: of a union the planner does not know how many servers it has, and
-- expects a dozen times as many sessions as there are. Conditions on any column reach the tables.
CREATE OR REPLACE VIEW session_runs AS
SELECT
    ended.server_id, ended.description_id, ended.request_id, ended.node_id, ended.state,
    ended.started_at, ended.ended_at AS counted_until, owned.user_email, owned.hub, owned.username
FROM ended_sessions AS ended
JOIN session_owners AS owned ON owned.server_id = ended.server_id
UNION ALL
SELECT
    open.server_id, open.description_id, open.request_id, open.node_id, open.state,
    open.started_at, greatest(open.started_at, now() - interval '1 minute'), owned.user_email,
    owned.hub, owned.username
FROM open_sessions AS open
JOIN session_owners AS owned ON owned.server_id = open.server_id;

COMMENT ON VIEW session_runs IS
    'Sessions and whose they are; those that are open as if they had ended a minute ago.';

CREATE OR REPLACE VIEW user_sessions AS
SELECT
    session_runs.user_email,
    requests.pod_name,
    node.word AS node_name,
    width_bucket(session_runs.started_at, same_pod.starts)::bigint AS session_id,
    session_runs.started_at AS session_start,
    session_runs.counted_until AS session_end,
    extract(epoch FROM session_runs.counted_until - session_runs.started_at) / 3600.0
        AS runtime_hours,
    container_kinds.container_base,
    container_kinds.container_version,
    session_runs.hub,
    session_runs.username,
    coalesce(container_kinds.gpu_requested, node_is_named_for_gpus(node.word)) AS on_gpu
FROM session_runs
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

CREATE OR REPLACE VIEW user_session_stats AS
SELECT
    run.user_email,
    extract(epoch FROM sum(run.counted_until - run.started_at)) / 3600.0 AS total_hours,
    coalesce(extract(epoch FROM sum(run.counted_until - run.started_at) FILTER (
        WHERE coalesce(gpu_requested, node_is_named_for_gpus(node.word)))) / 3600.0, 0)
        AS gpu_hours,
    coalesce(extract(epoch FROM sum(run.counted_until - run.started_at) FILTER (
        WHERE NOT coalesce(gpu_requested, node_is_named_for_gpus(node.word)))) / 3600.0, 0)
        AS cpu_hours,
    count(*) AS total_sessions,
    count(DISTINCT container_kinds.container_base) AS applications_used,
    min(run.started_at) AS first_session,
    max(run.counted_until) AS last_session,
    run.hub
FROM session_runs AS run
JOIN container_kinds ON container_kinds.description_id = run.description_id
LEFT JOIN words AS node ON node.id = run.node_id
WHERE run.state IN ('running', 'ended')
GROUP BY run.hub, run.user_email;

-- One look into an index for each server and bound, where the first has an answer.
CREATE OR REPLACE VIEW users AS
SELECT
    known.email,
    known.username AS user_id,
    known.full_name,
    known.department,
    known.job_title,
    seen.first_seen,
    seen.last_seen,
    known.hub,
    known.username,
    coalesce(known.email, known.username) AS user_email
FROM people_history AS known
LEFT JOIN LATERAL (
    SELECT
        min(coalesce(
            (SELECT min(started_at) FROM ended_sessions WHERE server_id = servers.id),
            (SELECT min(started_at) FROM open_sessions WHERE server_id = servers.id)))
            AS first_seen,
        max(coalesce(
            (SELECT now() FROM open_sessions WHERE server_id = servers.id LIMIT 1),
            (SELECT ended_at FROM ended_sessions
                WHERE server_id = servers.id ORDER BY started_at DESC LIMIT 1))) AS last_seen
    FROM servers
    WHERE servers.hub = known.hub AND servers.username = known.username
) AS seen ON true
WHERE known.valid_to IS NULL
UNION ALL
SELECT NULL, username, NULL, NULL, NULL, min(first_at), max(last_at), hub, username, username
FROM server_spans
WHERE NOT EXISTS (
    SELECT FROM people_history AS known
    WHERE known.hub = server_spans.hub
        AND known.username = server_spans.username
        AND known.valid_to IS NULL)
GROUP BY hub, username;
