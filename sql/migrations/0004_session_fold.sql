-- The fold: what sessions must be by their events, and what brings them up to it.

CREATE FUNCTION session_event_rank(kind text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE kind
        WHEN 'requested' THEN 1
        WHEN 'ready' THEN 2
        WHEN 'failed' THEN 3
        WHEN 'stopped' THEN 4
        WHEN 'stop_failed' THEN 5
        WHEN 'corrected' THEN 6
    END
$$;

COMMENT ON FUNCTION session_event_rank IS
    'Whose facts count more: later knowledge wins. NULL for kinds whose facts describe no server.';

-- How sure an end is: 0 seen at the moment itself, 1 from the container's own record, 2 an
-- interval, NULL not an end.
CREATE FUNCTION session_end_rank(
    kind text, source text, not_before timestamptz, not_after timestamptz, facts jsonb
) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN kind NOT IN ('stopped', 'failed', 'corrected') THEN NULL
        WHEN kind = 'corrected' AND coalesce(facts ->> 'corrects', 'end') <> 'end' THEN NULL
        WHEN source = 'container' THEN 1
        WHEN not_before = not_after THEN 0
        WHEN not_before < not_after THEN 2
    END
$$;

CREATE AGGREGATE session_facts (jsonb) (sfunc = jsonb_concat, stype = jsonb, initcond = '{}');

COMMENT ON AGGREGATE session_facts (jsonb) IS 'One object; for each key the last value wins.';

CREATE TYPE session_ending AS (
    end_rank        integer,
    id              uuid,
    circumstance_id integer,
    kind            text,
    source          text,
    reason          text,
    actor           text,
    exit_status     integer,
    occurred_at     timestamptz,
    not_before      timestamptz,
    not_after       timestamptz
);

CREATE TYPE session_renaming AS (
    occurred_at timestamptz,
    id          uuid,
    username    text
);

-- The fold. Order-free: every aggregate either has a total order of its own, or what it gathers is
-- chosen from by one, or it does not depend on one. The restriction to a session's id and start
-- reaches the index below the grouping.
-- An end that was only concluded is withdrawn when the server is later seen running: an event of
-- kind corrected whose fact corrects is "alive" says at which moment.
CREATE VIEW session_fold AS
WITH gathered AS (
    SELECT
        session_id,
        min(hub) AS hub,
        min(username) AS original_username,
        min(server_name) AS server_name,
        filed_at AS started_at,
        array_agg(ROW(occurred_at, id, facts ->> 'username')::session_renaming) FILTER (
            WHERE kind = 'renamed' AND length(facts ->> 'username') BETWEEN 1 AND 255
        ) AS renamings,
        array_agg(ROW(
            session_end_rank(kind, source, not_before, not_after, facts), id, circumstance_id, kind,
            source, reason, actor, exit_status, occurred_at, not_before, not_after)::session_ending
        ) FILTER (
            WHERE session_end_rank(kind, source, not_before, not_after, facts) IS NOT NULL
        ) AS endings,
        max(not_before) FILTER (WHERE kind = 'corrected' AND facts ->> 'corrects' = 'alive')
            AS alive_at,
        min(occurred_at) FILTER (WHERE kind = 'ready' AND not_before = not_after) AS ready_at,
        bool_or(kind = 'ready') AS was_ready,
        bool_or(kind = 'ready' AND source <> 'hub_api') AS ready_told,
        bool_or(kind = 'requested'
            OR kind = 'ready' AND not_before = not_after) AS existence_seen,
        bool_or(source = 'simulation') AS simulated,
        session_facts(facts ORDER BY session_event_rank(kind), occurred_at, id)
            FILTER (WHERE session_event_rank(kind) IS NOT NULL) AS facts
    FROM event_details
    WHERE session_id IS NOT NULL
    GROUP BY session_id, filed_at
),
ended AS (
    SELECT
        gathered.*,
        new_username,
        chosen_end,
        (chosen_end).end_rank AS end_rank,
        -- A clock that stepped back never makes a session shorter than nothing.
        CASE WHEN (chosen_end).id IS NOT NULL
            THEN greatest((chosen_end).occurred_at, started_at) END AS ended_at,
        CASE WHEN (chosen_end).id IS NOT NULL
            THEN greatest((chosen_end).not_before, started_at) END AS ended_after,
        CASE WHEN (chosen_end).id IS NOT NULL
            THEN greatest((chosen_end).not_after, started_at) END AS ended_before
    FROM gathered
    -- nearly always there is one that is seen, or none
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN (endings[1]).end_rank = 0 AND cardinality(endings) = 1 THEN endings[1]
                WHEN endings IS NOT NULL THEN (
                    SELECT ending
                    FROM unnest(endings) AS ending
                    WHERE ending.end_rank = 0 OR alive_at IS NULL OR ending.not_after > alive_at
                    ORDER BY ending.end_rank, ending.not_after - ending.not_before, ending.id
                    LIMIT 1)
            END AS chosen_end,
            CASE WHEN renamings IS NOT NULL THEN (
                SELECT renaming.username
                FROM unnest(renamings) AS renaming
                ORDER BY renaming.occurred_at DESC, renaming.id DESC
                LIMIT 1)
            END AS new_username
        OFFSET 0
    ) AS chosen
)
SELECT
    session_id AS id,
    hub,
    coalesce(new_username, original_username) AS username,
    server_name,
    started_at,
    CASE
        WHEN ended_at IS NULL AND was_ready THEN 'running'
        WHEN ended_at IS NULL THEN 'starting'
        -- While a start is cancelled, the Hub's API calls the server ready for a second.
        WHEN (chosen_end).kind = 'failed' AND NOT CASE
            WHEN (chosen_end).source IN ('hub', 'hub_start') THEN ready_told ELSE was_ready
        END THEN 'failed'
        ELSE 'ended'
    END AS state,
    CASE WHEN ready_at IS NOT NULL
        THEN least(greatest(ready_at, started_at), ended_at) END AS ready_at,
    ended_at,
    ended_after,
    ended_before,
    (chosen_end).reason AS end_reason,
    (chosen_end).source AS end_source,
    (chosen_end).actor AS ended_by,
    (chosen_end).exit_status AS exit_status,
    facts ->> 'started_by' AS started_by,
    facts ->> 'display_name' AS display_name,
    CASE WHEN facts ? 'groups'
        THEN ARRAY(SELECT jsonb_array_elements_text(facts -> 'groups')) END AS groups,
    facts ->> 'spawner_class' AS spawner_class,
    facts ->> 'profile' AS profile,
    facts -> 'user_options' AS user_options,
    facts ->> 'image' AS image,
    facts ->> 'image_name' AS image_name,
    facts ->> 'image_tag' AS image_tag,
    facts ->> 'image_digest' AS image_digest,
    facts ->> 'node' AS node,
    facts ->> 'namespace' AS namespace,
    facts ->> 'pod_name' AS pod_name,
    (facts -> 'cpu_guarantee_cores')::double precision AS cpu_guarantee_cores,
    (facts -> 'cpu_limit_cores')::double precision AS cpu_limit_cores,
    (facts -> 'memory_guarantee_bytes')::bigint AS memory_guarantee_bytes,
    (facts -> 'memory_limit_bytes')::bigint AS memory_limit_bytes,
    (facts -> 'gpus')::double precision AS gpus,
    simulated,
    NOT existence_seen OR coalesce(end_rank <> 0, false) AS inferred,
    (chosen_end).circumstance_id AS ending_id
