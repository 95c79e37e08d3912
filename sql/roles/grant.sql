-- Makes the four roles and grants each what it needs and nothing else; again and again, with the
-- same result. To be run in a transaction in which jupyterhub_metrics.roles is set to JSON:
-- {"prefix": text, "reads": "plain" or "pseudonymised", "verifiers": {"reader": SCRAM verifier}}.

DO $$
DECLARE
    given      jsonb := current_setting('jupyterhub_metrics.roles')::jsonb;
    owner_role name := given ->> 'prefix' || 'owner';
    writer     name := given ->> 'prefix' || 'writer';
    sampler    name := given ->> 'prefix' || 'sampler';
    reader     name := given ->> 'prefix' || 'reader';
    ours       regnamespace := (
        SELECT relnamespace FROM pg_class WHERE oid = 'schema_migrations'::regclass);
    theirs     regnamespace := to_regnamespace('pseudonymised');
    plain      boolean := given ->> 'reads' = 'plain';
    superuser  boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
    -- tables that are documented for queries; views are readable without being named here
    readable   name[] := ARRAY[
        'sessions', 'events', 'session_activity', 'container_observations', 'group_memberships',
        'monitor_samples_ring', 'session_samples'];
    -- what functions of usage read as whoever calls them; views show all that is in them
    behind     name[] := ARRAY[
        'servers', 'words', 'descriptions', 'open_sessions', 'ended_sessions', 'usage_days',
        'usage_closed', 'usage_months', 'usage_summary', 'usage_due', 'resource_sums',
        'resource_due'];
    -- what runs with the owner's rights for the writer: partitions are made ahead of rows,
    -- chunks are compressed and dropped when they are empty
    upkeep     name[] := ARRAY[
        'make_event_partitions', 'compress_chunks', 'drop_emptied_chunks'];
    -- what runs with the owner's rights for who reads: it tells no user's name
    nameless   name[] := ARRAY['usage_of_open_days', 'hourly_nodes', 'hourly_images'];
    -- what samplers call
    ring       name[] := ARRAY[
        'ring_open', 'ring_write', 'ring_recent', 'ring_resize', 'ring_clean', 'ring_state',
        'record_pod_samples'];
    item       record;
