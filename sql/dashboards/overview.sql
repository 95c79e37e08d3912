-- Panels of the Grafana dashboard Overview.

-- name: active_users_of_an_hour
SELECT count(*) AS users
FROM panel_usage_by_user(
    $__timeTo()::timestamptz - interval '1 hour', $__timeTo(),
    ARRAY[${hub:sqlstring}]::text[], '{*}')
WHERE hours > 0

-- name: active_users_of_a_day
SELECT count(*) AS users
FROM panel_usage_by_user(
    $__timeTo()::timestamptz - interval '24 hours', $__timeTo(),
    ARRAY[${hub:sqlstring}]::text[], '{*}')
WHERE hours > 0

-- name: active_users_of_a_month
SELECT count(*) AS users
FROM panel_usage_by_user(
    $__timeTo()::timestamptz - interval '30 days', $__timeTo(),
    ARRAY[${hub:sqlstring}]::text[], '{*}')
WHERE hours > 0

-- name: active_users_of_a_year
SELECT count(*) AS users
FROM panel_usage_by_user(
    $__timeTo()::timestamptz - interval '365 days', $__timeTo(),
    ARRAY[${hub:sqlstring}]::text[], '{*}')
WHERE hours > 0

-- name: total_users
SELECT count(*) AS users FROM users WHERE hub = ANY (ARRAY[${hub:sqlstring}]::text[])

-- name: servers_now
SELECT count(*) AS servers
FROM panel_servers_seen($__timeTo()::timestamptz - interval '1 microsecond', $__timeTo())
WHERE hub = ANY (ARRAY[${hub:sqlstring}]::text[])

-- name: seen_in_an_hour
SELECT
    count(DISTINCT (hub, username, server_name)) AS "Applications",
    count(DISTINCT image_base) AS "Application types",
    count(DISTINCT node) AS "Nodes"
FROM panel_servers_seen($__timeTo()::timestamptz - interval '1 hour', $__timeTo())
WHERE hub = ANY (ARRAY[${hub:sqlstring}]::text[])

-- name: users_over_time
SELECT moment AS time, value AS metric, users
FROM panel_over_time($__timeFrom(), $__timeTo(), 'hub', ARRAY[${hub:sqlstring}]::text[])
ORDER BY moment

-- name: servers_over_time
SELECT moment AS time, value AS metric, servers
FROM panel_over_time($__timeFrom(), $__timeTo(), 'hub', ARRAY[${hub:sqlstring}]::text[])
ORDER BY moment

-- name: servers_by_node
SELECT moment AS time, coalesce(value, 'not known') AS metric, servers
FROM panel_over_time($__timeFrom(), $__timeTo(), 'node', ARRAY[${hub:sqlstring}]::text[])
ORDER BY moment

-- name: servers_by_image
SELECT moment AS time, coalesce(value, 'not known') AS metric, servers
FROM panel_over_time($__timeFrom(), $__timeTo(), 'image_base', ARRAY[${hub:sqlstring}]::text[])
ORDER BY moment

-- name: why_sessions_ended
SELECT coalesce(reason, 'not known') AS reason, sum(sessions)::bigint AS sessions
FROM panel_ends($__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[])
GROUP BY reason
ORDER BY sessions DESC, reason

-- name: failed_starts
SELECT
    coalesce(sum(sessions) FILTER (WHERE state = 'failed'), 0)::double precision
        / nullif(sum(sessions), 0) AS share
FROM panel_ends($__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[])
WHERE reason IS DISTINCT FROM 'cancelled'

-- name: top_users
SELECT hub, username, full_name, user_email, hours, starts, last_seen
FROM panel_top_users(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], '{*}', 100)

-- name: images
SELECT image_base, image_version, users, hours, starts
FROM panel_usage_by_image(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], '{*}')
LIMIT 100

-- name: week
SELECT to_char(hour, 'FM00') AS hour, weekday || ' ' || (
    '{Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday}'::text[])[weekday] AS weekday, servers
FROM panel_week_hours(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], 'UTC')
ORDER BY weekday, hour

-- name: long_running
SELECT hub, username, server_name, image, node, started_at, hours
FROM panel_servers_seen($__timeTo()::timestamptz - interval '1 microsecond', $__timeTo())
WHERE hub = ANY (ARRAY[${hub:sqlstring}]::text[]) AND hours > 24
ORDER BY hours DESC
LIMIT 100
