-- The ring: samples of nodes and containers in tables of fixed size, written through functions.

CREATE TABLE monitor_samples_ring (
    id                 bigserial PRIMARY KEY,
    slot               integer UNIQUE NOT NULL,
    sample_time        bigint,
    master_flag        boolean NOT NULL DEFAULT FALSE,
    node_flag          boolean NOT NULL,
    node_name          text NOT NULL,
    container_name     text,
    cpu_user_pct       real,
    cpu_nice_pct       real,
    cpu_system_pct     real,
    cpu_idle_pct       real,
    cpu_iowait_pct     real,
    cpu_irq_pct        real,
    cpu_softirq_pct    real,
    cpu_steal_pct      real,
    cpu_guest_pct      real,
    cpu_guest_nice_pct real,
    cpu_total_pct      real,
    load_1m            real,
    load_5m            real,
    load_15m           real,
    ctx_switches_s     real,
    interrupts_s       real,
    procs_running      integer,
    procs_blocked      integer,
    mem_total_mb       integer,
    mem_free_mb        integer,
    mem_available_mb   integer,
    mem_buffers_mb     integer,
    mem_cached_mb      integer,
    swap_total_mb      integer,
    swap_free_mb       integer,
    swap_used_mb       integer,
    c_rss_mb           integer,
    c_vsz_mb           integer,
    c_shared_mb        integer,
    disk_read_mb_s     real,
    disk_write_mb_s    real,
    disk_read_iops     real,
    disk_write_iops    real,
    disk_util_pct      real,
    net_rx_mb_s        real,
    net_tx_mb_s        real,
    net_rx_pkts_s      real,
    net_tx_pkts_s      real,
    net_rx_errs_s      real,
    net_tx_errs_s      real,
    net_rx_drops_s     real,
    net_tx_drops_s     real,
    temperature_c      real,
    source             text NOT NULL DEFAULT 'psutil',
    interval_seconds   real,
    CONSTRAINT ring_slot_positive CHECK (slot > 0),
    CONSTRAINT ring_container_named CHECK (node_flag OR container_name IS NOT NULL),
    CONSTRAINT ring_master_is_a_node CHECK (node_flag OR NOT master_flag)
);

CREATE INDEX monitor_samples_ring_composite_idx ON monitor_samples_ring
    (master_flag, node_flag, node_name, container_name, sample_time DESC);
CREATE INDEX monitor_samples_ring_time_slot_idx ON monitor_samples_ring
    (sample_time NULLS FIRST, slot ASC);
CREATE INDEX monitor_samples_ring_master_nodes_idx ON monitor_samples_ring (sample_time DESC)
    WHERE master_flag = TRUE AND node_flag = TRUE;
CREATE INDEX monitor_samples_ring_containers_idx ON monitor_samples_ring
    (node_name, container_name, sample_time DESC) WHERE node_flag = FALSE;

COMMENT ON TABLE monitor_samples_ring IS
    'The newest samples of nodes and containers. Written only through the functions of the ring.';
COMMENT ON COLUMN monitor_samples_ring.sample_time IS
    'Seconds since 1970 in UTC. NULL or 0: the slot is empty.';
COMMENT ON COLUMN monitor_samples_ring.interval_seconds IS 'The time that the rates are taken over.';

CREATE TABLE rings (
    name     text PRIMARY KEY,
    capacity integer NOT NULL,
    CONSTRAINT rings_capacity CHECK (capacity BETWEEN 1 AND 10000000)
);

COMMENT ON TABLE rings IS 'The tables that are rings, and how many rows each holds at most.';

-- What rings are made like, other names for what a sampler writes.
CREATE TYPE ring_account AS (written integer, older integer, ahead integer);

COMMENT ON TYPE ring_account IS
    'Of a batch: samples that are in the ring now, samples that were older than all of a full '
    'ring, and samples from the future, which are refused.';

CREATE FUNCTION ring_check_capacity(wanted bigint) RETURNS void
    LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF wanted IS NULL OR wanted NOT BETWEEN 1 AND 10000000 THEN
        RAISE EXCEPTION 'found a capacity of %; expected 1 to 10000000 rows; correct it',
            coalesce(wanted::text, 'nothing') USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

