-- name: open_sessions
-- What starts or runs now by what it is, and what it requests; NULL where none of it is known.
SELECT
    hub,
    state,
    profile,
    image,
    node,
    gpus,
    count(*) AS sessions,
    sum(CASE WHEN namespace IS NULL THEN memory_guarantee_bytes
        ELSE coalesce(memory_guarantee_bytes, memory_limit_bytes) END)::double precision
        AS memory_requested_bytes,
    sum(CASE WHEN namespace IS NULL THEN cpu_guarantee_cores
        ELSE coalesce(cpu_guarantee_cores, cpu_limit_cores) END) AS cpu_requested_cores,
    sum(gpus) AS gpus_requested,
    sum(used.memory_last_bytes)::double precision AS memory_used_bytes,
    sum(used.cpu_last_cores) AS cpu_used_cores
FROM sessions
LEFT JOIN samples_of_late AS used ON used.session_id = sessions.id
WHERE ended_at IS NULL AND NOT simulated
GROUP BY hub, state, profile, image, node, gpus;

-- name: active_users
-- How many users of each Hub have a server now and had one since $1 - 1, 7 and 30 days.
WITH lately AS (
    SELECT server_id, 'infinity'::timestamptz AS last_at
    FROM open_sessions
    WHERE state = 'running' AND NOT simulated
    UNION ALL
    SELECT server_id, max(ended_at)
    FROM ended_sessions
    WHERE ended_at >= $1::timestamptz - interval '30 days' AND state = 'ended' AND NOT simulated
    GROUP BY server_id
),
users_of_hubs AS (
    SELECT servers.hub, servers.account_id, max(last_at) AS last_at
    FROM lately
    JOIN servers ON servers.id = server_id
    GROUP BY servers.hub, servers.account_id
)
SELECT
    hub,
    count(*) FILTER (WHERE last_at = 'infinity') AS now,
    count(*) FILTER (WHERE last_at >= $1::timestamptz - interval '24 hours') AS day,
    count(*) FILTER (WHERE last_at >= $1::timestamptz - interval '7 days') AS week,
    count(*) AS month
FROM users_of_hubs
GROUP BY hub;

-- name: users_and_requests
-- Who had a server since $1 - 30 days, and what the open ones request; NULL without an open one.
SELECT
    hub,
    username,
    count(*) FILTER (WHERE ended_at IS NULL) AS open_sessions,
    sum(CASE WHEN namespace IS NULL THEN memory_guarantee_bytes
        ELSE coalesce(memory_guarantee_bytes, memory_limit_bytes) END)
        FILTER (WHERE ended_at IS NULL)::double precision AS memory_requested_bytes,
    sum(CASE WHEN namespace IS NULL THEN cpu_guarantee_cores
        ELSE coalesce(cpu_guarantee_cores, cpu_limit_cores) END)
        FILTER (WHERE ended_at IS NULL) AS cpu_requested_cores,
    sum(used.memory_last_bytes) FILTER (WHERE ended_at IS NULL)::double precision
        AS memory_used_bytes,
    sum(used.cpu_last_cores) FILTER (WHERE ended_at IS NULL) AS cpu_used_cores
FROM sessions
LEFT JOIN samples_of_late AS used ON used.session_id = sessions.id
WHERE (ended_at IS NULL OR ended_at >= $1::timestamptz - interval '30 days') AND NOT simulated
GROUP BY hub, username
ORDER BY hub, username;

-- name: members_now
-- Who is in which group, as last seen.
SELECT hub, group_name, username
FROM group_memberships
WHERE valid_to IS NULL
ORDER BY hub, username, group_name;

-- name: database_size
-- What the whole database takes on disk, in bytes.
SELECT pg_database_size(current_database()) AS bytes;
