-- What polls saw, joined once: spans that have ended and those that have not are one relation to
-- the planner, and all else is joined to both at once. It so knows how many users, nodes and images
-- there are, and adds up by them in memory; behind a union of whole joins it takes everything for
-- different and sorts it.
CREATE OR REPLACE VIEW container_observations AS
SELECT
    polls.at AS "timestamp",
    hub.word AS hub,
    observed_users.namespace,
    observed_users.pod_name,
    span.session_id,
    observed_users.user_email,
    observed_users.user_name,
    node.word AS node_name,
    observed_images.container_image,
    observed_images.container_base,
    observed_images.container_version,
    date_part('epoch', polls.at - span.began_at)::integer AS age_seconds
FROM polls
JOIN all_spans AS span ON span.block = polls.block
    AND span.first_poll <= polls.id
    AND span.last_poll >= polls.id
LEFT JOIN words AS hub ON hub.id = polls.hub_id
LEFT JOIN observed_users ON observed_users.id = span.user_id
LEFT JOIN observed_images ON observed_images.id = span.image_id
LEFT JOIN words AS node ON node.id = span.node_id;
