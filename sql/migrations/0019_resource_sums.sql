-- Sums of what sessions asked for and used, by the UTC day that they started on, each session
-- whole, and by month. Those that overlap a range are those open at its start and those started in
-- it: so days add up.
--
-- Only what has ended is in the sums. What changes an ended session or its samples makes its day
-- due again; what is due, open, or lies on days that are not closed, is read from sessions.

CREATE TABLE resource_sums (
    first_day                  date NOT NULL,
    of_month                   boolean NOT NULL,
    hub                        text NOT NULL,
    dimension                  text NOT NULL,
    value                      text,
    sessions                   bigint NOT NULL,
    measured                   bigint NOT NULL,
    memory_seconds             double precision,
    memory_byte_seconds        double precision,
    memory_peak_bytes          bigint,
    told_memory_seconds        double precision,
    told_memory_byte_seconds   double precision,
    asked_memory_byte_seconds  double precision,
    unused_memory_byte_seconds double precision,
    cpu_seconds                double precision,
    cpu_core_seconds           double precision,
    cpu_peak_cores             double precision,
    told_cpu_seconds           double precision,
    asked_cpu_core_seconds     double precision,
    oom_kills                  bigint,
    places                     bigint[] NOT NULL,
    most_unused_ids            uuid[] NOT NULL,
    most_unused_byte_seconds   double precision[] NOT NULL,
    CONSTRAINT resource_sums_dimension_known CHECK (dimension IN ('hub', 'profile', 'image_base'))
);

CREATE INDEX resource_sums_first_day ON resource_sums (first_day, of_month, dimension);

CREATE TABLE resource_due (
    first_day date NOT NULL,
    of_month  boolean NOT NULL
);

COMMENT ON TABLE resource_sums IS
    'What ended sessions that started on a closed day, or in a closed month, asked for and used, '
    'by Hub alone, and by Hub and one thing more. Does not count for what is in resource_due.';
COMMENT ON COLUMN resource_sums.told_memory_seconds IS
    'As the other columns of told and asked: of sessions of which it is known what they asked for.';
COMMENT ON COLUMN resource_sums.places IS
    'How many sessions have which peak: sessions * 65536 + what * 16384 + place; what is 0 the tenth '
    'of the memory asked for, by Hub alone, and 1 memory, 2 cores: see resource_place.';
COMMENT ON COLUMN resource_sums.most_unused_ids IS
    'Of a Hub: the hundred sessions that left most of the memory that they asked for.';
COMMENT ON TABLE resource_due IS
    'Closed days and months whose sums are not yet what sessions say. May say it twice.';

-- 32 places for each doubling: what is told by its place is at most 2.2 % too high.
CREATE FUNCTION resource_place(amount double precision) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN amount > 0 THEN
            least(greatest(ceil(32 * ln(amount) / ln(2.0::double precision) - 1e-9), -8000), 8000)
                ::integer + 8192
        WHEN amount <= 0 THEN 0
    END
$$;

COMMENT ON FUNCTION resource_place IS
    'The place of an amount among amounts: 32 for each doubling; 0 of nothing, NULL of NULL.';

CREATE FUNCTION resource_place_until(place integer) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN place > 0 THEN 2.0::double precision ^ ((place - 8192) / 32.0::double precision)
        WHEN place = 0 THEN 0
    END
$$;

COMMENT ON FUNCTION resource_place_until IS 'The largest amount of a place.';

