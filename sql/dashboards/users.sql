-- Panels of the Grafana dashboard Users.

-- name: active_users
SELECT count(*) AS users
FROM panel_usage_by_user(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
WHERE hours > 0

-- name: users_added
SELECT count(*) AS users
FROM panel_people(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
WHERE first_seen >= $__timeFrom() AND first_seen < $__timeTo()

-- name: hours_used
SELECT coalesce(sum(hours), 0) AS hours
FROM panel_usage_by_user(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])

-- name: hours_with_and_without_gpu
SELECT
    coalesce(sum(hours_with_gpu), 0) AS "With GPU",
    coalesce(sum(hours_without_gpu), 0) AS "Without GPU"
FROM panel_requested_by_user(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])

-- name: requested
SELECT
    sum(core_hours) AS "Core-hours",
    sum(gib_hours) AS "GiB-hours",
    sum(gpu_hours) AS "GPU-hours"
FROM panel_requested_by_user(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])

-- name: user_growth
SELECT date_trunc('day', first_seen, 'UTC') AS time, count(*) AS "New users"
FROM panel_people(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
WHERE first_seen >= $__timeFrom() AND first_seen < $__timeTo()
GROUP BY 1
ORDER BY 1

-- name: total_users_over_time
SELECT greatest(day, $__timeFrom()) AS time, max(users) AS "Users"
FROM (
    SELECT date_trunc('day', first_seen, 'UTC') AS day,
        sum(count(*)) OVER (ORDER BY date_trunc('day', first_seen, 'UTC')) AS users
    FROM panel_people(
        $__timeFrom(), $__timeTo(),
        ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
    WHERE first_seen < $__timeTo()
    GROUP BY 1
) AS days
GROUP BY 1
ORDER BY 1

-- name: daily_users
SELECT greatest(day, $__timeFrom()) AS time, hub AS metric, users
FROM panel_daily_users(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
ORDER BY 1

-- name: hours_by_node
SELECT coalesce(node, 'not known') AS node, hours
FROM panel_usage_by_node(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
ORDER BY hours DESC

-- name: image_versions
SELECT
    coalesce(image_base, 'not known') AS image_base,
    coalesce(image_version, 'not known') AS image_version, users, hours, starts
FROM panel_usage_by_image(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
ORDER BY starts DESC, image_base, image_version
LIMIT 100

-- name: top_users
SELECT
    hub, username, full_name, user_email, department, hours, starts, last_seen
FROM panel_top_users(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[],
    ARRAY[${group:sqlstring}]::text[], 100)
