-- name: ring_open
-- The capacity of a ring, which is made where it is not there.
SELECT ring_open($1::text, $2::bigint, $3::boolean, $4::boolean);

-- name: ring_write
-- Writes a JSON array of samples; gives how many it took, were too old, and were from the future.
SELECT written, older, ahead FROM ring_write($1::text, $2::text::jsonb);

-- name: ring_recent
-- The newest samples of a ring, newest first.
SELECT * FROM ring_recent($1::text, $2::integer, $3::text, $4::text);

-- name: ring_resize
-- Sets the capacity of a ring; gives how many rows went.
SELECT ring_resize($1::text, $2::bigint);

-- name: ring_clean
-- Empties the slots of samples older than so many hours; gives how many.
SELECT ring_clean($1::text, $2::double precision, $3::boolean);

-- name: ring_state
-- What a ring holds.
SELECT * FROM ring_state($1::text);

-- name: record_pod_samples
-- Adds what pods used to the sessions that they run; gives how many samples found theirs.
SELECT record_pod_samples($1::text::jsonb);

-- name: record_server_samples
-- Adds samples of a user's own server to its open session; NULL if none is open.
SELECT record_server_samples($1::text, $2::text, $3::text, $4::text::jsonb) AS taken;

-- name: overasking
-- What sessions asked for and used, by profile and image, the most that nobody touched first.
SELECT *
FROM overasking
WHERE hub = ANY ($1::text[])
ORDER BY memory_unused_gib_hours DESC NULLS LAST, hub, profile, image_name;