-- One look at the samples of each session: few are asked for, of all that there are. What users
-- cannot reach, node, counts more than their own word, server.
CREATE FUNCTION resource_sessions(
    starts tstzmultirange, since timestamptz, until timestamptz, of_servers integer[]
) RETURNS TABLE (
    session_id uuid, started_at timestamptz, hub text, profile text, image_base text,
    asked_bytes bigint, asked_cores double precision, source text,
    memory_seconds double precision, memory_byte_seconds double precision,
    memory_peak_bytes bigint, unused_byte_seconds double precision,
    cpu_seconds double precision, cpu_core_seconds double precision,
    cpu_peak_cores double precision, oom_kills bigint)
    LANGUAGE sql STABLE AS $$
    SELECT
        session.id, session.started_at, servers.hub, kind.profile, image_base(kind.image),
        requested.bytes, requested.cores, measured.source, measured.memory_seconds,
        measured.memory_byte_seconds, measured.memory_peak_bytes,
        CASE WHEN num_nulls(requested.bytes, measured.memory_peak_bytes) = 0
            THEN greatest(requested.bytes - measured.memory_peak_bytes, 0)
                * measured.memory_seconds END,
        measured.cpu_seconds, measured.cpu_core_seconds, measured.cpu_peak_cores,
        measured.oom_kills
    FROM (
        SELECT found.*
        FROM unnest(starts) AS part
        CROSS JOIN LATERAL (
            SELECT id, started_at, server_id, description_id, state
            FROM ended_sessions
            WHERE started_at >= lower(part) AND started_at < upper(part)
            OFFSET 0
        ) AS found
        WHERE of_servers IS NULL
        UNION ALL
        SELECT id, started_at, server_id, description_id, state
        FROM sessions_overlapping(since, since + interval '1 microsecond')
        WHERE of_servers IS NULL AND started_at < since AND ended_at IS NOT NULL
        UNION ALL
        SELECT id, started_at, server_id, description_id, state
        FROM open_sessions
        WHERE of_servers IS NULL AND started_at < until
        UNION ALL
        SELECT id, started_at, session.server_id, description_id, state
        FROM unnest(of_servers) AS one (server_id)
        CROSS JOIN LATERAL sessions_of_span(ROW(one.server_id, since, until)::usage_span) AS session
    ) AS session
    JOIN servers ON servers.id = session.server_id
    LEFT JOIN descriptions AS kind ON kind.id = session.description_id
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN kind.namespace IS NULL THEN kind.memory_guarantee_bytes
                ELSE coalesce(kind.memory_guarantee_bytes, kind.memory_limit_bytes) END AS bytes,
            CASE WHEN kind.namespace IS NULL THEN kind.cpu_guarantee_cores
                ELSE coalesce(kind.cpu_guarantee_cores, kind.cpu_limit_cores) END AS cores
    ) AS requested
    LEFT JOIN LATERAL (
        SELECT *
        FROM session_samples
        WHERE session_samples.session_id = session.id
        ORDER BY source
        LIMIT 1
    ) AS measured ON true
    WHERE session.state IN ('running', 'ended')
$$;

COMMENT ON FUNCTION resource_sessions IS
    'Sessions, whole, with what each asked for and used: those that have ended and started in some '
    'of the given ranges, those open at since, and those that are open and started before until. '
    'Of servers, all that overlap [since, until).';

