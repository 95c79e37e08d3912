-- Panels of the Grafana dashboard Resources.

-- name: measured_share
SELECT count(source)::double precision / nullif(count(*), 0) AS share
FROM panel_resources(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])

-- name: memory
SELECT
    sum(memory_requested_bytes * memory_hours) / 1073741824 AS "Asked for",
    sum(memory_mean_bytes * memory_hours) / 1073741824 AS "Used",
    sum(memory_unused_gib_hours) AS "Never touched"
FROM panel_resources(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
WHERE memory_requested_bytes IS NOT NULL AND memory_peak_bytes IS NOT NULL

-- name: profiles
SELECT
    coalesce(value, 'no profile') AS profile, sessions, memory_hours, memory_unused_gib_hours,
    memory_requested_bytes, memory_mean_bytes, memory_peak_p95_bytes, memory_peak_bytes,
    cpu_requested_cores, cpu_mean_cores, cpu_peak_p95_cores, oom_kills
FROM panel_overasking(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[],
    ARRAY[${group:sqlstring}]::text[], 'profile')
ORDER BY memory_unused_gib_hours DESC NULLS LAST, profile
LIMIT 100

-- name: images
SELECT
    coalesce(value, 'not known') AS image_base, sessions, memory_hours, memory_unused_gib_hours,
    memory_requested_bytes, memory_mean_bytes, memory_peak_p95_bytes, memory_peak_bytes,
    cpu_requested_cores, cpu_mean_cores, cpu_peak_p95_cores, oom_kills
FROM panel_overasking(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[],
    ARRAY[${group:sqlstring}]::text[], 'image_base')
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
FROM panel_resources(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
WHERE memory_unused_gib_hours > 0
ORDER BY memory_unused_gib_hours DESC, started_at
LIMIT 100
