-- name: close_usage_day
-- Counts the usage of the next day that ended before $1; gives how many days.
SELECT usage_close(usage_day($1::timestamptz))::integer;

-- name: usage_open_from
-- When the first day began that ended before $1 and now, and whose usage is not counted.
SELECT usage_midnight(first_day)
FROM (
    SELECT CASE WHEN before = '-infinity'
        THEN (SELECT usage_day(min(started_at)) FROM session_rows) ELSE before END AS first_day
    FROM usage_closed
) AS open
WHERE first_day < usage_day(least($1::timestamptz, now()));

-- name: summarise_usage
-- Summarises usage of one day that ended before $1, by one dimension; gives how many.
SELECT usage_summarise()::integer WHERE $1::timestamptz IS NOT NULL;

-- name: usage_due_from
-- When the first day began that ended before $1 and is not summarised.
SELECT usage_midnight(min(day)) FROM usage_due WHERE day < usage_day($1::timestamptz);

-- name: use_much_memory
-- For what adds up all there is; until the end of the transaction.
SET LOCAL work_mem = '128MB';

-- name: analyse_sessions
-- Tells the planner how many there are.
ANALYZE open_sessions, ended_sessions;

-- name: own_servers_anew
-- Whose each server is and since when each user is here, from sessions and people.
SELECT owners_anew();

-- name: owners_that_differ
-- Servers and users of whom is kept what sessions and people do not say.
SELECT hub, username
FROM (
    (TABLE server_owners EXCEPT SELECT * FROM owners_of(NULL))
    UNION ALL
    (SELECT * FROM owners_of(NULL) EXCEPT TABLE server_owners)
) AS owners
UNION
SELECT hub, username
FROM (
    (TABLE user_starts EXCEPT SELECT * FROM starts_of(NULL))
    UNION ALL
    (SELECT * FROM starts_of(NULL) EXCEPT TABLE user_starts)
) AS starts
ORDER BY hub, username;

-- name: have_usage_alone
-- Nobody changes sessions or usage until this transaction ends.
SELECT pg_advisory_xact_lock(7236280, 3);

-- name: forget_sessions
-- Empties what is computed from events. Usage that is not there is counted when read.
TRUNCATE
    open_sessions, ended_sessions, usage_days, usage_months, usage_summary, usage_due,
    hourly_node_counts, hourly_image_counts, hourly_changed, resource_sums, resource_due,
    server_owners, user_starts;

-- name: open_all_usage
-- No day and no hour is counted.
WITH hours AS (UPDATE hourly_counted SET before = '-infinity')
UPDATE usage_closed SET before = '-infinity';

-- name: keep_activity
-- What checks measured of sessions, which no event tells.
CREATE TEMPORARY TABLE activity_to_keep ON COMMIT DROP AS
SELECT
    id, started_at, seen_at, polled_at, last_activity_at, active_seconds, resolution_seconds,
    active_hours
FROM session_rows
WHERE polled_at IS NOT NULL OR seen_at IS NOT NULL;

-- name: find_activity
-- Finds what was measured of sessions by when they started.
CREATE INDEX ON activity_to_keep (started_at);

-- name: find_activity_of_one
-- Finds it by the session too, which is quick whatever the planner thinks of how many are folded.
CREATE INDEX ON activity_to_keep (id);

-- name: make_room_for_folds
-- What session_fold_anew folds.
CREATE TEMPORARY TABLE folded_sessions (LIKE session_fold_digested) ON COMMIT DROP;

-- name: analyse_activity
-- Tells the planner how much was measured.
ANALYZE activity_to_keep;

-- name: sessions_filed
-- When the first and the last session started, by events or by what is stored.
SELECT min(first_at) AS first_at, max(last_at) AS last_at
FROM (
    SELECT min(filed_at) AS first_at, max(filed_at) AS last_at
    FROM event_rows
    WHERE session_id IS NOT NULL
    UNION ALL
    SELECT min(started_at), max(started_at) FROM session_rows
) AS bounds;

-- name: fold_filed
-- Folds the sessions that started in [$1, $2), where there are none; gives how many.
SELECT session_fold_anew($1, $2);

