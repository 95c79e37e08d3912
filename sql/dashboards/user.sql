-- Panels of the Grafana dashboard User detail.

-- name: the_user
SELECT full_name, email, department, job_title, first_seen, last_seen
FROM users
WHERE hub = ${hub:sqlstring} AND username = ${user:sqlstring}

-- name: groups
SELECT group_name, valid_from, valid_to
FROM group_memberships
WHERE hub = ${hub:sqlstring} AND username = ${user:sqlstring}
    AND valid_from < $__timeTo() AND (valid_to IS NULL OR valid_to > $__timeFrom())
ORDER BY group_name, valid_from

-- name: hours
SELECT
    hours AS "Hours", hours_with_gpu AS "Hours with GPU", hours_without_gpu AS "Hours without GPU"
FROM panel_user(${hub:sqlstring}, ${user:sqlstring}, $__timeFrom(), $__timeTo())

-- name: sessions_counted
SELECT
    sessions AS "Sessions", failures AS "Failed starts", images AS "Applications used"
FROM panel_user(${hub:sqlstring}, ${user:sqlstring}, $__timeFrom(), $__timeTo())

-- name: requested
SELECT
    core_hours AS "Core-hours", gib_hours AS "GiB-hours", gpu_hours AS "GPU-hours",
    waiting_hours AS "Waiting"
FROM panel_user(${hub:sqlstring}, ${user:sqlstring}, $__timeFrom(), $__timeTo())

-- name: timeline
SELECT moment AS time, server, doing
FROM panel_user_timeline(${hub:sqlstring}, ${user:sqlstring}, $__timeFrom(), $__timeTo())

-- name: hours_by_day
SELECT
    greatest(day, $__timeFrom()) AS time, hours_with_gpu AS "With GPU",
    hours_without_gpu AS "Without GPU"
FROM panel_user_days(${hub:sqlstring}, ${user:sqlstring}, $__timeFrom(), $__timeTo())
ORDER BY 1

-- name: sessions
SELECT
    started_at, ended_at,
    extract(epoch FROM coalesce(ended_at, now()) - started_at) AS seconds,
    extract(epoch FROM ready_at - started_at) AS waiting_seconds,
    server_name, state, end_reason, profile, image, node, gpus, inferred
FROM sessions
WHERE hub = ${hub:sqlstring} AND username = ${user:sqlstring}
    AND started_at < $__timeTo() AND (ended_at IS NULL OR ended_at > $__timeFrom())
ORDER BY started_at DESC
LIMIT 1000
