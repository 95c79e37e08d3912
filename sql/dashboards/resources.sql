-- Panels of the Grafana dashboard Resources.

-- name: measured_share
SELECT sum(measured)::double precision / nullif(sum(sessions), 0)::double precision AS share
FROM panel_overasking(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[],
    ARRAY[${group:sqlstring}]::text[], 'hub')

-- name: memory
SELECT
    sum(memory_requested_gib_hours) AS "Asked for",
    sum(memory_used_gib_hours) AS "Used",
    sum(memory_unused_gib_hours) AS "Never touched"
FROM panel_overasking(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[],
    ARRAY[${group:sqlstring}]::text[], 'hub')

-- name: profiles
SELECT
    coalesce(value, 'no profile') AS profile, measured AS sessions, memory_hours,
    memory_unused_gib_hours, memory_requested_bytes, memory_mean_bytes, memory_peak_p95_bytes,
    memory_peak_bytes, cpu_requested_cores, cpu_mean_cores, cpu_peak_p95_cores, oom_kills
FROM panel_overasking(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[],
    ARRAY[${group:sqlstring}]::text[], 'profile')
WHERE measured > 0
ORDER BY memory_unused_gib_hours DESC NULLS LAST, profile
LIMIT 100

-- name: images
SELECT
    coalesce(value, 'not known') AS image_base, measured AS sessions, memory_hours,
    memory_unused_gib_hours, memory_requested_bytes, memory_mean_bytes, memory_peak_p95_bytes,
    memory_peak_bytes, cpu_requested_cores, cpu_mean_cores, cpu_peak_p95_cores, oom_kills
FROM panel_overasking(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[],
    ARRAY[${group:sqlstring}]::text[], 'image_base')
WHERE measured > 0
ORDER BY memory_unused_gib_hours DESC NULLS LAST, image_base
LIMIT 100

-- name: memory_shares
SELECT
    CASE tenth
        WHEN 10 THEN 'all or more'
        ELSE concat(tenth * 10, ' to ', tenth * 10 + 10, ' %')
    END AS share,
    sessions
FROM panel_memory_shares(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
ORDER BY tenth

-- name: most_unused
SELECT
    hub, username, server_name, started_at, profile, image_base, memory_hours,
    memory_requested_bytes, memory_peak_bytes, memory_unused_gib_hours
FROM panel_most_unused(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