-- name: close_usage_days
-- Counts the usage of the next days that ended before $1, at most $2; whether there were any.
SELECT usage_close(usage_day($1::timestamptz), $2);

-- name: sessions_that_differ
-- Sessions that started in [$1, $2) and are not what their events say.
SELECT coalesce(kept.id, fold.id) AS id
FROM (SELECT * FROM session_fold WHERE started_at >= $1 AND started_at < $2) AS fold
FULL JOIN (SELECT * FROM sessions WHERE started_at >= $1 AND started_at < $2) AS kept
    ON kept.id = fold.id
WHERE (
    kept.hub, kept.username, kept.server_name, kept.started_at, kept.state, kept.ready_at,
    kept.ended_at, kept.ended_after, kept.ended_before, kept.end_reason, kept.end_source,
    kept.ended_by, kept.exit_status, kept.started_by, kept.display_name, kept.groups,
    kept.spawner_class, kept.profile, kept.user_options, kept.image, kept.image_name,
    kept.image_tag, kept.image_digest, kept.node, kept.namespace, kept.pod_name,
    kept.cpu_guarantee_cores, kept.cpu_limit_cores, kept.memory_guarantee_bytes,
    kept.memory_limit_bytes, kept.gpus, kept.simulated, kept.inferred
) IS DISTINCT FROM (
    fold.hub, fold.username, fold.server_name, fold.started_at, fold.state, fold.ready_at,
    fold.ended_at, fold.ended_after, fold.ended_before, fold.end_reason, fold.end_source,
    fold.ended_by, fold.exit_status, fold.started_by, fold.display_name, fold.groups,
    fold.spawner_class, fold.profile, fold.user_options, fold.image, fold.image_name,
    fold.image_tag, fold.image_digest, fold.node, fold.namespace, fold.pod_name,
    fold.cpu_guarantee_cores, fold.cpu_limit_cores, fold.memory_guarantee_bytes,
    fold.memory_limit_bytes, fold.gpus, fold.simulated, fold.inferred
);

-- name: usage_that_differs
-- Closed days of servers in [$1, $2) whose usage is not what sessions say.
SELECT day, server_id FROM usage_differences(usage_day($1), usage_day($2));

-- name: rollups_that_differ
-- Months and summarised days that are not what usage_days says.
SELECT month AS day, 'month' AS rollup
FROM (
    SELECT
        month, account_id, description_id, running_microseconds, waiting_microseconds,
        active_microseconds, active_known, starts, failures
    FROM usage_months
    UNION ALL
    SELECT
        date_trunc('month', day::timestamp)::date, account_id, description_id,
        -running_microseconds, -waiting_microseconds, -coalesce(active_microseconds, 0),
        -(active_microseconds IS NOT NULL)::integer, -starts, -failures
    FROM usage_days
    JOIN servers ON servers.id = server_id
) AS sides
GROUP BY month, account_id, description_id
HAVING (
    sum(running_microseconds), sum(waiting_microseconds), sum(active_microseconds),
    sum(active_known), sum(starts), sum(failures)
) <> (0, 0, 0, 0, 0, 0)
UNION
SELECT coalesce(kept.day, counted.day), 'summary'
FROM usage_summary AS kept
FULL JOIN (
    SELECT summary.*
    FROM (SELECT DISTINCT day, dimension FROM usage_summary) AS summarised
    CROSS JOIN LATERAL usage_summary_of(summarised.day, summarised.dimension) AS summary
) AS counted ON kept.day = counted.day AND kept.hub = counted.hub
    AND kept.dimension = counted.dimension
    AND coalesce(kept.value, '') = coalesce(counted.value, '')
-- column by column: TimescaleDB cannot give a whole row of a chunk that is compressed in part
WHERE (
    kept.users, kept.running_microseconds, kept.hour_users, kept.hour_microseconds
) IS DISTINCT FROM (
    counted.users, counted.running_microseconds, counted.hour_users, counted.hour_microseconds
)
    AND (coalesce(kept.day, counted.day), coalesce(kept.dimension, counted.dimension))
        NOT IN (SELECT day, dimension FROM usage_due);
