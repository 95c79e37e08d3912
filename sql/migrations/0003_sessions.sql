-- Events as they were told, and sessions, which are a pure function of them.

CREATE VIEW event_details AS
SELECT
    event_rows.id,
    event_rows.session_id,
    servers.hub,
    servers.username,
    servers.server_name,
    CASE WHEN event_rows.session_id IS NOT NULL THEN event_rows.filed_at
        ELSE nullif(event_rows.filed_at, event_rows.occurred_at) END AS started_at,
    circumstances.kind,
    event_rows.occurred_at,
    coalesce(event_rows.not_before, event_rows.occurred_at) AS not_before,
    coalesce(event_rows.not_after, event_rows.occurred_at) AS not_after,
    circumstances.source,
    circumstances.reason,
    circumstances.actor,
    circumstances.exit_status,
    coalesce(request_facts.facts, '{}') || coalesce(server_facts.facts, '{}')
        || coalesce(other_facts.facts, '{}')
        || CASE WHEN node.id IS NULL THEN '{}' ELSE jsonb_build_object('node', node.word) END
        AS facts,
    event_rows.recorded_at,
    event_rows.filed_at,
    event_rows.circumstance_id
FROM event_rows
LEFT JOIN servers ON servers.id = event_rows.server_id
LEFT JOIN circumstances ON circumstances.id = event_rows.circumstance_id
LEFT JOIN fact_sets AS request_facts ON request_facts.id = event_rows.request_facts_id
LEFT JOIN fact_sets AS server_facts ON server_facts.id = event_rows.server_facts_id
LEFT JOIN fact_sets AS other_facts ON other_facts.id = event_rows.other_facts_id
LEFT JOIN words AS node ON node.id = event_rows.node_id;

COMMENT ON VIEW event_details IS 'Events, with where they are filed. For the store itself.';

CREATE VIEW events AS
SELECT
    id, session_id, hub, username, server_name, started_at, kind, occurred_at, not_before,
    not_after, source, reason, actor, exit_status, facts, recorded_at
FROM event_details;

CREATE TRIGGER append_only INSTEAD OF UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

COMMENT ON VIEW events IS
    'What happened to sessions, as it was reported. Append-only; sessions can be rebuilt from it.';
COMMENT ON COLUMN events.session_id IS 'NULL for a request that never became a session.';
COMMENT ON COLUMN events.occurred_at IS
    'Best estimate, between not_before and not_after; the three are equal if it was seen.';
COMMENT ON COLUMN events.recorded_at IS 'When it was stored here. Takes no part in the fold.';

CREATE TABLE descriptions (
    id                     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest                 bytea NOT NULL UNIQUE,
    spawner_class          text,
    profile                text,
    image                  text,
    image_name             text,
    image_tag              text,
    image_digest           text,
    namespace              text,
    cpu_guarantee_cores    double precision,
    cpu_limit_cores        double precision,
    memory_guarantee_bytes bigint,
    memory_limit_bytes     bigint,
    gpus                   double precision
);

COMMENT ON TABLE descriptions IS 'What servers are: image, profile and resources, once each.';

CREATE TABLE requests (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest       bytea NOT NULL UNIQUE,
    started_by   text,
    display_name text,
    groups       text[],
    user_options jsonb,
    pod_name     text
);

COMMENT ON TABLE requests IS 'Who asks for a server and with which options, once each.';

CREATE TYPE session_state AS ENUM ('starting', 'running', 'ended', 'failed');

-- Sessions are in two tables, so that what is rewritten often is small and what is large is
-- written once: while they run, with the activity that each check measures, and once they have
-- ended.
CREATE TABLE open_sessions (
    id                 uuid NOT NULL,
    started_at         timestamptz NOT NULL,
    ready_at           timestamptz,
    ended_at           timestamptz,
    ended_after        timestamptz,
    ended_before       timestamptz,
    seen_at            timestamptz,
    polled_at          timestamptz,
    last_activity_at   timestamptz,
    active_seconds     double precision,
    resolution_seconds double precision,
    server_id          integer NOT NULL,
    ending_id          integer,
    description_id     integer NOT NULL,
    request_id         integer NOT NULL,
    node_id            integer,
    state              session_state NOT NULL,
    simulated          boolean NOT NULL,
    inferred           boolean NOT NULL,
    CONSTRAINT open_sessions_end_bounded CHECK (
        num_nulls(ended_after, ended_before) IN (0, 2)
        AND (ended_at IS NOT NULL OR ended_after IS NULL)
        AND started_at <= ended_at AND started_at <= ended_after
        AND ended_after <= ended_at AND ended_at <= ended_before),
    CONSTRAINT open_sessions_ready_within CHECK (started_at <= ready_at AND ready_at <= ended_at)
) WITH (fillfactor = 50);

