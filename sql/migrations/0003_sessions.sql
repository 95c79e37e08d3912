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
    gpus                   double precision,
    image_id               integer NOT NULL
);

CREATE INDEX descriptions_image ON descriptions (coalesce(image, ''), image_id);

COMMENT ON TABLE descriptions IS 'What servers are: image, profile and resources, once each.';
COMMENT ON COLUMN descriptions.image_id IS
    'The same for all with this image: the id of the first. Images are counted by it.';

CREATE FUNCTION give_image() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.image_id IS NULL THEN
        SELECT coalesce(min(image_id), NEW.id) INTO NEW.image_id
        FROM descriptions
        WHERE coalesce(image, '') = coalesce(NEW.image, '');
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER give_image BEFORE INSERT ON descriptions
    FOR EACH ROW EXECUTE FUNCTION give_image();

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
    active_hours       bigint[],
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

COMMENT ON COLUMN ended_sessions.active_hours IS
    'Active microseconds in each hour (UTC), from the one it started in, as far as checks asked.';

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

CREATE FUNCTION table_rows(counted regclass) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    found bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s', counted) INTO found;
    RETURN found;
END
$$;

COMMENT ON FUNCTION table_rows IS 'The exact number of rows, for jupyterhub-metrics db status.';