-- Sums of numeric are exact, whatever the order: so what is kept can be compared. Sessions are added
-- up once, by all that a dimension may be.
CREATE FUNCTION resource_counted(
    starts tstzmultirange, since timestamptz, until timestamptz, of_servers integer[],
    dimensions text[]
) RETURNS SETOF resource_sums LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    WITH used AS MATERIALIZED (
        SELECT * FROM resource_sessions(starts, since, until, of_servers)
    ),
    kinds AS (
        SELECT
            hub, profile, image_base,
            count(*) AS sessions,
            count(source) AS measured,
            sum(memory_seconds::numeric) AS memory_seconds,
            sum(memory_byte_seconds::numeric) AS memory_byte_seconds,
            max(memory_peak_bytes) AS memory_peak_bytes,
            sum(memory_seconds::numeric) FILTER (WHERE asked_bytes IS NOT NULL)
                AS told_memory_seconds,
            sum(memory_byte_seconds::numeric) FILTER (WHERE asked_bytes IS NOT NULL)
                AS told_memory_byte_seconds,
            sum((asked_bytes * memory_seconds)::numeric) AS asked_memory_byte_seconds,
            sum(unused_byte_seconds::numeric) AS unused_memory_byte_seconds,
            sum(cpu_seconds::numeric) AS cpu_seconds,
            sum(cpu_core_seconds::numeric) AS cpu_core_seconds,
            max(cpu_peak_cores) AS cpu_peak_cores,
            sum(cpu_seconds::numeric) FILTER (WHERE asked_cores IS NOT NULL) AS told_cpu_seconds,
            sum((asked_cores * cpu_seconds)::numeric) AS asked_cpu_core_seconds,
            sum(oom_kills) AS oom_kills
        FROM used
        GROUP BY hub, profile, image_base
    ),
    places AS (
        SELECT hub, profile, image_base, what, count(*) AS sessions
        FROM used
        CROSS JOIN LATERAL (VALUES
            (CASE
                WHEN 'hub' = ANY (dimensions) AND asked_bytes > 0 AND memory_peak_bytes IS NOT NULL
                THEN least(memory_peak_bytes * 10 / asked_bytes, 10) END),
            (CASE WHEN dimensions <> '{hub}' THEN resource_place(memory_peak_bytes) + 16384 END),
            (CASE WHEN dimensions <> '{hub}' THEN resource_place(cpu_peak_cores) + 32768 END)
        ) AS place (what)
        WHERE what IS NOT NULL
        GROUP BY hub, profile, image_base, what
    ),
    placed AS (
        SELECT hub, dimension, value, array_agg(sessions << 16 | what ORDER BY what) AS places
        FROM (
            SELECT hub, dimension, value, what, sum(sessions)::bigint AS sessions
            FROM places
            CROSS JOIN unnest(dimensions) AS dimension
            CROSS JOIN LATERAL (
                SELECT CASE dimension WHEN 'profile' THEN profile WHEN 'image_base' THEN image_base
                    END AS value
            ) AS named
            WHERE (dimension = 'hub') = (what < 16384)
            GROUP BY hub, dimension, value, what
        ) AS counted
        GROUP BY hub, dimension, value
    ),
    unused AS (
        SELECT
            hub,
            array_agg(session_id ORDER BY rank) AS ids,
            array_agg(unused_byte_seconds ORDER BY rank) AS byte_seconds
        FROM (
            SELECT
                hub, session_id, unused_byte_seconds, row_number() OVER (
                    PARTITION BY hub
                    ORDER BY unused_byte_seconds DESC, started_at, session_id) AS rank
            FROM used
            WHERE unused_byte_seconds > 0 AND 'hub' = ANY (dimensions)
        ) AS ranked
        WHERE rank <= 100
        GROUP BY hub
    )
    SELECT
        usage_day(lower(starts)), false, sums.*, coalesce(placed.places, '{}'),
        coalesce(unused.ids, '{}'), coalesce(unused.byte_seconds, '{}')
    FROM (
        SELECT
            hub, dimension, value,
            sum(sessions)::bigint,
            sum(measured)::bigint,
            sum(memory_seconds)::double precision,
            sum(memory_byte_seconds)::double precision,
            max(memory_peak_bytes),
            sum(told_memory_seconds)::double precision,
            sum(told_memory_byte_seconds)::double precision,
            sum(asked_memory_byte_seconds)::double precision,
            sum(unused_memory_byte_seconds)::double precision,
            sum(cpu_seconds)::double precision,
            sum(cpu_core_seconds)::double precision,
            max(cpu_peak_cores),
            sum(told_cpu_seconds)::double precision,
            sum(asked_cpu_core_seconds)::double precision,
            sum(oom_kills)::bigint
        FROM kinds
        CROSS JOIN unnest(dimensions) AS dimension
        CROSS JOIN LATERAL (
            SELECT CASE dimension WHEN 'profile' THEN profile WHEN 'image_base' THEN image_base END
                AS value
        ) AS named
        GROUP BY hub, dimension, value
    ) AS sums
    LEFT JOIN placed ON placed.hub = sums.hub AND placed.dimension = sums.dimension
        AND coalesce(placed.value, '') = coalesce(sums.value, '')
        AND placed.value IS NOT DISTINCT FROM sums.value
    LEFT JOIN unused ON unused.hub = sums.hub AND sums.dimension = 'hub'