-- Who holds the lock is alone in the ring; what was written before is visible after it.
CREATE FUNCTION ring_locked(ring text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    found integer;
BEGIN
    SELECT rings.capacity INTO found FROM rings WHERE rings.name = ring FOR NO KEY UPDATE;
    IF found IS NULL THEN
        RAISE EXCEPTION 'found no ring %; expected one that was opened; call ring_open', ring
            USING ERRCODE = 'undefined_table';
    END IF;
    RETURN found;
END
$$;

CREATE FUNCTION ring_resize(ring text, new_capacity bigint) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    removed integer := 0;
BEGIN
    PERFORM ring_check_capacity(new_capacity);
    PERFORM ring_locked(ring);
    EXECUTE format(
        'DELETE FROM %1$I WHERE slot IN ('
        '   SELECT slot FROM %1$I ORDER BY sample_time NULLS FIRST, slot'
        '   LIMIT greatest((SELECT count(*) FROM %1$I) - $1, 0))', ring)
    USING new_capacity;
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed > 0 THEN
        EXECUTE format(
            'WITH movers AS ('
            '    SELECT slot, row_number() OVER (ORDER BY slot) AS place FROM %1$I WHERE slot > $1'
            '), holes AS ('
            '    SELECT slot, row_number() OVER (ORDER BY slot) AS place'
            '    FROM generate_series(1, $1) AS all_slots (slot)'
            '    WHERE NOT EXISTS (SELECT FROM %1$I AS kept WHERE kept.slot = all_slots.slot)'
            ')'
            'UPDATE %1$I AS moved SET slot = holes.slot FROM movers JOIN holes USING (place)'
            'WHERE moved.slot = movers.slot', ring)
        USING new_capacity;
    END IF;
    UPDATE rings SET capacity = new_capacity WHERE name = ring;
    RETURN removed;
END
$$;

COMMENT ON FUNCTION ring_resize IS
    'Sets how many rows a ring holds; gives how many went. Empty slots go first, then the oldest.';

CREATE FUNCTION ring_make(ring text, wanted_capacity bigint) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    item record;
BEGIN
    IF ring !~ '^[a-z_][a-z0-9_]{0,44}$' THEN
        RAISE EXCEPTION 'found the table name %; expected at most 45 of a-z, 0-9 and _, the first '
            'no digit; correct it', quote_literal(left(ring, 60))
            USING ERRCODE = 'invalid_name';
    END IF;
    IF (SELECT count(*) >= 64 FROM rings) THEN
        RAISE EXCEPTION 'found 64 rings; expected fewer; drop tables that nobody writes to, and '
            'their rows in rings' USING ERRCODE = 'program_limit_exceeded';
    END IF;
    IF ring <> 'monitor_samples_ring' THEN
        IF to_regclass(quote_ident(ring)) IS NOT NULL THEN
            RAISE EXCEPTION 'found a table % that is no ring; expected a new name; give another',
                ring USING ERRCODE = 'duplicate_table';
        END IF;
        EXECUTE format(
            'CREATE TABLE %I (LIKE monitor_samples_ring INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
            'INCLUDING COMMENTS, PRIMARY KEY (id), UNIQUE (slot))', ring);
        EXECUTE format(
            'CREATE INDEX %I ON %I '
            '(master_flag, node_flag, node_name, container_name, sample_time DESC)',
            ring || '_composite_idx', ring);
        EXECUTE format(
            'CREATE INDEX %I ON %I (sample_time NULLS FIRST, slot ASC)',
            ring || '_time_slot_idx', ring);
        EXECUTE format(
            'CREATE INDEX %I ON %I (sample_time DESC) '
            'WHERE master_flag = TRUE AND node_flag = TRUE', ring || '_master_nodes_idx', ring);
        EXECUTE format(
            'CREATE INDEX %I ON %I (node_name, container_name, sample_time DESC) '
            'WHERE node_flag = FALSE', ring || '_containers_idx', ring);
        -- who may read the one may read the other
        FOR item IN
            SELECT grantee::regrole AS role, privilege_type
            FROM pg_class, aclexplode(relacl)
            WHERE pg_class.oid = 'monitor_samples_ring'::regclass AND grantee NOT IN (0, relowner)
        LOOP
            EXECUTE format('GRANT %s ON %I TO %s', item.privilege_type, ring, item.role);
        END LOOP;
    END IF;
    INSERT INTO rings (name, capacity) VALUES (ring, wanted_capacity);
END
$$;

CREATE FUNCTION ring_open(
    ring text, wanted_capacity bigint, resize boolean DEFAULT FALSE, unlogged boolean DEFAULT NULL
) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM ring_check_capacity(wanted_capacity);
    IF NOT EXISTS (SELECT FROM rings WHERE name = ring) THEN
        PERFORM pg_advisory_xact_lock(7236280, 4);
        IF NOT EXISTS (SELECT FROM rings WHERE name = ring) THEN
            PERFORM ring_make(ring, wanted_capacity);
        END IF;
    ELSIF resize AND wanted_capacity <> (SELECT capacity FROM rings WHERE name = ring) THEN
        PERFORM ring_resize(ring, wanted_capacity);
    END IF;
    IF unlogged <> (
        SELECT relpersistence = 'u' FROM pg_class WHERE oid = quote_ident(ring)::regclass)
    THEN
        EXECUTE format(
            'ALTER TABLE %I SET %s', ring, CASE WHEN unlogged THEN 'UNLOGGED' ELSE 'LOGGED' END);
    END IF;
    RETURN (SELECT capacity FROM rings WHERE name = ring);
END
$$;

COMMENT ON FUNCTION ring_open IS
    'Makes the ring if it is not there; gives its capacity, which is the wanted one where it was '
    'made or resized. UNLOGGED tables are faster and empty after a crash; NULL leaves it as it is.';

-- After it the ring holds the newest of all that was ever written, as many as it has room for.
CREATE FUNCTION ring_write(ring text, samples jsonb) RETURNS ring_account
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    -- clocks of two machines differ
    horizon constant bigint := extract(epoch FROM clock_timestamp())::bigint + 300;
    capacity constant integer := ring_locked(ring);
    names text;
    assigned text;
    account ring_account;
    given integer;
BEGIN
    SELECT
        string_agg(quote_ident(attname), ', ' ORDER BY attnum),
        string_agg(format('%1$I = one.%1$I', attname), ', ' ORDER BY attnum)
    INTO names, assigned
    FROM pg_attribute
    WHERE attrelid = 'monitor_samples_ring'::regclass AND attnum > 0 AND NOT attisdropped
        AND attname NOT IN ('id', 'slot');
    EXECUTE format(
        'WITH given AS MATERIALIZED ('
        '    SELECT row_number() OVER (ORDER BY sample_time DESC, place DESC) AS rank, one.*'
        '    FROM jsonb_populate_recordset(jsonb_populate_record('
        '        NULL::monitor_samples_ring, ''{"master_flag": false, "source": "psutil"}''), $1)'
        '        WITH ORDINALITY AS one (id, slot, %2$s, place)'
        '    WHERE sample_time BETWEEN 1 AND $2'
        '    ORDER BY sample_time DESC LIMIT $3'
        '), have AS (SELECT coalesce(max(slot), 0) AS slots FROM %1$I'
        '), free AS ('
        '    SELECT have.slots + number AS slot, number AS rank, NULL::bigint AS sample_time,'
        '        TRUE AS added'
        '    FROM have, generate_series('
        '        1, least((SELECT count(*) FROM given), $3 - have.slots)) AS number'
        '), claimed AS ('
        '    SELECT * FROM free'
        '    UNION ALL'
        '    SELECT slot, (SELECT count(*) FROM free) + row_number() OVER ('
        '        ORDER BY sample_time NULLS FIRST, slot), sample_time, FALSE'
        '    FROM (SELECT slot, sample_time FROM %1$I ORDER BY sample_time NULLS FIRST, slot'
        '        LIMIT (SELECT count(*) FROM given) - (SELECT count(*) FROM free)) AS oldest'
        '), placed AS MATERIALIZED ('
        '    SELECT claimed.slot AS into_slot, claimed.added, given.*'
        '    FROM given JOIN claimed ON claimed.rank = given.rank'
        '        AND (claimed.sample_time IS NULL OR claimed.sample_time <= given.sample_time)'
        '), overwritten AS ('
        '    UPDATE %1$I AS kept SET id = nextval(''monitor_samples_ring_id_seq''), %3$s'
        '    FROM placed AS one WHERE kept.slot = one.into_slot AND NOT one.added'
        '    RETURNING TRUE'
        '), inserted AS ('
        '    INSERT INTO %1$I (slot, %2$s)'
        '    SELECT into_slot, %2$s FROM placed WHERE added ORDER BY into_slot DESC'
        '    RETURNING TRUE'
        ')'
        'SELECT (SELECT count(*) FROM overwritten) + (SELECT count(*) FROM inserted), 0,'
        '    (SELECT count(*) FROM jsonb_array_elements($1) AS one'
        '        WHERE NOT coalesce((one ->> ''sample_time'')::bigint BETWEEN 1 AND $2, FALSE))',
        ring, names, assigned)
    INTO account USING samples, horizon, capacity;
    given := jsonb_array_length(samples);
    account.older := given - account.written - account.ahead;
    RETURN account;
END
$$;

COMMENT ON FUNCTION ring_write IS
    'Writes samples, a JSON array of objects keyed by column, over empty slots and the oldest rows.';

CREATE FUNCTION ring_recent(
    ring text, most integer, of_node text DEFAULT NULL, of_container text DEFAULT NULL
) RETURNS SETOF monitor_samples_ring
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM rings WHERE name = ring) THEN
        RAISE EXCEPTION 'found no ring %; expected one that was opened; call ring_open', ring
            USING ERRCODE = 'undefined_table';
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT * FROM %I WHERE sample_time > 0 %s %s '
        'ORDER BY sample_time DESC %s, id DESC LIMIT $1',
        ring,
        CASE WHEN of_node IS NOT NULL THEN 'AND node_name = $2' ELSE '' END,
        CASE WHEN of_container IS NOT NULL
            THEN 'AND NOT node_flag AND container_name = $3' ELSE '' END,
        -- there are no NULLs; where they would stand says which index is in this order: that of
        -- containers, or that of slots read backwards
        CASE WHEN of_node IS NULL OR of_container IS NULL THEN 'NULLS LAST' ELSE '' END)
    USING most, of_node, of_container;
