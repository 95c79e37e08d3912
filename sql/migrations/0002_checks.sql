-- What checks of the Hub and the cluster find: activity, observations, groups.

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