BEGIN
    FOR item IN SELECT unnest(ARRAY[owner_role, writer, sampler, reader]) AS role LOOP
        IF EXISTS (
            SELECT FROM pg_roles
            WHERE rolname = item.role
                AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
        ) THEN
            RAISE EXCEPTION 'found a role % that may do more than it should; expected one of ours',
                item.role USING ERRCODE = 'duplicate_object';
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = item.role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', item.role);
        END IF;
        IF given -> 'verifiers' ? replace(item.role, given ->> 'prefix', '') THEN
            EXECUTE format(
                'ALTER ROLE %I LOGIN PASSWORD %L', item.role,
                given -> 'verifiers' ->> replace(item.role, given ->> 'prefix', ''));
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), item.role);
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', ours, item.role);
    END LOOP;

    -- Whoever runs this keeps what was theirs: as a member of the owner.
    IF NOT superuser THEN
        EXECUTE format('GRANT %I TO %I', owner_role, current_user);
    END IF;
    EXECUTE format('GRANT CREATE ON SCHEMA %s TO %I', ours, owner_role);
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), owner_role);
    IF theirs IS NOT NULL THEN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %s TO %I', theirs, owner_role);
        EXECUTE format('REVOKE ALL ON SCHEMA %s FROM %I', theirs, reader);
    END IF;
    -- Else everyone may fill the disk, or put a function in the way of ours.
    EXECUTE format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC', ours);
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE EXECUTE ON ROUTINES FROM PUBLIC', owner_role);

    -- An index goes with its table, a column's own sequence too, an extension's objects stay.
    FOR item IN
        SELECT
            pg_class.oid::regclass AS relation, relname, relkind, relnamespace,
            relowner <> owner_role::regrole AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE relkind = 'S' AND classid = 'pg_class'::regclass AND objid = pg_class.oid
                    AND deptype IN ('a', 'i')
            ) AS foreign_owner,
            EXISTS (
                SELECT FROM pg_trigger
                WHERE tgrelid = pg_class.oid AND tgname LIKE '%append\_only'
            ) AS append_only
        FROM pg_class
        WHERE relnamespace IN (ours, theirs)
            AND relkind IN ('r', 'p', 'v', 'm', 'S')
            AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
    LOOP
        IF item.foreign_owner THEN
            EXECUTE format('ALTER TABLE %s OWNER TO %I', item.relation, owner_role);
        END IF;
        EXECUTE format(
            'REVOKE ALL ON %s FROM PUBLIC, %I, %I, %I', item.relation, writer, sampler, reader);
        IF item.relnamespace = theirs THEN
            IF NOT plain THEN
                EXECUTE format('GRANT SELECT ON %s TO %I', item.relation, reader);
            END IF;
        ELSIF item.relname = 'pseudonym_key' THEN
            -- whoever writes knows all names; the service shows the same pseudonyms
            EXECUTE format('GRANT SELECT ON %s TO %I', item.relation, writer);
        ELSIF item.relkind = 'S' THEN
            EXECUTE format('GRANT USAGE ON %s TO %I', item.relation, writer);
        ELSE
            EXECUTE format(
                'GRANT %s ON %s TO %I',
                CASE
                    WHEN item.relkind IN ('v', 'm') THEN 'SELECT'
                    WHEN item.relname IN ('schema_migrations', 'people_sources') THEN 'SELECT'
                    WHEN item.append_only THEN 'SELECT, INSERT'
                    ELSE 'SELECT, INSERT, UPDATE, DELETE'
                END,
                item.relation, writer);
            IF plain AND (
                item.relkind IN ('v', 'm') OR item.relname = ANY (readable || behind)
            ) THEN
                EXECUTE format('GRANT SELECT ON %s TO %I', item.relation, reader);
            END IF;
        END IF;
    END LOOP;

    -- A view asks whether its reader may execute what it calls. What runs with its owner's rights
    -- is for those alone who are named.
    FOR item IN
        SELECT
            pg_proc.oid::regprocedure AS routine, proname, prosecdef,
            prorettype = 'trigger'::regtype AS of_trigger,
            proowner <> owner_role::regrole AS foreign_owner
        FROM pg_proc
        WHERE pronamespace = ours
            AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
    LOOP
        IF item.foreign_owner THEN
            EXECUTE format('ALTER ROUTINE %s OWNER TO %I', item.routine, owner_role);
        END IF;
        IF item.prosecdef THEN
            -- else a temporary table of the caller would be taken for ours
            EXECUTE format(
                'ALTER ROUTINE %s SET search_path TO %s, pg_temp', item.routine, ours);
        END IF;
        EXECUTE format(
            'REVOKE ALL ON ROUTINE %s FROM PUBLIC, %I, %I, %I',
            item.routine, writer, sampler, reader);
        IF item.proname = ANY (ring) THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', item.routine, sampler);
        ELSIF item.proname = ANY (upkeep) THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', item.routine, writer);
        ELSIF item.proname = ANY (nameless) OR NOT item.prosecdef AND NOT item.of_trigger THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I, %I', item.routine, writer, reader);
        END IF;
    END LOOP;

    IF NOT plain THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', theirs, reader);
    END IF;
    FOR item IN
        SELECT role, setting, value
        FROM (VALUES
            (owner_role, 'search_path', ours::text),
            (owner_role, 'jit', 'off'),
            (writer, 'search_path', ours::text),
            (writer, 'jit', 'off'),
            (sampler, 'search_path', ours::text),
            (sampler, 'jit', 'off'),
            (sampler, 'statement_timeout', '10s'),
            (reader, 'jit', 'off'),
            (reader, 'search_path', concat_ws(', ', CASE WHEN NOT plain THEN theirs END, ours)),
            (reader, 'default_transaction_read_only', 'on'),
            (reader, 'statement_timeout', '60s'),
            (reader, 'idle_in_transaction_session_timeout', '60s'),
            (reader, 'temp_file_limit', '2GB')
        ) AS wanted (role, setting, value)
        -- a limit that the role cannot lift again is only a superuser's to set
        WHERE superuser OR setting <> 'temp_file_limit'
    LOOP
        EXECUTE format(
            'ALTER ROLE %I IN DATABASE %I SET %s TO %s', item.role, current_database(),
            item.setting,
            CASE WHEN item.setting = 'search_path' THEN item.value ELSE quote_literal(item.value) END);
    END LOOP;
    EXECUTE format('ALTER ROLE %I CONNECTION LIMIT 20', reader);
END
$$;
