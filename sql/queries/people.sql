-- name: say_people
-- Keeps what sources said; gives the users whose history may change by it.
WITH told AS (
    SELECT
        hub, username, field, source, value,
        date_trunc('month', said_at AT TIME ZONE 'UTC')::date AS month,
        min(said_at) AS first_said_at,
        max(said_at) AS last_said_at
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]
    ) AS statement (hub, username, field, source, value, said_at)
    GROUP BY hub, username, field, source, value, month
),
kept AS (
    INSERT INTO people_said AS kept (
        hub, username, field, source, month, value, first_said_at, last_said_at)
    SELECT hub, username, field, source, month, value, first_said_at, last_said_at FROM told
    ON CONFLICT (hub, username, field, source, month, value) DO UPDATE SET
        first_said_at = least(kept.first_said_at, excluded.first_said_at),
        last_said_at = greatest(kept.last_said_at, excluded.last_said_at)
    RETURNING *
)
-- To say once more what alone was said that month moves its last time and changes no history.
SELECT DISTINCT kept.hub, kept.username
FROM kept
JOIN told USING (hub, username, field, source, month, value)
WHERE kept.first_said_at = told.first_said_at
    OR EXISTS (
        SELECT FROM people_said AS other
        WHERE other.hub = kept.hub
            AND other.username = kept.username
            AND other.field = kept.field
            AND other.source = kept.source
            AND other.month = kept.month
            AND other.value <> kept.value);

-- name: trim_people
-- Removes the history of these users of one Hub that no longer follows from what was said.
DELETE FROM people_history AS kept
WHERE kept.hub = $1
    AND kept.username = ANY ($2::text[])
    AND NOT EXISTS (
        SELECT FROM people_fold($1, $2::text[]) AS fold
        WHERE fold.username = kept.username AND fold.valid_from = kept.valid_from);

-- name: fold_people
-- Brings the history of these users of one Hub, once trimmed, up to what was said.
INSERT INTO people_history AS kept (
    hub, username, valid_from, valid_to, email, full_name, department, job_title)
SELECT $1, username, valid_from, valid_to, email, full_name, department, job_title
FROM people_fold($1, $2::text[])
-- the one that is open comes last, when no other is
ORDER BY valid_to NULLS LAST
ON CONFLICT (hub, username, valid_from) DO UPDATE SET
    valid_to = excluded.valid_to,
    email = excluded.email,
    full_name = excluded.full_name,
    department = excluded.department,
    job_title = excluded.job_title;

-- name: own_servers
-- Brings the e-mails of the owners of servers of these users of one Hub up to their history.
UPDATE server_owners AS kept
SET user_email = known.user_email
FROM owners_of(ARRAY(
    SELECT id FROM servers WHERE hub = $1 AND username = ANY ($2::text[]))) AS known
WHERE known.server_id = kept.server_id AND known.user_email <> kept.user_email;

-- name: people_of_hub
-- Everyone of one Hub, with what is known of them now.
SELECT username, email, full_name, department, job_title FROM users WHERE hub = $1
ORDER BY username;

-- name: people_sources
-- The sources, the one whose word counts most first.
SELECT source FROM people_sources ORDER BY rank;

-- name: rank_people_sources
-- Puts the sources in the order in which they are given.
UPDATE people_sources AS kept
SET rank = given.rank
FROM unnest($1::text[]) WITH ORDINALITY AS given (source, rank)
WHERE given.source = kept.source AND kept.rank <> given.rank;

-- name: people_told_of
-- Everyone of whom a source ever told, by Hub.
SELECT hub, array_agg(DISTINCT username) AS usernames FROM people_said GROUP BY hub ORDER BY hub;

-- name: hubs
-- The Hubs of which anything is known, by name.
SELECT hub FROM sessions UNION SELECT hub FROM people_said ORDER BY hub;