CREATE TABLE ended_sessions (LIKE open_sessions INCLUDING ALL);

ALTER TABLE open_sessions
    ADD CONSTRAINT open_sessions_pkey PRIMARY KEY (id),
    ADD CONSTRAINT open_sessions_are_open CHECK (
        ended_at IS NULL AND state IN ('starting', 'running'));
ALTER TABLE ended_sessions
    ADD CONSTRAINT ended_sessions_pkey PRIMARY KEY (id),
    ADD CONSTRAINT ended_sessions_have_ended CHECK (
        ended_at IS NOT NULL AND state IN ('ended', 'failed'));

CREATE INDEX open_sessions_server_started_at ON open_sessions (server_id, started_at);
CREATE INDEX ended_sessions_server_started_at ON ended_sessions (server_id, started_at);
CREATE INDEX ended_sessions_started_at ON ended_sessions (started_at);
CREATE INDEX ended_sessions_ended_at ON ended_sessions (ended_at);
CREATE INDEX ended_sessions_inferred ON ended_sessions (coalesce(ended_before, ended_at))
    WHERE inferred;

COMMENT ON TABLE open_sessions IS
    'Sessions that start or run; equal to session_fold. Written only by session_refold and checks.';
COMMENT ON TABLE ended_sessions IS
    'Sessions that have ended; equal to session_fold. Written only by session_refold and checks.';
COMMENT ON COLUMN ended_sessions.ended_after IS
    'NULL, as ended_before, where ended_at is exact.';
COMMENT ON COLUMN ended_sessions.polled_at IS
    'Up to when activity is counted; NULL if no check ever asked.';

CREATE VIEW session_rows AS
SELECT * FROM open_sessions
UNION ALL
SELECT * FROM ended_sessions;

COMMENT ON VIEW session_rows IS 'What sessions is a view of.';

CREATE VIEW sessions AS
SELECT
    session_rows.id,
    servers.hub,
    servers.username,
    servers.server_name,
    session_rows.started_at,
    session_rows.state::text AS state,
    session_rows.ready_at,
    session_rows.ended_at,
    coalesce(session_rows.ended_after, session_rows.ended_at) AS ended_after,
    coalesce(session_rows.ended_before, session_rows.ended_at) AS ended_before,
    ending.reason AS end_reason,
    ending.source AS end_source,
    ending.actor AS ended_by,
    ending.exit_status,
    requests.started_by,
    requests.display_name,
    requests.groups,
    descriptions.spawner_class,
    descriptions.profile,
    requests.user_options,
    descriptions.image,
    descriptions.image_name,
    descriptions.image_tag,
    descriptions.image_digest,
    node.word AS node,
    descriptions.namespace,
    requests.pod_name,
    descriptions.cpu_guarantee_cores,
    descriptions.cpu_limit_cores,
    descriptions.memory_guarantee_bytes,
    descriptions.memory_limit_bytes,
    descriptions.gpus,
    session_rows.simulated,
    session_rows.inferred
-- outer joins on keys: a query pays only for the columns that it asks for
FROM session_rows
LEFT JOIN servers ON servers.id = session_rows.server_id
LEFT JOIN descriptions ON descriptions.id = session_rows.description_id
LEFT JOIN requests ON requests.id = session_rows.request_id
LEFT JOIN circumstances AS ending ON ending.id = session_rows.ending_id
LEFT JOIN words AS node ON node.id = session_rows.node_id;

COMMENT ON VIEW sessions IS 'One row for each run of a user server.';
COMMENT ON COLUMN sessions.ended_at IS
    'Best estimate, between ended_after and ended_before; the three are equal if it was seen.';
COMMENT ON COLUMN sessions.inferred IS
    'Whether the end or the existence of the session was concluded and not seen.';

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

