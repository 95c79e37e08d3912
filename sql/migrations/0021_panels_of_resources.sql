-- What the Grafana dashboard Resources asks: what sessions used of what they asked for. A range
-- chooses sessions, and does not cut them: samples of a session are kept as sums.

-- The amount that 95 % of the sessions never exceeded, to the place that it lies in.
CREATE FUNCTION panel_overasking(
    since timestamptz, until timestamptz, hubs text[], groups text[], by_dimension text
) RETURNS TABLE (
    value text, sessions bigint, measured bigint, memory_hours double precision,
    memory_requested_bytes double precision, memory_mean_bytes double precision,
    memory_peak_p95_bytes double precision, memory_peak_bytes bigint,
    memory_requested_gib_hours double precision, memory_used_gib_hours double precision,
    memory_unused_gib_hours double precision, cpu_requested_cores double precision,
    cpu_mean_cores double precision, cpu_peak_p95_cores double precision, oom_kills bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    WITH part AS MATERIALIZED (
        SELECT * FROM resource_read(since, until, hubs, groups, by_dimension)
    ),
    reached AS (
        SELECT
            counted.value,
            what,
            min(place) FILTER (WHERE upto >= 0.95 * total)::integer AS place
        FROM (
            SELECT
                placed.value, what, place,
                sum(found) OVER (PARTITION BY placed.value, what ORDER BY place) AS upto,
                sum(found) OVER (PARTITION BY placed.value, what) AS total
            FROM (
                SELECT
                    part.value, one >> 14 & 3 AS what, one & 16383 AS place,
                    sum(one >> 16) AS found
                FROM part
                CROSS JOIN LATERAL unnest(part.places) AS one
                WHERE one & 49152 > 0
                GROUP BY part.value, one >> 14 & 3, one & 16383
            ) AS placed
        ) AS counted
        GROUP BY counted.value, what
    )
    SELECT
        sums.value,
        sums.sessions,
        sums.measured,
        sums.memory_seconds / 3600,
        sums.asked_byte_seconds / nullif(sums.told_seconds, 0),
        sums.used_byte_seconds / nullif(sums.memory_seconds, 0),
        least(resource_place_until(memory.place), sums.peak_bytes),
        sums.peak_bytes,
        CASE WHEN sums.unused_byte_seconds IS NOT NULL THEN sums.asked_byte_seconds END
            / 3600 / 1073741824,
        CASE WHEN sums.unused_byte_seconds IS NOT NULL THEN sums.told_byte_seconds END
            / 3600 / 1073741824,
        sums.unused_byte_seconds / 3600 / 1073741824,
        sums.asked_core_seconds / nullif(sums.told_cpu_seconds, 0),
        sums.core_seconds / nullif(sums.cpu_seconds, 0),
        least(resource_place_until(cores.place), sums.peak_cores),
        sums.oom_kills
    FROM (
        SELECT
            part.value,
            sum(part.sessions)::bigint AS sessions,
            sum(part.measured)::bigint AS measured,
            sum(memory_seconds) AS memory_seconds,
            sum(memory_byte_seconds) AS used_byte_seconds,
            max(part.memory_peak_bytes) AS peak_bytes,
            sum(told_memory_seconds) AS told_seconds,
            sum(told_memory_byte_seconds) AS told_byte_seconds,
            sum(asked_memory_byte_seconds) AS asked_byte_seconds,
            sum(unused_memory_byte_seconds) AS unused_byte_seconds,
            sum(cpu_seconds) AS cpu_seconds,
            sum(cpu_core_seconds) AS core_seconds,
            max(part.cpu_peak_cores) AS peak_cores,
            sum(told_cpu_seconds) AS told_cpu_seconds,
            sum(asked_cpu_core_seconds) AS asked_core_seconds,
            sum(part.oom_kills)::bigint AS oom_kills
        FROM part
        GROUP BY part.value
    ) AS sums
    LEFT JOIN reached AS memory ON memory.what = 1 AND memory.value IS NOT DISTINCT FROM sums.value
    LEFT JOIN reached AS cores ON cores.what = 2 AND cores.value IS NOT DISTINCT FROM sums.value
$$;

COMMENT ON FUNCTION panel_overasking IS
    'What sessions asked for and used by profile, image_base or hub (one row, for all Hubs), '
    'weighted by the time that was measured. measured says of how many sessions anything is known.';

CREATE FUNCTION panel_memory_shares(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (tenth integer, sessions bigint)
    LANGUAGE sql STABLE AS $$
    SELECT tenth, coalesce(sum(one >> 16), 0)::bigint
    FROM generate_series(0, 10) AS tenth
    LEFT JOIN (
        SELECT unnest(places) AS one FROM resource_read(since, until, hubs, groups, 'hub')
    ) AS counted ON one & 65535 = tenth
    GROUP BY tenth
    ORDER BY tenth
$$;

COMMENT ON FUNCTION panel_memory_shares IS
    'How many sessions used at most 0, 1, ... 9 whole tenths of the memory that they asked for, or '
    'all of it and more: 10.';

CREATE FUNCTION panel_most_unused(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (
    hub text, username text, server_name text, started_at timestamptz, profile text,
    image_base text, memory_hours double precision, memory_requested_bytes bigint,
    memory_peak_bytes bigint, memory_unused_gib_hours double precision)
    LANGUAGE sql STABLE AS $$
    SELECT
        measured.hub, measured.username, measured.server_name, measured.started_at,
        measured.profile, image_base(measured.image), measured.memory_seconds / 3600,
        measured.memory_requested_bytes, measured.memory_peak_bytes,
        most.byte_seconds / 3600 / 1073741824
    FROM (
        SELECT one.*
        FROM resource_read(since, until, hubs, groups, 'hub') AS part
        CROSS JOIN LATERAL unnest(part.most_unused_ids, part.most_unused_byte_seconds)
            AS one (session_id, byte_seconds)
        ORDER BY one.byte_seconds DESC
        FETCH FIRST 100 ROWS WITH TIES
    ) AS most
    CROSS JOIN LATERAL (
        SELECT * FROM session_resources AS one WHERE one.session_id = most.session_id OFFSET 0
    ) AS measured
    ORDER BY most.byte_seconds DESC, measured.started_at
    LIMIT 100
$$;

COMMENT ON FUNCTION panel_most_unused IS
    'The hundred sessions that left most of the memory that they asked for, times the hours that '
    'were measured.';
