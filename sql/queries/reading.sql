-- name: usage_by
-- Usage by bucket and by one thing more, most seconds first.
-- Of the user $2, of who was in the groups $3, or of everyone of the Hubs $1 in [$4, $5), by $8;
-- buckets of $6 in the zone $7, or one where $6 is NULL.
SELECT
    bucket,
    hub,
    value,
    count(*) FILTER (WHERE running > 0) AS users,
    sum(running) / 1000000 AS seconds,
    sum(waiting) / 1000000 AS waiting_seconds,
    sum(active) / 1000000 AS active_seconds,
    sum(gib_hours) AS gib_hours,
    sum(core_hours) AS core_hours,
    sum(gpu_hours) AS gpu_hours,
    sum(starts)::bigint AS starts,
    sum(failures)::bigint AS failures
FROM (
    SELECT
        bucket, servers.hub, value, servers.account_id, sum(running) AS running,
        sum(waiting) AS waiting,
        sum(active) AS active,
        sum(running / 3600000000 * memory_gib) AS gib_hours,
        sum(running / 3600000000 * cores) AS core_hours,
        sum(running / 3600000000 * gpus) AS gpu_hours,
        sum(starts) AS starts, sum(failures) AS failures
    FROM usage_asked(
        $1::text[], $2::text, $3::text[], $4::timestamptz, $5::timestamptz, $6::text::interval,
        $7::text, $8::text) AS part
    JOIN servers ON servers.id = part.server_id AND servers.hub = ANY ($1)
    JOIN usage_resources AS requested ON requested.id = part.description_id
    LEFT JOIN words AS node ON node.id = part.node_id
    CROSS JOIN LATERAL (
        SELECT CASE $8
            WHEN 'user' THEN servers.username
            WHEN 'group' THEN part.group_name
            WHEN 'server' THEN servers.server_name
            WHEN 'profile' THEN requested.profile
            WHEN 'image' THEN requested.image
            WHEN 'node' THEN node.word
            WHEN 'hub' THEN servers.hub
        END AS value
    ) AS named
    GROUP BY bucket, servers.hub, value, servers.account_id
) AS of_user
GROUP BY bucket, hub, value
ORDER BY bucket, seconds DESC, value, hub;

-- name: usage_days_of_user
-- One user's usage by day, in no order.
-- Of the user $2 of the Hub $1 in [$3, $4), by days of the zone $6; hours of resources of days from
-- $5 on.
SELECT *
FROM usage_days_of_user(
    $1::text, $2::text, $3::timestamptz, $4::timestamptz, $5::timestamptz, $6::text);

-- name: seconds_over_time
-- How long everybody's servers ran, by bucket and by one thing more.
-- Of the Hubs $1 in [$2, $3), by $6, which is hub, node, image or profile; buckets of $4, a day or
-- more, in the zone $5. Days that are summarised are read from there.
SELECT
    usage_bucket($4::text::interval, bucket, $5::text) AS bucket,
    coalesce(value, CASE WHEN $6 = 'hub' THEN hub END) AS value,
    sum(seconds) AS seconds
FROM usage_over_time(
    $2::timestamptz, $3::timestamptz,
    CASE WHEN $5 = 'UTC' THEN interval '1 day' ELSE interval '1 hour' END, $6::text, $5)
WHERE hub = ANY ($1::text[])
GROUP BY 1, 2;

