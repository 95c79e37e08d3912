-- What was told. Events repeat names, places and facts, which are kept once each and referred to
-- by number. No foreign keys: what is referred to is only ever added, and checking would cost
-- more than storing.

CREATE TABLE servers (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hub         text NOT NULL,
    username    text NOT NULL,
    server_name text NOT NULL,
    account_id  integer NOT NULL,
    CONSTRAINT servers_name UNIQUE (hub, username, server_name)
);

COMMENT ON TABLE servers IS 'Each server of each user, by its name and the user''s name then.';
COMMENT ON COLUMN servers.account_id IS
    'The same for all servers of a user: the id of the first. Users are counted by it.';

CREATE FUNCTION give_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.account_id IS NULL THEN
        SELECT coalesce(min(account_id), NEW.id) INTO NEW.account_id
        FROM servers
        WHERE hub = NEW.hub AND username = NEW.username;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER give_account BEFORE INSERT ON servers
    FOR EACH ROW EXECUTE FUNCTION give_account();

CREATE TABLE words (
    id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    word text NOT NULL,
    CONSTRAINT words_word UNIQUE (word)
);

COMMENT ON TABLE words IS 'Names that many rows say: nodes, Hubs.';

CREATE TABLE fact_sets (
    id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL,
    facts  jsonb NOT NULL,
    CONSTRAINT fact_sets_digest UNIQUE (digest),
    CONSTRAINT fact_sets_object CHECK (jsonb_typeof(facts) = 'object')
);

COMMENT ON TABLE fact_sets IS
    'Facts that were told together: of a request, of what was asked for, or others.';
COMMENT ON COLUMN fact_sets.digest IS 'By what the store finds contents of any length again.';

CREATE TABLE circumstances (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest      bytea NOT NULL,
    kind        text NOT NULL,
    source      text NOT NULL,
    reason      text,
    actor       text,
    exit_status integer,
    CONSTRAINT circumstances_digest UNIQUE (digest),
    CONSTRAINT circumstances_kind_known CHECK (kind IN (
        'requested', 'ready', 'failed', 'stopped', 'stop_failed', 'renamed', 'corrected',
        'rejected'))
);

COMMENT ON TABLE circumstances IS 'What happened, who saw it, why, by whom and with what status.';

-- All events of a session are filed under its start, so that they lie together; a rejected
-- request under its own moment. Two thirds of a session's events come at once and the last one
-- later: the index leaves it just that room (39 bytes an event where the default takes 60).
CREATE TABLE event_rows (
    filed_at         timestamptz NOT NULL,
    occurred_at      timestamptz NOT NULL,
    not_before       timestamptz,
    not_after        timestamptz,
    recorded_at      timestamptz NOT NULL DEFAULT now(),
    id               uuid NOT NULL,
    session_id       uuid,
    server_id        integer NOT NULL,
    circumstance_id  integer NOT NULL,
    request_facts_id integer,
    server_facts_id  integer,
    other_facts_id   integer,
    node_id          integer,
    CONSTRAINT event_rows_pkey PRIMARY KEY (filed_at, id) WITH (fillfactor = 70),
    CONSTRAINT event_rows_within_bounds CHECK (
        num_nulls(not_before, not_after) IN (0, 2)
        AND not_before <= occurred_at AND occurred_at <= not_after)
);

COMMENT ON TABLE event_rows IS 'What events is a view of. Append-only.';
COMMENT ON COLUMN event_rows.not_before IS 'NULL, as not_after, where occurred_at is exact.';

-- Once for each statement, so that it costs inserts nothing.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: found %; expected INSERT', TG_TABLE_NAME, TG_OP
        USING HINT = 'record another event, for example of kind corrected';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON servers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON words
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fact_sets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON circumstances
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
