-- People: what sources said of a user, and the dated history that follows from it.

CREATE TABLE people_sources (
    source text PRIMARY KEY,
    rank   integer NOT NULL
);

INSERT INTO people_sources (source, rank)
VALUES ('file', 1), ('graph', 2), ('auth_state', 3), ('pod', 4);

COMMENT ON TABLE people_sources IS
    'Whose word counts more: of several sources that know a field, the one of the lowest rank.';

-- A value that is said again and again is one row a month, with the first and the last time. Both
-- are bounds that do not depend on the order of arrival, so the table is a function of the set of
-- what was said.
CREATE TABLE people_said (
    hub           text NOT NULL,
    username      text NOT NULL,
    field         text NOT NULL,
    source        text NOT NULL REFERENCES people_sources,
    month         date NOT NULL,
    value         text NOT NULL,
    first_said_at timestamptz NOT NULL,
    last_said_at  timestamptz NOT NULL,
    PRIMARY KEY (hub, username, field, source, month, value),
    CONSTRAINT people_said_field_known CHECK (
        field IN ('email', 'full_name', 'department', 'job_title')),
    CONSTRAINT people_said_in_order CHECK (first_said_at <= last_said_at)
) WITH (fillfactor = 80);

COMMENT ON TABLE people_said IS 'What each source said of a user, one field a row.';
COMMENT ON COLUMN people_said.month IS 'The month in UTC in which it was said.';
COMMENT ON COLUMN people_said.value IS 'Empty: the source said that there is none.';

CREATE TABLE people_history (
    hub        text NOT NULL,
    username   text NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to   timestamptz,
    email      text,
    full_name  text,
    department text,
    job_title  text,
    PRIMARY KEY (hub, username, valid_from),
    CONSTRAINT people_history_in_order CHECK (valid_from < valid_to)
);

CREATE UNIQUE INDEX people_history_now ON people_history (hub, username) WHERE valid_to IS NULL;

COMMENT ON TABLE people_history IS 'Equal to people_fold; never written by hand.';

-- What is known of some users of one Hub, in [valid_from, valid_to). A field is that of the source
-- of the lowest rank that knows it then; times at which nothing is known are left out.
CREATE FUNCTION people_fold(of_hub text, of_usernames text[]) RETURNS TABLE (
    username text, valid_from timestamptz, valid_to timestamptz,
    email text, full_name text, department text, job_title text
) LANGUAGE sql STABLE AS $$
    WITH said AS (
        -- of two values said at the same moment, always the same one
        SELECT said.username, source, field, said_at, max(value) AS value
        FROM people_said AS said
        CROSS JOIN LATERAL (VALUES (first_said_at), (last_said_at)) AS moment (said_at)
        WHERE said.hub = of_hub AND said.username = ANY (of_usernames)
        GROUP BY said.username, source, field, said_at
    ),
    compared AS (
        SELECT said.*, lag(value) OVER one_source AS value_before
        FROM said
        WINDOW one_source AS (PARTITION BY said.username, source, field ORDER BY said_at)
    ),
    held AS (
        SELECT
            compared.username, field, rank, nullif(value, '') AS value, said_at AS since,
            lead(said_at) OVER (PARTITION BY compared.username, source, field ORDER BY said_at)
                AS until
        FROM compared
        JOIN people_sources USING (source)
        WHERE value_before IS DISTINCT FROM value
    ),
    moments AS (SELECT DISTINCT held.username, since AS at FROM held),
    known AS (
        SELECT
            moments.username,
            moments.at,
            (array_agg(value ORDER BY rank) FILTER (WHERE field = 'email'))[1] AS email,
            (array_agg(value ORDER BY rank) FILTER (WHERE field = 'full_name'))[1] AS full_name,
            (array_agg(value ORDER BY rank) FILTER (WHERE field = 'department'))[1] AS department,
            (array_agg(value ORDER BY rank) FILTER (WHERE field = 'job_title'))[1] AS job_title
        FROM moments
        LEFT JOIN held ON held.username = moments.username
            AND held.since <= moments.at
            AND (held.until IS NULL OR held.until > moments.at)
            AND held.value IS NOT NULL
        GROUP BY moments.username, moments.at
    ),
    followed AS (
        SELECT
            known.*,
            ROW(known.email, known.full_name, known.department, known.job_title)
                IS DISTINCT FROM lag(
                    ROW(known.email, known.full_name, known.department, known.job_title)
                ) OVER (PARTITION BY known.username ORDER BY known.at)
                AS changed
        FROM known
    ),
    changes AS (
        SELECT
            followed.*,
            lead(followed.at) OVER (PARTITION BY followed.username ORDER BY followed.at) AS next_at
        FROM followed
        WHERE changed
    )
    SELECT
        changes.username, changes.at, changes.next_at,
        changes.email, changes.full_name, changes.department, changes.job_title
    FROM changes
    WHERE num_nonnulls(
        changes.email, changes.full_name, changes.department, changes.job_title) > 0