-- name: users_page
-- A page of users with their usage.
-- Of the Hubs $1 in [$2, $3): those who had some, or whose name has $4 in it; ordered by $5,
-- ascending unless $6; after the sort key $7 of the user $8 of the Hub $9, whose person_id is $11;
-- $10 at most. What is unknown sorts as least.
-- Names of those on the page alone.
WITH searched AS MATERIALIZED (
    SELECT person.id AS person_id, person.hub, person.username
    FROM servers AS person
    WHERE $4::text IS NOT NULL
        AND person.id = person.account_id
        AND person.hub = ANY ($1::text[])
        AND (strpos(lower(person.username), lower($4)) > 0
            OR (person.hub, person.username) IN (
                SELECT known.hub, known.username
                FROM people_history AS known
                WHERE known.valid_to IS NULL
                    AND (strpos(lower(known.full_name), lower($4)) > 0
                        OR strpos(lower(known.email), lower($4)) > 0)))
),
of_person AS MATERIALIZED (
    SELECT
        server_id AS person_id,
        sum(running::double precision) / 1000000 AS seconds,
        sum(active::double precision) / 1000000 AS active_seconds,
        sum(running / 3600000000.0::double precision * memory_gib) AS gib_hours,
        sum(running / 3600000000.0::double precision * cores) AS core_hours,
        sum(running / 3600000000.0::double precision * gpus) AS gpu_hours,
        sum(starts) AS starts,
        sum(failures) AS failures
    FROM usage_totals($2::timestamptz, $3::timestamptz)
    JOIN usage_resources AS requested ON requested.id = description_id
    WHERE $4 IS NULL OR server_id IN (SELECT searched.person_id FROM searched)
    GROUP BY server_id
),
ordered AS MATERIALIZED (
    SELECT
        of_user.person_id,
        CASE WHEN $5 = 'username' THEN of_user.username END AS by_username,
        CASE WHEN $5 = 'username' THEN of_user.hub END AS by_hub,
        CASE WHEN $6::boolean THEN -1 ELSE 1 END * CASE $5::text
            WHEN 'seconds' THEN coalesce(seconds, 0)
            WHEN 'active_seconds' THEN coalesce(active_seconds, -1)
            WHEN 'gib_hours' THEN coalesce(gib_hours, -1)
            WHEN 'core_hours' THEN coalesce(core_hours, -1)
            WHEN 'gpu_hours' THEN coalesce(gpu_hours, -1)
            WHEN 'starts' THEN coalesce(starts, 0)
            WHEN 'failures' THEN coalesce(failures, 0)
            ELSE 0
        END AS sort_key
    FROM (
        SELECT person.id AS person_id, person.hub, person.username
        FROM servers AS person
        WHERE $4 IS NULL AND person.hub = ANY ($1)
        UNION ALL
        SELECT searched.person_id, searched.hub, searched.username FROM searched
    ) AS of_user
    LEFT JOIN of_person ON of_person.person_id = of_user.person_id
    WHERE $4 IS NOT NULL OR of_person.person_id IS NOT NULL
),
page AS MATERIALIZED (
    SELECT *
    FROM ordered
    WHERE $7::double precision IS NULL
        OR sort_key > $7
        OR (sort_key = $7 AND CASE
            WHEN $5 = 'username' AND $6 THEN (by_username, by_hub) < ($8::text, $9::text)
            WHEN $5 = 'username' THEN (by_username, by_hub) > ($8, $9)
            ELSE person_id > $11::integer END)
    ORDER BY
        sort_key,
        CASE WHEN $6 THEN by_username END DESC,
        CASE WHEN $6 THEN by_hub END DESC,
        CASE WHEN NOT $6 THEN by_username END,
        CASE WHEN NOT $6 THEN by_hub END,
        person_id
    LIMIT $10
)
SELECT
    person.hub,
    person.username,
    coalesce(seconds, 0) AS seconds,
    active_seconds,
    gib_hours,
    core_hours,
    gpu_hours,
    coalesce(starts, 0) AS starts,
    coalesce(failures, 0) AS failures,
    page.person_id,
    page.sort_key,
    known.full_name,
    known.department,
    (SELECT count(*) FROM ordered) AS total
FROM page
JOIN servers AS person ON person.id = page.person_id
LEFT JOIN of_person ON of_person.person_id = page.person_id
LEFT JOIN people_history AS known
    ON known.hub = person.hub AND known.username = person.username AND known.valid_to IS NULL
ORDER BY
    page.sort_key,
    CASE WHEN $6 THEN by_username END DESC,
    CASE WHEN $6 THEN by_hub END DESC,
    CASE WHEN NOT $6 THEN by_username END,
    CASE WHEN NOT $6 THEN by_hub END,
    page.person_id;

-- name: sessions_of_user_page
-- A page of one user's sessions, newest first.
-- Of the user $2 of the Hub $1, those that overlap [$3, $4), of the server $5 or of all, older than
-- ($6, $7), at most $8. LIMIT 1: each is looked up by its id, whatever the planner believes.
SELECT found.*
FROM (
    SELECT session.id
    FROM servers
    CROSS JOIN LATERAL sessions_of_span(
        ROW(servers.id, $3::timestamptz, $4::timestamptz)::usage_span) AS session
    WHERE servers.hub = $1
        AND servers.username = $2
        AND ($5::text IS NULL OR servers.server_name = $5)
        AND ($6::timestamptz IS NULL OR (session.started_at, session.id) < ($6, $7::uuid))
    ORDER BY session.started_at DESC, session.id DESC
    LIMIT $8
) AS picked
CROSS JOIN LATERAL (
    SELECT * FROM sessions_as_measured WHERE id = picked.id LIMIT 1
) AS found
ORDER BY started_at DESC, id DESC;

-- name: drawn_sessions_of_user
-- What a drawing shows of one user's sessions, newest first.
-- Of the user $2 of the Hub $1, those that overlap [$3, $4), of the server $5 or of all, at most $6.
SELECT
    servers.server_name,
    -- looked up by its id, whatever the planner believes
    (SELECT display_name FROM requests WHERE requests.id = session.request_id) AS display_name,
    session.state::text,
    session.started_at,
    session.ended_at
FROM servers
CROSS JOIN LATERAL sessions_of_span(
    ROW(servers.id, $3::timestamptz, $4::timestamptz)::usage_span) AS session
