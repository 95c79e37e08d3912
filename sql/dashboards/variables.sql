-- What the variables of the Grafana dashboards can be.

-- name: hubs
SELECT hub FROM panel_hubs ORDER BY hub

-- name: groups
SELECT DISTINCT group_name
FROM panel_groups
WHERE hub = ANY (ARRAY[${hub:sqlstring}]::text[])
ORDER BY group_name

-- name: users
SELECT DISTINCT username
FROM panel_users
WHERE hub = ANY (ARRAY[${hub:sqlstring}]::text[])
ORDER BY username

-- name: nodes
SELECT DISTINCT value
FROM panel_over_time($__timeFrom(), $__timeTo(), 'node', ARRAY[${hub:sqlstring}]::text[])
WHERE value IS NOT NULL
ORDER BY value

-- name: images
SELECT DISTINCT value
FROM panel_over_time($__timeFrom(), $__timeTo(), 'image_base', ARRAY[${hub:sqlstring}]::text[])
WHERE value IS NOT NULL
ORDER BY value
