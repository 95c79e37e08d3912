-- What checks of the Hub and the cluster find: evidence of life, activity, observations, groups.

-- An end that was only concluded is withdrawn when the server is later seen running: an event of
-- kind corrected whose fact corrects is "alive" says at which moment. Otherwise as in 0001.
CREATE OR REPLACE VIEW session_fold AS
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
        WHEN (chosen_end).kind = 'failed' AND NOT was_ready THEN 'failed'
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

-- A later check may find the exact end of these.
CREATE INDEX sessions_end_inferred ON sessions (hub, ended_before)
    WHERE inferred AND ended_at IS NOT NULL;

-- Rewritten at each check, in place.
CREATE TABLE session_activity (
    session_id         uuid PRIMARY KEY,
    seen_at            timestamptz,
    polled_at          timestamptz NOT NULL,
    active_seconds     double precision NOT NULL,
    last_activity_at   timestamptz,
    resolution_seconds double precision NOT NULL
) WITH (fillfactor = 60);

COMMENT ON TABLE session_activity IS
    'What checks measured of sessions while they ran. Never changes the times of a session.';
COMMENT ON COLUMN session_activity.seen_at IS
    'The last moment at which the Hub or the cluster vouched for it. NULL if none ever did.';
COMMENT ON COLUMN session_activity.polled_at IS 'The check up to which activity is counted.';
COMMENT ON COLUMN session_activity.resolution_seconds IS
    'The longest time between two checks; no stretch of activity is known more finely.';

CREATE VIEW sessions_with_activity AS
SELECT
    sessions.*,
    session_activity.active_seconds,
    session_activity.last_activity_at,
    session_activity.resolution_seconds
FROM sessions
LEFT JOIN session_activity ON session_activity.session_id = sessions.id;

COMMENT ON VIEW sessions_with_activity IS
    'Sessions and how active they were; NULL where no check ever asked.';

CREATE TABLE container_observations (
    "timestamp"       timestamptz NOT NULL,
    hub               text NOT NULL,
    namespace         text,
    pod_name          text,
    session_id        uuid,
    user_email        text NOT NULL,
    user_name         text NOT NULL,
    node_name         text,
    container_image   text,
    container_base    text,
    container_version text,
    age_seconds       double precision,
    CONSTRAINT container_observations_of_something CHECK (
        pod_name IS NOT NULL AND namespace IS NOT NULL OR session_id IS NOT NULL)
);

-- A pod counts once a moment; a server without a pod by its session.
CREATE UNIQUE INDEX container_observations_pod
    ON container_observations (hub, "timestamp", namespace, pod_name) WHERE pod_name IS NOT NULL;
CREATE UNIQUE INDEX container_observations_session
    ON container_observations (hub, "timestamp", session_id) WHERE pod_name IS NULL;
CREATE INDEX container_observations_user ON container_observations (user_email, "timestamp");

COMMENT ON TABLE container_observations IS 'What each check saw running: one row a server.';
COMMENT ON COLUMN container_observations.user_email IS
    'The user''s name in the Hub where no e-mail is known, so that users stay distinct.';
COMMENT ON COLUMN container_observations.pod_name IS 'NULL where servers are not pods.';

CREATE TABLE group_memberships (
    hub        text NOT NULL,
    group_name text NOT NULL,
    username   text NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to   timestamptz,
    PRIMARY KEY (hub, group_name, username, valid_from),
    CONSTRAINT group_memberships_in_order CHECK (valid_from <= valid_to)
);

CREATE UNIQUE INDEX group_memberships_open
    ON group_memberships (hub, group_name, username) WHERE valid_to IS NULL;
CREATE INDEX group_memberships_user ON group_memberships (hub, username, valid_from);

COMMENT ON TABLE group_memberships IS
    'Who was seen in which group of the Hub, in [valid_from, valid_to); valid_to NULL: until now.';