FROM ended;

COMMENT ON VIEW session_fold IS
    'What sessions must be, computed from events. Ask for few at a time, by id and started_at.';

-- Stable, as what it is made of is for PostgreSQL: only so it is inlined.
CREATE FUNCTION content_digest(VARIADIC parts text[]) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT substr(sha256(convert_to(parts::text, 'UTF8')), 1, 16)
$$;

COMMENT ON FUNCTION content_digest IS 'The same for the same parts; NULL is not the empty text.';

CREATE VIEW session_fold_digested AS
SELECT
    session_fold.*,
    content_digest(
        spawner_class, profile, image, image_name, image_tag, image_digest, namespace,
        cpu_guarantee_cores::text, cpu_limit_cores::text, memory_guarantee_bytes::text,
        memory_limit_bytes::text, gpus::text) AS description_digest,
    content_digest(
        started_by, display_name, groups::text, user_options::text, pod_name) AS request_digest
FROM session_fold;

COMMENT ON VIEW session_fold_digested IS
    'The fold, with what its description and its request are known by.';

CREATE FUNCTION session_intern(folded session_fold_digested[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    -- a user who was renamed has servers under a name that no event came with
    INSERT INTO servers (hub, username, server_name)
    SELECT DISTINCT hub, username, server_name
    FROM unnest(folded) AS fold
    WHERE NOT EXISTS (
        SELECT FROM servers AS kept
        WHERE kept.hub = fold.hub
            AND kept.username = fold.username
            AND kept.server_name = fold.server_name)
    ORDER BY hub, username, server_name
    ON CONFLICT DO NOTHING;

    -- taken in order, so that two writers never wait for one another
    INSERT INTO descriptions (
        digest, spawner_class, profile, image, image_name, image_tag, image_digest, namespace,
        cpu_guarantee_cores, cpu_limit_cores, memory_guarantee_bytes, memory_limit_bytes, gpus)
    SELECT DISTINCT ON (description_digest)
        description_digest, spawner_class, profile, image, image_name, image_tag, image_digest,
        namespace, cpu_guarantee_cores, cpu_limit_cores, memory_guarantee_bytes,
        memory_limit_bytes, gpus
    FROM unnest(folded) AS fold
    WHERE NOT EXISTS (
        SELECT FROM descriptions AS kept WHERE kept.digest = fold.description_digest)
    ORDER BY description_digest
    ON CONFLICT DO NOTHING;

    INSERT INTO requests (digest, started_by, display_name, groups, user_options, pod_name)
    SELECT DISTINCT ON (request_digest)
        request_digest, started_by, display_name, groups, user_options, pod_name
    FROM unnest(folded) AS fold
    WHERE NOT EXISTS (SELECT FROM requests AS kept WHERE kept.digest = fold.request_digest)
    ORDER BY request_digest
    ON CONFLICT DO NOTHING;
END
$$;

COMMENT ON FUNCTION session_intern IS 'Keeps the servers, descriptions and requests of these folds.';

CREATE FUNCTION session_keep(folded session_fold_digested[]) RETURNS void
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
        started_at = excluded.started_at,
        ready_at = excluded.ready_at,
        ended_at = excluded.ended_at,
        ended_after = excluded.ended_after,
        ended_before = excluded.ended_before,
        seen_at = excluded.seen_at,
        polled_at = excluded.polled_at,
        last_activity_at = excluded.last_activity_at,
        active_seconds = excluded.active_seconds,
        resolution_seconds = excluded.resolution_seconds,
        server_id = excluded.server_id,
        ending_id = excluded.ending_id,
        description_id = excluded.description_id,
        request_id = excluded.request_id,
        node_id = excluded.node_id,
        state = excluded.state,
        simulated = excluded.simulated,
        inferred = excluded.inferred,
        active_hours = excluded.active_hours
    WHERE kept IS DISTINCT FROM excluded;

    INSERT INTO ended_sessions AS kept
    SELECT known.* FROM unnest(now_known) AS known WHERE known.ended_at IS NOT NULL
    ON CONFLICT (id) DO UPDATE SET
        started_at = excluded.started_at,
        ready_at = excluded.ready_at,
        ended_at = excluded.ended_at,
        ended_after = excluded.ended_after,
        ended_before = excluded.ended_before,
        seen_at = excluded.seen_at,
        polled_at = excluded.polled_at,
        last_activity_at = excluded.last_activity_at,
        active_seconds = excluded.active_seconds,
        resolution_seconds = excluded.resolution_seconds,
        server_id = excluded.server_id,
        ending_id = excluded.ending_id,
        description_id = excluded.description_id,
        request_id = excluded.request_id,
        node_id = excluded.node_id,
        state = excluded.state,
        simulated = excluded.simulated,
        inferred = excluded.inferred,
        active_hours = excluded.active_hours
    WHERE kept IS DISTINCT FROM excluded;

    -- made by a later migration
    PERFORM usage_follow(known_before, now_known);
    PERFORM hourly_follow(known_before, now_known);
END
$$;

COMMENT ON FUNCTION session_keep IS
    'Brings the rows of sessions up to their folds; nobody else may have changed their events since.';

CREATE FUNCTION session_refold(ids uuid[], starts timestamptz[]) RETURNS void
    LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    folded session_fold_digested[];
BEGIN
    SELECT array_agg(fold) INTO folded
    FROM session_fold_digested AS fold
    WHERE fold.started_at = ANY (starts) AND fold.id = ANY (ids);
    PERFORM session_keep(folded);
END
$$;

COMMENT ON FUNCTION session_refold IS
    'Brings these sessions, given by id and start, up to what their events say.';

-- For a rebuild: where no session is, one statement writes them, with what checks measured of them,
-- and no usage follows. The temporary tables are those of sql/queries/usage.sql.
CREATE FUNCTION session_fold_anew(since timestamptz, until timestamptz) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    folded integer;
BEGIN
    TRUNCATE folded_sessions;
    INSERT INTO folded_sessions
    SELECT * FROM session_fold_digested AS fold
    WHERE fold.started_at >= since AND fold.started_at < until;
    GET DIAGNOSTICS folded = ROW_COUNT;
    PERFORM session_intern(ARRAY(
        SELECT fold::session_fold_digested
        FROM (
            SELECT DISTINCT ON (
                hub, username, server_name, description_digest, request_digest) *
            FROM folded_sessions
        ) AS fold));
    WITH known AS MATERIALIZED (
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
        FROM folded_sessions AS fold
        JOIN servers ON servers.hub = fold.hub
            AND servers.username = fold.username
            AND servers.server_name = fold.server_name
        JOIN descriptions ON descriptions.digest = fold.description_digest
        JOIN requests ON requests.digest = fold.request_digest
        LEFT JOIN words AS node ON node.word = fold.node
        LEFT JOIN activity_to_keep AS kept ON kept.id = fold.id
            AND kept.started_at >= since AND kept.started_at < until
    ),
    opened AS (
        INSERT INTO open_sessions SELECT * FROM known WHERE ended_at IS NULL
    )
    INSERT INTO ended_sessions SELECT * FROM known WHERE ended_at IS NOT NULL;
    RETURN folded;
END
$$;

COMMENT ON FUNCTION session_fold_anew IS
    'Writes the sessions that started in [since, until), of which there are none; gives how many.';
