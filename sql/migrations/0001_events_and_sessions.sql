-- Events are the truth; sessions are a pure function of them, computed by session_fold.

CREATE TABLE events (
    id          uuid PRIMARY KEY,
    session_id  uuid,
    hub         text NOT NULL,
    username    text NOT NULL,
    server_name text NOT NULL,
    started_at  timestamptz,
    kind        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    not_before  timestamptz NOT NULL,
    not_after   timestamptz NOT NULL,
    source      text NOT NULL,
    reason      text,
    actor       text,
    exit_status integer,
    facts       jsonb NOT NULL DEFAULT '{}',
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT events_kind_known CHECK (kind IN (
        'requested', 'ready', 'failed', 'stopped', 'stop_failed', 'renamed', 'corrected',
        'rejected')),
    CONSTRAINT events_within_bounds CHECK (
        not_before <= occurred_at AND occurred_at <= not_after),
    CONSTRAINT events_session_unless_rejected CHECK ((session_id IS NULL) = (kind = 'rejected')),
    CONSTRAINT events_start_of_session CHECK (session_id IS NULL OR started_at IS NOT NULL),
    CONSTRAINT events_facts_object CHECK (jsonb_typeof(facts) = 'object')
);

CREATE INDEX events_session_id ON events (session_id);

COMMENT ON TABLE events IS
    'What happened to sessions, as it was reported. Append-only; sessions can be rebuilt from it.';
COMMENT ON COLUMN events.session_id IS 'NULL for a request that never became a session.';
COMMENT ON COLUMN events.occurred_at IS
    'Best estimate, between not_before and not_after; the three are equal if it was seen.';
COMMENT ON COLUMN events.recorded_at IS 'When it was stored here. Takes no part in the fold.';

-- Once for each statement, so that it costs inserts nothing.
CREATE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only: found %; expected INSERT', TG_OP
        USING HINT = 'record another event, for example of kind corrected';
END
$$;

CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_change();

CREATE TABLE sessions (
    id                     uuid PRIMARY KEY,
    hub                    text NOT NULL,
    username               text NOT NULL,
    server_name            text NOT NULL,
    started_at             timestamptz NOT NULL,
    state                  text NOT NULL,
    ready_at               timestamptz,
    ended_at               timestamptz,
    ended_after            timestamptz,
    ended_before           timestamptz,
    end_reason             text,
    end_source             text,
    ended_by               text,
    exit_status            integer,
    started_by             text,
    display_name           text,
    groups                 text[],
    spawner_class          text,
    profile                text,
    user_options           jsonb,
    image                  text,
    image_name             text,
    image_tag              text,
    image_digest           text,
    node                   text,
    namespace              text,
    pod_name               text,
    cpu_guarantee_cores    double precision,
    cpu_limit_cores        double precision,
    memory_guarantee_bytes bigint,
    memory_limit_bytes     bigint,
    gpus                   double precision,
    simulated              boolean NOT NULL,
    inferred               boolean NOT NULL,
    CONSTRAINT sessions_state_known CHECK (state IN ('starting', 'running', 'ended', 'failed')),
    CONSTRAINT sessions_state_agrees CHECK (
        (ended_at IS NULL) = (state IN ('starting', 'running'))),
    CONSTRAINT sessions_end_bounded CHECK (
        num_nulls(ended_after, ended_at, ended_before) IN (0, 3)
        AND started_at <= ended_after AND ended_after <= ended_at AND ended_at <= ended_before),
    CONSTRAINT sessions_ready_within CHECK (started_at <= ready_at AND ready_at <= ended_at)
);

CREATE INDEX sessions_hub_username_started_at ON sessions (hub, username, started_at DESC);
CREATE INDEX sessions_hub_started_at ON sessions (hub, started_at);
CREATE INDEX sessions_open ON sessions (hub, username) WHERE ended_at IS NULL;

COMMENT ON TABLE sessions IS
    'One row for each run of a user server. Equal to session_fold; never written by hand.';
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
-- on one. The restriction to a session's id reaches the index below the grouping.
-- An end that was only concluded is withdrawn when the server is later seen running: an event of
-- kind corrected whose fact corrects is "alive" says at which moment.
CREATE VIEW session_fold AS
WITH witnessed AS (
    SELECT
        events.*,
        events AS event,
        max(not_before) FILTER (WHERE kind = 'corrected' AND facts ->> 'corrects' = 'alive')
            OVER (PARTITION BY session_id) AS alive_at
    FROM events
    WHERE session_id IS NOT NULL
),
gathered AS (
    SELECT
        session_id,
        min(hub) AS hub,
        min(username) AS original_username,
        min(server_name) AS server_name,
        min(started_at) AS started_at,
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
    GROUP BY session_id
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
    NOT existence_seen OR coalesce(end_rank <> 0, false) AS inferred
FROM ended;

COMMENT ON VIEW session_fold IS
    'What sessions must be, computed from events. Ask for few ids at a time.';

CREATE FUNCTION table_rows(counted regclass) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    found bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s', counted) INTO found;
    RETURN found;
END
$$;

COMMENT ON FUNCTION table_rows IS 'The exact number of rows, for jupyterhub-metrics db status.';
