-- Whose each server is, and since when each user is here, kept and not found each time; and what
-- the names of sampled metrics are asked for most, out of indexes alone.

CREATE TABLE server_owners (
    server_id  integer PRIMARY KEY,
    hub        text NOT NULL,
    username   text NOT NULL,
    user_email text NOT NULL
);

CREATE INDEX server_owners_user ON server_owners (username, hub);
CREATE INDEX server_owners_user_email ON server_owners (user_email);

COMMENT ON TABLE server_owners IS
    'Of each server that had a session. Changes with sessions and people_history, in the same '
    'transaction.';
COMMENT ON COLUMN server_owners.user_email IS 'The e-mail, the user''s name where none is known.';

CREATE TABLE user_starts (
    hub      text NOT NULL,
    username text NOT NULL,
    first_at timestamptz NOT NULL,
    PRIMARY KEY (hub, username)
);

COMMENT ON TABLE user_starts IS
    'When the first session of each user started. Changes with sessions, in the same transaction.';

CREATE FUNCTION owners_of(of_servers integer[]) RETURNS SETOF server_owners
    LANGUAGE sql STABLE AS $$
    SELECT servers.id, servers.hub, servers.username, coalesce(known.email, servers.username)
    FROM servers
    LEFT JOIN people_history AS known ON known.hub = servers.hub
        AND known.username = servers.username
        AND known.valid_to IS NULL
    WHERE (of_servers IS NULL OR servers.id = ANY (of_servers))
        AND (EXISTS (SELECT FROM ended_sessions WHERE server_id = servers.id)
            OR EXISTS (SELECT FROM open_sessions WHERE server_id = servers.id))
$$;

COMMENT ON FUNCTION owners_of IS 'What server_owners must have of these servers; NULL is all.';

CREATE FUNCTION starts_of(of_servers integer[]) RETURNS SETOF user_starts
    LANGUAGE sql STABLE AS $$
    SELECT servers.hub, servers.username, min(started.first_at)
    FROM servers
    CROSS JOIN LATERAL (
        SELECT least(
            (SELECT min(started_at) FROM ended_sessions WHERE server_id = servers.id),
            (SELECT min(started_at) FROM open_sessions WHERE server_id = servers.id)) AS first_at
    ) AS started
    WHERE started.first_at IS NOT NULL
        AND (of_servers IS NULL OR (servers.hub, servers.username) IN (
            SELECT asked.hub, asked.username
            FROM servers AS asked
            WHERE asked.id = ANY (of_servers)))
    GROUP BY servers.hub, servers.username
$$;

COMMENT ON FUNCTION starts_of IS
    'What user_starts must have of the users of these servers; NULL is all.';

CREATE FUNCTION owners_anew() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM server_owners;
    INSERT INTO server_owners SELECT * FROM owners_of(NULL);
    DELETE FROM user_starts;
    INSERT INTO user_starts SELECT * FROM starts_of(NULL);
END
$$;

COMMENT ON FUNCTION owners_anew IS
    'Computes both tables from sessions and people, which nobody may change meanwhile.';

