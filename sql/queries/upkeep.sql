-- name: commit_before_it_is_on_disk
-- Until the end of the transaction; it gives nothing.
-- A crash of the database may undo it, and then all that was built on it.
SET LOCAL synchronous_commit = off;

-- name: make_event_partitions
-- Makes the partitions for events until $1 that are missing; gives how many.
SELECT make_event_partitions(ARRAY(
    SELECT generate_series($1::timestamptz - interval '6 months', $1, interval '1 month')));

-- name: event_partitions_due_from
-- The start of the first partition until $1 that is missing.
SELECT event_partition_missing_from($1::timestamptz - interval '6 months', $1);

-- name: compress_chunks
-- Compresses one chunk that closed before $1; gives how many.
SELECT compress_chunks($1, 1);

-- name: compression_due_from
-- When the first chunk closed that should be compressed and is not.
SELECT uncompressed_from($1);

-- name: drop_observations
-- Drops the oldest polls before $1, a few; gives how many blocks of them.
SELECT dropped
FROM drop_observations($1, 2) AS dropped
CROSS JOIN LATERAL drop_emptied_chunks(dropped > 0);

-- name: observations_due_from
-- The oldest poll that should be dropped.
SELECT min(at) FROM polls WHERE at < $1;

-- name: count_hours
-- Counts the oldest hour that ended before $1; gives how many.
SELECT hourly_count($1, 1);

-- name: hours_uncounted_from
-- When the first hour ended that should be counted and is not.
-- The one that runs is not due, whatever clock $1 is by.
SELECT min(hour) + interval '1 hour'
FROM hourly_uncounted
WHERE hour + interval '1 hour' <= least($1, now());

-- name: observations_that_would_go
-- How many polls there are before $1, and how many servers in how many observations they saw.
SELECT
    count(*) AS polls,
    coalesce(sum(seen.observations), 0)::bigint AS observations
FROM polls
CROSS JOIN LATERAL (
    SELECT count(*) AS observations
    FROM all_spans AS span
    WHERE span.block = polls.block
        AND span.first_poll <= polls.id
        AND span.last_poll >= polls.id
) AS seen
WHERE at < $1 AND NOT EXISTS (
    SELECT FROM polls AS later
    WHERE later.hub_id = polls.hub_id AND later.block = polls.block AND later.at >= $1);
