-- Panels of the Grafana dashboard Nodes and images. '*' among the nodes or images means all of
-- them, and those that are not known.

-- name: servers_by_node
SELECT moment AS time, coalesce(value, 'not known') AS metric, servers
FROM panel_over_time($__timeFrom(), $__timeTo(), 'node', ARRAY[${hub:sqlstring}]::text[])
WHERE '*' IN (${node:sqlstring}) OR value IN (${node:sqlstring})
ORDER BY moment

-- name: users_by_node
SELECT moment AS time, coalesce(value, 'not known') AS metric, users
FROM panel_over_time($__timeFrom(), $__timeTo(), 'node', ARRAY[${hub:sqlstring}]::text[])
WHERE '*' IN (${node:sqlstring}) OR value IN (${node:sqlstring})
ORDER BY moment

-- name: node_hours
SELECT moment AS time, coalesce(value, 'not known') AS metric, servers
FROM panel_over_time($__timeFrom(), $__timeTo(), 'node', ARRAY[${hub:sqlstring}]::text[])
WHERE '*' IN (${node:sqlstring}) OR value IN (${node:sqlstring})
ORDER BY moment

-- name: nodes
SELECT
    coalesce(value, 'not known') AS node, sum(hours) AS hours, avg(servers) AS servers,
    max(servers) AS most_servers, max(users) AS most_users
FROM panel_over_time($__timeFrom(), $__timeTo(), 'node', ARRAY[${hub:sqlstring}]::text[])
WHERE '*' IN (${node:sqlstring}) OR value IN (${node:sqlstring})
GROUP BY value
ORDER BY hours DESC

-- name: servers_by_gpus
SELECT
    moment AS time, coalesce(value || ' GPUs', 'no GPU told') AS metric, servers
FROM panel_over_time($__timeFrom(), $__timeTo(), 'gpus', ARRAY[${hub:sqlstring}]::text[])
ORDER BY moment

-- name: servers_by_profile
SELECT moment AS time, coalesce(value, 'no profile') AS metric, servers
FROM panel_over_time($__timeFrom(), $__timeTo(), 'profile', ARRAY[${hub:sqlstring}]::text[])
ORDER BY moment

-- name: servers_by_image
SELECT moment AS time, coalesce(value, 'not known') AS metric, servers
FROM panel_over_time($__timeFrom(), $__timeTo(), 'image_base', ARRAY[${hub:sqlstring}]::text[])
WHERE '*' IN (${image:sqlstring}) OR value IN (${image:sqlstring})
ORDER BY moment

-- name: image_adoption
SELECT
    greatest(bucket, $__timeFrom()) AS time, coalesce(image_base, 'not known') AS metric, users
FROM panel_image_adoption($__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[])
WHERE '*' IN (${image:sqlstring}) OR image_base IN (${image:sqlstring})
ORDER BY 1

-- name: images
SELECT image_base, image_version, image, users, hours, starts
FROM panel_usage_by_image(
    $__timeFrom(), $__timeTo(), ARRAY[${hub:sqlstring}]::text[], '{*}')
WHERE '*' IN (${image:sqlstring}) OR image_base IN (${image:sqlstring})
LIMIT 100
