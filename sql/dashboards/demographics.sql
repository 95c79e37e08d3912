-- Panels of the Grafana dashboard Demographics.

-- name: known_departments
SELECT count(department)::double precision / nullif(count(*), 0) AS share
FROM panel_usage_by_user(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])

-- name: departments
SELECT
    coalesce(department, 'not known') AS department,
    count(*) FILTER (WHERE hours > 0) AS users, sum(hours) AS hours,
    sum(hours_with_gpu) AS hours_with_gpu, sum(core_hours) AS core_hours,
    sum(gib_hours) AS gib_hours
FROM panel_requested_by_user(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
GROUP BY department
ORDER BY hours DESC

-- name: hours_by_department
SELECT coalesce(department, 'not known') AS department, sum(hours) AS hours
FROM panel_usage_by_user(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
GROUP BY department
ORDER BY hours DESC

-- name: users_by_job_title
SELECT coalesce(job_title, 'not known') AS job_title, count(*) AS users
FROM panel_usage_by_user(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
WHERE hours > 0
GROUP BY job_title
ORDER BY users DESC, job_title

-- name: job_titles
SELECT
    coalesce(job_title, 'not known') AS job_title,
    count(*) FILTER (WHERE hours > 0) AS users, sum(hours) AS hours,
    sum(hours_with_gpu) AS hours_with_gpu
FROM panel_requested_by_user(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
GROUP BY job_title
ORDER BY hours DESC

-- name: departments_by_image
SELECT
    coalesce(department, 'not known') AS department, coalesce(image_base, 'not known') AS image,
    users
FROM panel_usage_by_department_and_image(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], ARRAY[${group:sqlstring}]::text[])
ORDER BY department, image
