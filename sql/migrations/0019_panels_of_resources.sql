-- What the Grafana dashboard Resources asks: what sessions used of what they asked for.

-- Samples of a session are kept as sums: a range chooses sessions, and does not cut them.
CREATE FUNCTION panel_resources(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (
    hub text, username text, server_name text, started_at timestamptz, profile text,
    image_base text, source text, memory_hours double precision, memory_requested_bytes bigint,
    memory_mean_bytes double precision, memory_peak_bytes bigint,
    memory_unused_gib_hours double precision, cpu_hours double precision,
    cpu_requested_cores double precision, cpu_mean_cores double precision,
    cpu_peak_cores double precision, oom_kills bigint)
    LANGUAGE sql STABLE AS $$
    SELECT
        owned.hub, owned.username, owned.server_name, owned.started_at, owned.profile,
        image_base(owned.image), measured.source,
        measured.memory_seconds / 3600,
        owned.memory_requested_bytes,
        measured.memory_byte_seconds / nullif(measured.memory_seconds, 0),
        measured.memory_peak_bytes,
        CASE WHEN num_nulls(owned.memory_requested_bytes, measured.memory_peak_bytes) = 0
            THEN greatest(owned.memory_requested_bytes - measured.memory_peak_bytes, 0)
                / 1073741824.0::double precision * measured.memory_seconds / 3600 END,
        measured.cpu_seconds / 3600,
        owned.cpu_requested_cores,
        measured.cpu_core_seconds / nullif(measured.cpu_seconds, 0),
        measured.cpu_peak_cores,
        measured.oom_kills
    FROM (
        SELECT
            session.id, servers.hub, servers.username, servers.server_name, session.started_at,
            kind.profile, kind.image,
            CASE WHEN kind.namespace IS NULL THEN kind.memory_guarantee_bytes
                ELSE coalesce(kind.memory_guarantee_bytes, kind.memory_limit_bytes) END
                AS memory_requested_bytes,
            CASE WHEN kind.namespace IS NULL THEN kind.cpu_guarantee_cores
                ELSE coalesce(kind.cpu_guarantee_cores, kind.cpu_limit_cores) END
                AS cpu_requested_cores
        FROM sessions_overlapping(since, until) AS session
        JOIN panel_servers(since, until, hubs, groups) AS chosen
            ON chosen.server_id = session.server_id
        JOIN servers ON servers.id = session.server_id
        LEFT JOIN descriptions AS kind ON kind.id = session.description_id
        WHERE session.state IN ('running', 'ended')
    ) AS owned
    -- what users cannot reach counts more than their own word
    LEFT JOIN session_samples AS measured
        ON measured.session_id = owned.id
        AND (measured.source = 'node' OR NOT EXISTS (
            SELECT FROM session_samples AS other
            WHERE other.session_id = measured.session_id AND other.source = 'node'))
$$;

COMMENT ON FUNCTION panel_resources IS
    'Sessions that lie at least partly in [since, until), whole: what each asked for and used. '
    'source is NULL where nobody measured.';

CREATE FUNCTION panel_overasking(
    since timestamptz, until timestamptz, hubs text[], groups text[], by_dimension text
) RETURNS TABLE (
    value text, sessions bigint, memory_hours double precision,
    memory_requested_bytes double precision, memory_mean_bytes double precision,
    memory_peak_p95_bytes double precision, memory_peak_bytes bigint,
    memory_unused_gib_hours double precision, cpu_requested_cores double precision,
    cpu_mean_cores double precision, cpu_peak_p95_cores double precision, oom_kills bigint)
    LANGUAGE sql STABLE AS $$
    SELECT
        CASE by_dimension WHEN 'profile' THEN profile WHEN 'image_base' THEN image_base END,
        count(*),
        sum(memory_hours),
        sum(memory_requested_bytes * memory_hours)
            / nullif(sum(memory_hours) FILTER (WHERE memory_requested_bytes IS NOT NULL), 0),
        sum(memory_mean_bytes * memory_hours) / nullif(sum(memory_hours), 0),
        percentile_cont(0.95) WITHIN GROUP (ORDER BY memory_peak_bytes),
        max(memory_peak_bytes),
        sum(memory_unused_gib_hours),
        sum(cpu_requested_cores * cpu_hours)
            / nullif(sum(cpu_hours) FILTER (WHERE cpu_requested_cores IS NOT NULL), 0),
        sum(cpu_mean_cores * cpu_hours) / nullif(sum(cpu_hours), 0),
        percentile_cont(0.95) WITHIN GROUP (ORDER BY cpu_peak_cores),
        sum(oom_kills)::bigint
    FROM panel_resources(since, until, hubs, groups)
    WHERE source IS NOT NULL
    GROUP BY 1
$$;

COMMENT ON FUNCTION panel_overasking IS
    'What measured sessions asked for and used by profile or image_base, weighted by the time that '
    'was measured.';

CREATE FUNCTION panel_memory_shares(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (tenth integer, sessions bigint)
    LANGUAGE sql STABLE AS $$
    SELECT place, coalesce(counted.sessions, 0)
    FROM generate_series(0, 10) AS place
    LEFT JOIN (
        SELECT
            least(memory_peak_bytes * 10 / memory_requested_bytes, 10) AS place,
            count(*) AS sessions
        FROM panel_resources(since, until, hubs, groups)
        WHERE memory_requested_bytes > 0 AND memory_peak_bytes IS NOT NULL
        GROUP BY 1
    ) AS counted USING (place)
    ORDER BY place
$$;

COMMENT ON FUNCTION panel_memory_shares IS
    'How many sessions used at most 0, 1, ... 9 whole tenths of the memory that they asked for, or '
    'all of it and more: 10.';