$$;

COMMENT ON FUNCTION resource_counted IS
    'What resource_sums must have for these sessions, computed from them. For verify it is the '
    'truth.';

CREATE FUNCTION resource_sums_of_day(day date) RETURNS SETOF resource_sums
    LANGUAGE sql STABLE AS $$
    SELECT *
    FROM resource_counted(
        tstzmultirange(tstzrange(usage_midnight(day), usage_midnight(day + 1))), NULL, NULL, NULL,
        '{hub,profile,image_base}')
$$;

COMMENT ON FUNCTION resource_sums_of_day IS 'What resource_sums must have for a closed day.';

CREATE FUNCTION resource_month_end(month date) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (month + interval '1 month')::date $$;

CREATE FUNCTION resource_sums_of_month(month date) RETURNS SETOF resource_sums
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    WITH days AS MATERIALIZED (
        SELECT *
        FROM resource_sums
        WHERE NOT of_month AND first_day >= month AND first_day < resource_month_end(month)
    ),
    placed AS (
        SELECT hub, dimension, value, array_agg(sessions << 16 | what ORDER BY what) AS places
        FROM (
            SELECT hub, dimension, value, one & 65535 AS what, sum(one >> 16)::bigint AS sessions
            FROM days
            CROSS JOIN LATERAL unnest(places) AS one
            GROUP BY hub, dimension, value, one & 65535
        ) AS counted
        GROUP BY hub, dimension, value
    ),
    unused AS (
        SELECT
            hub, dimension, array_agg(session_id ORDER BY rank) AS ids,
            array_agg(byte_seconds ORDER BY rank) AS byte_seconds
        FROM (
            SELECT
                hub, dimension, session_id, byte_seconds,
                row_number() OVER (
                    PARTITION BY hub ORDER BY byte_seconds DESC, first_day, place) AS rank
            FROM days
            CROSS JOIN LATERAL unnest(most_unused_ids, most_unused_byte_seconds)
                WITH ORDINALITY AS one (session_id, byte_seconds, place)
        ) AS ranked
        WHERE rank <= 100
        GROUP BY hub, dimension
    )
    SELECT
        month, true, sums.*, coalesce(placed.places, '{}'), coalesce(unused.ids, '{}'),
        coalesce(unused.byte_seconds, '{}')
    FROM (
        SELECT
            hub, dimension, value,
            sum(sessions)::bigint,
            sum(measured)::bigint,
            sum(memory_seconds::numeric)::double precision,
            sum(memory_byte_seconds::numeric)::double precision,
            max(memory_peak_bytes),
            sum(told_memory_seconds::numeric)::double precision,
            sum(told_memory_byte_seconds::numeric)::double precision,
            sum(asked_memory_byte_seconds::numeric)::double precision,
            sum(unused_memory_byte_seconds::numeric)::double precision,
            sum(cpu_seconds::numeric)::double precision,
            sum(cpu_core_seconds::numeric)::double precision,
            max(cpu_peak_cores),
            sum(told_cpu_seconds::numeric)::double precision,
            sum(asked_cpu_core_seconds::numeric)::double precision,
            sum(oom_kills)::bigint
        FROM days
        GROUP BY hub, dimension, value
    ) AS sums
    LEFT JOIN placed ON placed.hub = sums.hub AND placed.dimension = sums.dimension
        AND coalesce(placed.value, '') = coalesce(sums.value, '')
        AND placed.value IS NOT DISTINCT FROM sums.value
    LEFT JOIN unused ON unused.hub = sums.hub AND unused.dimension = sums.dimension
$$;

COMMENT ON FUNCTION resource_sums_of_month IS
    'What resource_sums must have for a closed month, added up from its days.';