-- Nearly always there is nothing to do: the server is known, and its first session has long been.
CREATE FUNCTION owners_follow(before ended_sessions[], after ended_sessions[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    changed integer[];
BEGIN
    SELECT array_agg(DISTINCT touched) INTO changed
    FROM unnest(after) AS new
    LEFT JOIN unnest(before) AS old ON old.id = new.id
    LEFT JOIN server_owners AS owned ON owned.server_id = new.server_id
    LEFT JOIN user_starts AS started ON started.hub = owned.hub
        AND started.username = owned.username
    CROSS JOIN LATERAL unnest(ARRAY[old.server_id, new.server_id]) AS touched
    WHERE touched IS NOT NULL
        AND (coalesce(new.started_at < started.first_at, true)
            OR old.server_id <> new.server_id);
    IF changed IS NULL THEN
        RETURN;
    END IF;
    -- a user who was renamed may have left nothing under the name before
    DELETE FROM server_owners
    WHERE server_id = ANY (changed)
        AND server_id NOT IN (SELECT server_id FROM owners_of(changed));
    INSERT INTO server_owners SELECT * FROM owners_of(changed)
    ON CONFLICT DO NOTHING;
    DELETE FROM user_starts
    WHERE (hub, username) IN (SELECT hub, username FROM servers WHERE id = ANY (changed))
        AND (hub, username) NOT IN (SELECT hub, username FROM starts_of(changed));
    INSERT INTO user_starts AS kept SELECT * FROM starts_of(changed)
    ON CONFLICT (hub, username) DO UPDATE SET first_at = excluded.first_at
    WHERE kept.first_at <> excluded.first_at;
END
$$;

COMMENT ON FUNCTION owners_follow IS
    'Brings both tables up to rows of sessions, given as they were and as they are.';

-- The same as before, and owners follow.
CREATE OR REPLACE FUNCTION session_keep(folded session_fold_digested[]) RETURNS void
    LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT id FROM unnest(folded));
    now_known ended_sessions[];
    known_before ended_sessions[];
BEGIN
    -- a check that measures activity meanwhile waits, and then finds the session where it is
    PERFORM FROM open_sessions WHERE id = ANY (ids) ORDER BY id FOR UPDATE;
    SELECT array_agg(ROW(session_rows.*)::ended_sessions) INTO known_before
    FROM session_rows
    WHERE id = ANY (ids);

    PERFORM session_intern(folded);

    SELECT array_agg(known) INTO now_known
    FROM (
        SELECT
            fold.id,
            fold.started_at,
            fold.ready_at,
            fold.ended_at,
            CASE WHEN fold.ended_after < fold.ended_before THEN fold.ended_after END,
            CASE WHEN fold.ended_after < fold.ended_before THEN fold.ended_before END,
            kept.seen_at,
            kept.polled_at,
            kept.last_activity_at,
            kept.active_seconds,
            kept.resolution_seconds,
            servers.id,
            fold.ending_id,
            descriptions.id,
            requests.id,
            node.id,
            fold.state::session_state,
            fold.simulated,
            fold.inferred,
            kept.active_hours
        FROM unnest(folded) AS fold
        JOIN servers ON servers.hub = fold.hub
            AND servers.username = fold.username
            AND servers.server_name = fold.server_name
        JOIN descriptions ON descriptions.digest = fold.description_digest
        JOIN requests ON requests.digest = fold.request_digest
        LEFT JOIN words AS node ON node.word = fold.node
        LEFT JOIN session_rows AS kept ON kept.id = fold.id
    ) AS known;

    DELETE FROM open_sessions AS gone USING unnest(now_known) AS known
    WHERE gone.id = known.id AND known.ended_at IS NOT NULL;

    -- an end that was only concluded may be withdrawn
    DELETE FROM ended_sessions AS gone USING unnest(now_known) AS known
    WHERE gone.id = known.id AND known.ended_at IS NULL;

    INSERT INTO open_sessions AS kept
    SELECT known.* FROM unnest(now_known) AS known WHERE known.ended_at IS NULL
    ON CONFLICT (id) DO UPDATE SET
        (started_at, ready_at, ended_at, ended_after, ended_before, seen_at, polled_at,
            last_activity_at, active_seconds, resolution_seconds, server_id, ending_id,
            description_id, request_id, node_id, state, simulated, inferred, active_hours)
        = ROW(excluded.started_at, excluded.ready_at, excluded.ended_at, excluded.ended_after,
            excluded.ended_before, excluded.seen_at, excluded.polled_at,
            excluded.last_activity_at, excluded.active_seconds, excluded.resolution_seconds,
            excluded.server_id, excluded.ending_id, excluded.description_id,
            excluded.request_id, excluded.node_id, excluded.state, excluded.simulated,
            excluded.inferred, excluded.active_hours)
    WHERE kept IS DISTINCT FROM excluded;

    INSERT INTO ended_sessions AS kept
    SELECT known.* FROM unnest(now_known) AS known WHERE known.ended_at IS NOT NULL
    ON CONFLICT (id) DO UPDATE SET
        (started_at, ready_at, ended_at, ended_after, ended_before, seen_at, polled_at,
            last_activity_at, active_seconds, resolution_seconds, server_id, ending_id,
            description_id, request_id, node_id, state, simulated, inferred, active_hours)
        = ROW(excluded.started_at, excluded.ready_at, excluded.ended_at, excluded.ended_after,
            excluded.ended_before, excluded.seen_at, excluded.polled_at,
            excluded.last_activity_at, excluded.active_seconds, excluded.resolution_seconds,
            excluded.server_id, excluded.ending_id, excluded.description_id,
            excluded.request_id, excluded.node_id, excluded.state, excluded.simulated,
            excluded.inferred, excluded.active_hours)
    WHERE kept IS DISTINCT FROM excluded;

    -- made by later migrations
    PERFORM usage_follow(known_before, now_known);
    PERFORM hourly_follow(known_before, now_known);
    PERFORM owners_follow(known_before, now_known);
END
$$;

SELECT owners_anew();

-- Computed for each description once, not for each session.
ALTER TABLE descriptions
    ADD COLUMN container_base text
        GENERATED ALWAYS AS (split_part(coalesce(image_name, image), '/', -1)) STORED,
    ADD COLUMN container_version text
        GENERATED ALWAYS AS (coalesce(image_tag, image_digest)) STORED,
    -- NULL where the node's name has to tell
    ADD COLUMN gpu_requested boolean GENERATED ALWAYS AS (
        CASE
            WHEN gpus > 0 THEN true
            WHEN num_nonnulls(
                gpus, cpu_guarantee_cores, cpu_limit_cores, memory_guarantee_bytes,
                memory_limit_bytes) > 0 THEN false
        END) STORED;

CREATE OR REPLACE VIEW container_kinds AS
SELECT id AS description_id, container_base, container_version, gpu_requested FROM descriptions;

-- What ranges of time are asked for, without a look into the rows themselves.
DROP INDEX ended_sessions_started_at;
CREATE INDEX ended_sessions_started_at ON ended_sessions (started_at)
    INCLUDE (ended_at, server_id, description_id, node_id, state);

-- Rows that are only ever added are all visible soon, which such looks need.
ALTER TABLE ended_sessions SET (
    autovacuum_vacuum_insert_threshold = 1000, autovacuum_vacuum_insert_scale_factor = 0.01);

-- Two arms that each do all their joins: what a question does not ask for is joined by neither,
-- and what it asks for is planned by what is known of each table. Numbers are given out once for
-- each server, as long as they hang on its owner.
CREATE VIEW owned_sessions AS
SELECT
    owned.hub,
    owned.username,
    owned.user_email,
    run.started_at,
    run.ended_at AS counted_until,
    requests.pod_name,
    node.word AS node_name,
    kind.container_base,
    kind.container_version,
    kind.gpu_requested,
    same_server.numbers[width_bucket(run.started_at, same_server.starts)] AS session_number
FROM ended_sessions AS run
JOIN server_owners AS owned ON owned.server_id = run.server_id
LEFT JOIN container_kinds AS kind ON kind.description_id = run.description_id
LEFT JOIN requests ON requests.id = run.request_id
LEFT JOIN words AS node ON node.id = run.node_id
LEFT JOIN LATERAL (
    SELECT
        array_agg(numbered.started_at ORDER BY numbered.started_at) AS starts,
        array_agg(numbered.number ORDER BY numbered.started_at) AS numbers
    FROM (
        SELECT
            one.started_at,
            row_number() OVER (
                PARTITION BY one.node_id, asked.pod_name ORDER BY one.started_at) AS number
        FROM session_rows AS one
        JOIN requests AS asked ON asked.id = one.request_id
        WHERE one.server_id = owned.server_id AND one.state IN ('running', 'ended')
    ) AS numbered
) AS same_server ON true
WHERE run.state = 'ended'
UNION ALL
SELECT
    owned.hub,
    owned.username,
    owned.user_email,
    run.started_at,
    greatest(run.started_at, now() - interval '1 minute') AS counted_until,
    requests.pod_name,
    node.word AS node_name,
    kind.container_base,
    kind.container_version,
    kind.gpu_requested,
    same_server.numbers[width_bucket(run.started_at, same_server.starts)] AS session_number
FROM open_sessions AS run
JOIN server_owners AS owned ON owned.server_id = run.server_id
LEFT JOIN container_kinds AS kind ON kind.description_id = run.description_id
LEFT JOIN requests ON requests.id = run.request_id
LEFT JOIN words AS node ON node.id = run.node_id
LEFT JOIN LATERAL (
    SELECT
        array_agg(numbered.started_at ORDER BY numbered.started_at) AS starts,
        array_agg(numbered.number ORDER BY numbered.started_at) AS numbers
    FROM (
        SELECT
            one.started_at,
            row_number() OVER (
                PARTITION BY one.node_id, asked.pod_name ORDER BY one.started_at) AS number
        FROM session_rows AS one
        JOIN requests AS asked ON asked.id = one.request_id
        WHERE one.server_id = owned.server_id AND one.state IN ('running', 'ended')
    ) AS numbered
) AS same_server ON true
WHERE run.state = 'running';

COMMENT ON VIEW owned_sessions IS
    'Sessions that became ready, and whose they are; those that run as if they had ended a minute '
    'ago.';
COMMENT ON COLUMN owned_sessions.session_number IS
    'Counts from 1 for each server, pod and node, in the order of starts.';

CREATE OR REPLACE VIEW user_sessions AS
SELECT
    user_email,
    pod_name,
    node_name,
    session_number AS session_id,
    started_at AS session_start,
    counted_until AS session_end,
    extract(epoch FROM counted_until - started_at) / 3600.0 AS runtime_hours,
    container_base,
    container_version,
    hub,
    username,
    coalesce(gpu_requested, node_is_named_for_gpus(node_name)) AS on_gpu
FROM owned_sessions;

CREATE OR REPLACE VIEW user_session_stats AS
SELECT
    user_email,
    extract(epoch FROM sum(counted_until - started_at)) / 3600.0 AS total_hours,
    coalesce(extract(epoch FROM sum(counted_until - started_at) FILTER (
        WHERE coalesce(gpu_requested, node_is_named_for_gpus(node_name)))) / 3600.0, 0)
        AS gpu_hours,
    coalesce(extract(epoch FROM sum(counted_until - started_at) FILTER (
        WHERE NOT coalesce(gpu_requested, node_is_named_for_gpus(node_name)))) / 3600.0, 0)
        AS cpu_hours,
    count(*) AS total_sessions,
    count(DISTINCT container_base) AS applications_used,
    min(started_at) AS first_session,
    max(counted_until) AS last_session,
    hub
FROM owned_sessions
GROUP BY hub, user_email;

-- Two arms, so that who asks for an e-mail pays for no more. last_seen is looked for where asked.
CREATE OR REPLACE VIEW users AS
SELECT
    known.email,
    known.username AS user_id,
    known.full_name,
    known.department,
    known.job_title,
    started.first_at AS first_seen,
    (
        SELECT max(coalesce(
            (SELECT now() FROM open_sessions WHERE server_id = servers.id LIMIT 1),
            (SELECT ended_at FROM ended_sessions
                WHERE server_id = servers.id ORDER BY started_at DESC LIMIT 1)))
        FROM servers
        WHERE servers.hub = known.hub AND servers.username = known.username
    ) AS last_seen,
    known.hub,
    known.username,
    coalesce(known.email, known.username) AS user_email
FROM people_history AS known
LEFT JOIN user_starts AS started
    ON started.hub = known.hub AND started.username = known.username
WHERE known.valid_to IS NULL
UNION ALL
SELECT
    NULL, started.username, NULL, NULL, NULL, started.first_at,
    (
        SELECT max(coalesce(
            (SELECT now() FROM open_sessions WHERE server_id = servers.id LIMIT 1),
            (SELECT ended_at FROM ended_sessions
                WHERE server_id = servers.id ORDER BY started_at DESC LIMIT 1)))
        FROM servers
        WHERE servers.hub = started.hub AND servers.username = started.username
    ),
    started.hub, started.username, started.username
FROM user_starts AS started
WHERE NOT EXISTS (
    SELECT FROM people_history AS known
    WHERE known.hub = started.hub
        AND known.username = started.username
        AND known.valid_to IS NULL);

DROP VIEW session_runs;
DROP VIEW session_owners;
DROP VIEW server_spans;
DROP INDEX servers_username;

-- Nothing calls it.
DROP FUNCTION usage_hour_at(integer);