-- The fold. Order-free: every aggregate either has a total order of its own or does not depend
-- on one. The restriction to a session's id and start reaches the index below the grouping.
-- An end that was only concluded is withdrawn when the server is later seen running: an event of
-- kind corrected whose fact corrects is "alive" says at which moment.
CREATE VIEW session_fold AS
WITH witnessed AS (
    SELECT
        event_details.*,
        event_details AS event,
        max(not_before) FILTER (WHERE kind = 'corrected' AND facts ->> 'corrects' = 'alive')
            OVER (PARTITION BY session_id, filed_at) AS alive_at
    FROM event_details
    WHERE session_id IS NOT NULL
),
gathered AS (
    SELECT
        session_id,
        min(hub) AS hub,
        min(username) AS original_username,
        min(server_name) AS server_name,
        filed_at AS started_at,
        (array_agg(facts ->> 'username' ORDER BY occurred_at DESC, id DESC) FILTER (
            WHERE kind = 'renamed' AND length(facts ->> 'username') BETWEEN 1 AND 255
        ))[1] AS new_username,
        (array_agg(event ORDER BY
            session_end_rank(kind, source, not_before, not_after, facts),
            not_after - not_before, id
        ) FILTER (
            WHERE session_end_rank(kind, source, not_before, not_after, facts) = 0
                OR session_end_rank(kind, source, not_before, not_after, facts) > 0
                AND (alive_at IS NULL OR not_after > alive_at)
        ))[1] AS chosen_end,
        min(occurred_at) FILTER (WHERE kind = 'ready' AND not_before = not_after) AS ready_at,
        bool_or(kind = 'ready') AS was_ready,
        bool_or(kind = 'ready' AND source <> 'hub_api') AS ready_told,
        bool_or(kind = 'requested'
            OR kind = 'ready' AND not_before = not_after) AS existence_seen,
        bool_or(source = 'simulation') AS simulated,
        session_facts(facts ORDER BY session_event_rank(kind), occurred_at, id)
            FILTER (WHERE session_event_rank(kind) IS NOT NULL) AS facts
    FROM witnessed
    GROUP BY session_id, filed_at
),
ended AS (
    SELECT
        gathered.*,
        session_end_rank(
            (chosen_end).kind, (chosen_end).source, (chosen_end).not_before,
            (chosen_end).not_after, (chosen_end).facts) AS end_rank,
        -- A clock that stepped back never makes a session shorter than nothing.
        CASE WHEN (chosen_end).id IS NOT NULL
            THEN greatest((chosen_end).occurred_at, started_at) END AS ended_at,
        CASE WHEN (chosen_end).id IS NOT NULL
            THEN greatest((chosen_end).not_before, started_at) END AS ended_after,
        CASE WHEN (chosen_end).id IS NOT NULL
            THEN greatest((chosen_end).not_after, started_at) END AS ended_before
    FROM gathered
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

CREATE FUNCTION content_digest(VARIADIC parts text[]) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
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

CREATE FUNCTION session_refold(ids uuid[], starts timestamptz[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    folded session_fold_digested[];
    now_known ended_sessions[];
    known_before ended_sessions[];
BEGIN
    -- a check that measures activity meanwhile waits, and then finds the session where it is
    PERFORM FROM open_sessions WHERE id = ANY (ids) ORDER BY id FOR UPDATE;
    SELECT array_agg(ROW(session_rows.*)::ended_sessions) INTO known_before
    FROM session_rows
    WHERE id = ANY (ids);

    SELECT array_agg(fold) INTO folded
    FROM session_fold_digested AS fold
    WHERE fold.started_at = ANY (starts) AND fold.id = ANY (ids);

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
            fold.inferred
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
        inferred = excluded.inferred
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
        inferred = excluded.inferred
    WHERE kept IS DISTINCT FROM excluded;

    -- made by a later migration
    PERFORM usage_follow(known_before, now_known);
    PERFORM hourly_follow(known_before, now_known);
END
$$;

COMMENT ON FUNCTION session_refold IS
    'Brings these sessions, given by id and start, up to what their events say.';

CREATE FUNCTION table_rows(counted regclass) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    found bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s', counted) INTO found;
    RETURN found;
END
$$;

COMMENT ON FUNCTION table_rows IS 'The exact number of rows, for jupyterhub-metrics db status.';