$$;

COMMENT ON FUNCTION people_fold IS 'What people_history must hold of some users of one Hub.';

CREATE VIEW user_history AS
SELECT hub, username, email, full_name, department, job_title, valid_from, valid_to
FROM people_history;

COMMENT ON VIEW user_history IS
    'What was known of each user in [valid_from, valid_to); valid_to NULL: until now.';

-- The runs of one server follow one another: the last to start is the last to end.
CREATE VIEW server_spans AS
SELECT
    servers.hub,
    servers.username,
    coalesce(ended.first_at, open.first_at) AS first_at,
    coalesce(open.last_at, ended.last_at) AS last_at
FROM servers
CROSS JOIN LATERAL (
    SELECT
        min(started_at) AS first_at,
        (SELECT ended_at FROM ended_sessions
            WHERE server_id = servers.id
            ORDER BY started_at DESC LIMIT 1) AS last_at
    FROM ended_sessions
    WHERE server_id = servers.id
) AS ended
CROSS JOIN LATERAL (
    SELECT min(started_at) AS first_at, CASE WHEN count(*) > 0 THEN now() END AS last_at
    FROM open_sessions
    WHERE server_id = servers.id
) AS open
WHERE coalesce(ended.first_at, open.first_at) IS NOT NULL;

COMMENT ON VIEW server_spans IS 'From when to when each server was used, found by index.';

-- Two arms, so that who asks for an e-mail, or for no times, pays for no more.
CREATE VIEW users AS
SELECT
    known.email,
    known.username AS user_id,
    known.full_name,
    known.department,
    known.job_title,
    seen.first_seen,
    seen.last_seen,
    known.hub,
    known.username,
    coalesce(known.email, known.username) AS user_email
FROM people_history AS known
LEFT JOIN LATERAL (
    SELECT min(first_at) AS first_seen, max(last_at) AS last_seen
    FROM server_spans
    WHERE server_spans.hub = known.hub AND server_spans.username = known.username
) AS seen ON true
WHERE known.valid_to IS NULL
UNION ALL
SELECT NULL, username, NULL, NULL, NULL, min(first_at), max(last_at), hub, username, username
FROM server_spans
WHERE NOT EXISTS (
    SELECT FROM people_history AS known
    WHERE known.hub = server_spans.hub
        AND known.username = server_spans.username
        AND known.valid_to IS NULL)
GROUP BY hub, username;

COMMENT ON VIEW users IS 'Everyone who had a session or of whom a source told; NULL is unknown.';
COMMENT ON COLUMN users.user_id IS 'The user''s name in the Hub.';
COMMENT ON COLUMN users.user_email IS
    'The user''s name in the Hub where no e-mail is known, so that users stay distinct.';
COMMENT ON COLUMN users.first_seen IS 'When the first session started. NULL: there was none.';
COMMENT ON COLUMN users.last_seen IS 'When the last session ended; now, while one is open.';

-- The key of pseudonyms, as the two padded blocks of HMAC (RFC 2104).
CREATE TABLE pseudonym_key (
    only_row  boolean PRIMARY KEY DEFAULT true,
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL,
    CONSTRAINT pseudonym_key_single CHECK (only_row)
);

DO $$
DECLARE
    -- 64 bytes, one block of SHA-256; 488 of their bits are random
    key bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
        || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
    inner_pad bytea := key;
    outer_pad bytea := key;
BEGIN
    FOR place IN 0 .. 63 LOOP
        inner_pad := set_byte(inner_pad, place, get_byte(key, place) # 54);
        outer_pad := set_byte(outer_pad, place, get_byte(key, place) # 92);
    END LOOP;
    INSERT INTO pseudonym_key (inner_pad, outer_pad) VALUES (inner_pad, outer_pad);
END
$$;

COMMENT ON TABLE pseudonym_key IS
    'Whoever reads this can tell whose pseudonym is whose. Changing it makes everyone new.';