WHERE servers.hub = $1
    AND servers.username = $2
    AND ($5::text IS NULL OR servers.server_name = $5)
ORDER BY session.started_at DESC, session.id DESC
LIMIT $6;

-- name: sessions_of_group_page
-- A page of one group's sessions, newest first.
-- Those that overlap a membership of the group $2 of the Hub $1; the rest as in
-- sessions_of_user_page.
SELECT found.*
FROM (
    SELECT session.id
    FROM sessions_of_group($1, $2, $3::timestamptz, $4::timestamptz) AS session
    JOIN servers ON servers.id = session.server_id
    WHERE ($5::text IS NULL OR servers.server_name = $5)
        AND ($6::timestamptz IS NULL OR (session.started_at, session.id) < ($6, $7::uuid))
    ORDER BY session.started_at DESC, session.id DESC
    LIMIT $8
) AS picked
CROSS JOIN LATERAL (
    SELECT * FROM sessions_as_measured WHERE id = picked.id LIMIT 1
) AS found
ORDER BY started_at DESC, id DESC;

-- name: sessions_of_all_page
-- A page of everybody's sessions, newest first.
-- Of the Hubs $1; the rest as in sessions_of_user_page, without $2.
SELECT found.*
FROM (
    SELECT session.id
    FROM sessions_overlapping($2::timestamptz, $3::timestamptz) AS session
    JOIN servers ON servers.id = session.server_id
    WHERE servers.hub = ANY ($1::text[])
        AND ($4::text IS NULL OR servers.server_name = $4)
        AND ($5::timestamptz IS NULL OR (session.started_at, session.id) < ($5, $6::uuid))
    ORDER BY session.started_at DESC, session.id DESC
    LIMIT $7
) AS picked
CROSS JOIN LATERAL (
    SELECT * FROM sessions_as_measured WHERE id = picked.id LIMIT 1
) AS found
ORDER BY started_at DESC, id DESC;

-- name: running_page
-- A page of what starts or runs, newest first, and how many there are in all.
-- In the Hubs $1, of the user $2, of those who were in the group $3 since it began, or of all, older
-- than ($4, $5), at most $6.
WITH open AS MATERIALIZED (
    SELECT open_sessions.id, open_sessions.started_at
    FROM open_sessions
    JOIN servers ON servers.id = open_sessions.server_id
    WHERE servers.hub = ANY ($1::text[])
        AND ($2::text IS NULL OR servers.username = $2)
        AND ($3::text IS NULL OR EXISTS (
            SELECT FROM group_memberships AS member
            WHERE member.hub = servers.hub AND member.group_name = $3
                AND member.username = servers.username
                AND greatest(member.valid_from, open_sessions.started_at)
                    < coalesce(member.valid_to, 'infinity')))
)
SELECT found.*, (SELECT count(*) FROM open) AS total
FROM (
    SELECT id
    FROM open
    WHERE $4::timestamptz IS NULL OR (started_at, id) < ($4, $5::uuid)
    ORDER BY started_at DESC, id DESC
    LIMIT $6
) AS picked
CROSS JOIN LATERAL (
    SELECT * FROM sessions_as_measured WHERE id = picked.id LIMIT 1
) AS found
ORDER BY started_at DESC, id DESC;

-- name: groups_known
-- The groups of the Hubs $1 that somebody is in.
SELECT hub, group_name, count(*) AS members
FROM group_memberships
WHERE hub = ANY ($1::text[]) AND valid_to IS NULL
GROUP BY hub, group_name
ORDER BY group_name, hub;

-- name: servers_of_user
-- The names of a user's ($1 Hub, $2 name) servers, and which of them start or run.
SELECT
    server_name,
    EXISTS (SELECT FROM open_sessions WHERE open_sessions.server_id = servers.id) AS open
FROM servers
WHERE hub = $1 AND username = $2
ORDER BY server_name;

-- name: usernames_of_hubs
-- Everyone of the Hubs $1 who had a server.
SELECT DISTINCT hub, username FROM servers WHERE hub = ANY ($1::text[]);

-- name: pseudonym_key
-- What turns names into pseudonyms.
SELECT inner_pad, outer_pad FROM pseudonym_key;

-- name: how_sessions_were_seen
-- How the sessions that began lately became known.
-- Of the Hubs $1 in [$2, $3): how many, how many concluded in some part, how many unseen ends.
SELECT
    servers.hub,
    count(*) AS sessions,
    count(*) FILTER (WHERE session.inferred) AS inferred,
    count(*) FILTER (WHERE session.ended_before > session.ended_after) AS unseen_ends
FROM session_rows AS session
JOIN servers ON servers.id = session.server_id
WHERE servers.hub = ANY ($1::text[]) AND session.started_at >= $2 AND session.started_at < $3
GROUP BY servers.hub
ORDER BY servers.hub;
