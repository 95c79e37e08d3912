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