END
$$;

COMMENT ON FUNCTION ring_recent IS
    'The newest samples, newest first; of one node, one container, or both, where they are given.';

CREATE FUNCTION ring_clean(ring text, keep_hours double precision, with_null boolean DEFAULT TRUE)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    emptied integer;
    cleared text;
BEGIN
    IF keep_hours IS NULL OR NOT keep_hours >= 0 OR keep_hours = 'infinity' THEN
        RAISE EXCEPTION 'found % hours to keep; expected 0 or more; correct it',
            coalesce(keep_hours::text, 'no') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM ring_locked(ring);
    SELECT string_agg(format('%I = NULL', attname), ', ' ORDER BY attnum) INTO cleared
    FROM pg_attribute
    WHERE attrelid = 'monitor_samples_ring'::regclass AND attnum > 0 AND NOT attisdropped
        AND NOT attnotnull AND attname <> 'sample_time';
    EXECUTE format(
        'UPDATE %I SET sample_time = $2, master_flag = FALSE, node_flag = TRUE, node_name = '''', '
        '    source = '''', %s '
        'WHERE sample_time > 0 AND sample_time < extract(epoch FROM clock_timestamp()) - $1 * 3600',
        ring, cleared)
    USING keep_hours, CASE WHEN NOT with_null THEN 0 END;
    GET DIAGNOSTICS emptied = ROW_COUNT;
    RETURN emptied;
END
$$;

COMMENT ON FUNCTION ring_clean IS
    'Empties the slots of samples older than so many hours; gives how many. They are filled first.';

CREATE FUNCTION ring_state(
    ring text, OUT capacity integer, OUT held bigint, OUT empty bigint, OUT oldest_time bigint,
    OUT newest_time bigint, OUT highest_slot integer, OUT nodes bigint, OUT containers bigint,
    OUT size_bytes bigint, OUT unlogged boolean
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    SELECT rings.capacity INTO capacity FROM rings WHERE rings.name = ring;
    IF capacity IS NULL THEN
        RAISE EXCEPTION 'found no ring %; expected one that was opened; call ring_open', ring
            USING ERRCODE = 'undefined_table';
    END IF;
    EXECUTE format(
        'SELECT count(*) FILTER (WHERE sample_time > 0),'
        '    count(*) FILTER (WHERE sample_time IS NULL OR sample_time = 0),'
        '    min(sample_time) FILTER (WHERE sample_time > 0), max(nullif(sample_time, 0)),'
        '    max(slot), count(DISTINCT node_name) FILTER (WHERE sample_time > 0),'
        '    count(DISTINCT (node_name, container_name)) FILTER (WHERE NOT node_flag),'
        '    pg_total_relation_size(%1$L::regclass),'
        '    (SELECT relpersistence = ''u'' FROM pg_class WHERE oid = %1$L::regclass)'
        'FROM %1$I', ring)
    INTO held, empty, oldest_time, newest_time, highest_slot, nodes, containers, size_bytes, unlogged;
END
$$;

COMMENT ON FUNCTION ring_state IS 'What a ring holds.';
