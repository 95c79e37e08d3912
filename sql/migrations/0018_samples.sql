-- Samples meet sessions: what each session used, beside what it asked for. Nothing here changes a
-- session or is billed.

CREATE TABLE session_samples (
    session_id          uuid NOT NULL,
    source              text NOT NULL,
    first_at            timestamptz NOT NULL,
    last_at             timestamptz NOT NULL,
    sample_count        bigint NOT NULL,
    memory_seconds      double precision NOT NULL,
    memory_byte_seconds double precision NOT NULL,
    memory_peak_bytes   bigint,
    memory_last_bytes   bigint,
    cpu_seconds         double precision NOT NULL,
    cpu_core_seconds    double precision NOT NULL,
    cpu_peak_cores      double precision,
    cpu_last_cores      double precision,
    oom_kills           bigint,
    gpu_seconds         double precision NOT NULL,
    gpu_pct_seconds     double precision NOT NULL,
    gpu_peak_pct        double precision,
    gpu_memory_peak_bytes bigint,
    PRIMARY KEY (session_id, source),
    CONSTRAINT session_samples_source CHECK (source IN ('node', 'server'))
) WITH (fillfactor = 70);

COMMENT ON TABLE session_samples IS
    'What was measured of each session, added up. Never changes its times, and is never billed.';
COMMENT ON COLUMN session_samples.source IS
    'node: by a sampler that users cannot reach. server: by the user''s own server, on its word.';
COMMENT ON COLUMN session_samples.last_at IS 'Samples up to this moment are counted already.';

CREATE TYPE session_sample AS (
    session_id       uuid,
    sampled_at       double precision,
    interval_seconds double precision,
    memory_bytes     double precision,
    cpu_cores        double precision,
    oom_kills        double precision,
    gpu_pct          double precision,
    gpu_memory_bytes double precision
);

COMMENT ON TYPE session_sample IS 'One sample of one session; sampled_at is seconds since 1970.';

-- The same samples again, or older ones than are counted, add nothing.
CREATE FUNCTION add_session_samples(of_source text, samples session_sample[]) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    taken integer;
BEGIN
    WITH fresh AS (
        SELECT
            one.*,
            to_timestamp(one.sampled_at) AS at,
            least(greatest(coalesce(one.interval_seconds, 0), 0), 3600) AS seconds
        FROM unnest(samples) AS one
        LEFT JOIN session_samples AS kept
            ON kept.session_id = one.session_id AND kept.source = of_source
        WHERE one.session_id IS NOT NULL
            AND to_timestamp(one.sampled_at) <= clock_timestamp() + interval '5 minutes'
            AND (kept.last_at IS NULL OR kept.last_at < to_timestamp(one.sampled_at))
    ), added AS (
        INSERT INTO session_samples AS kept
        SELECT
            session_id,
            of_source,
            min(at),
            max(at),
            count(*),
            coalesce(sum(seconds) FILTER (WHERE memory_bytes IS NOT NULL), 0),
            coalesce(sum(seconds * memory_bytes), 0),
            max(memory_bytes)::bigint,
            (array_agg(memory_bytes ORDER BY at DESC))[1]::bigint,
            coalesce(sum(seconds) FILTER (WHERE cpu_cores IS NOT NULL), 0),
            coalesce(sum(seconds * cpu_cores), 0),
            max(cpu_cores),
            (array_agg(cpu_cores ORDER BY at DESC))[1],
            sum(oom_kills)::bigint,
            coalesce(sum(seconds) FILTER (WHERE gpu_pct IS NOT NULL), 0),
            coalesce(sum(seconds * gpu_pct), 0),
            max(gpu_pct),
            max(gpu_memory_bytes)::bigint
        FROM fresh
        GROUP BY session_id
        ORDER BY session_id
        ON CONFLICT (session_id, source) DO UPDATE SET
            first_at = least(kept.first_at, excluded.first_at),
            last_at = greatest(kept.last_at, excluded.last_at),
            sample_count = kept.sample_count + excluded.sample_count,
            memory_seconds = kept.memory_seconds + excluded.memory_seconds,
            memory_byte_seconds = kept.memory_byte_seconds + excluded.memory_byte_seconds,
            memory_peak_bytes = greatest(kept.memory_peak_bytes, excluded.memory_peak_bytes),
            memory_last_bytes = excluded.memory_last_bytes,
            cpu_seconds = kept.cpu_seconds + excluded.cpu_seconds,
            cpu_core_seconds = kept.cpu_core_seconds + excluded.cpu_core_seconds,
            cpu_peak_cores = greatest(kept.cpu_peak_cores, excluded.cpu_peak_cores),
            cpu_last_cores = excluded.cpu_last_cores,
            oom_kills = CASE WHEN num_nulls(kept.oom_kills, excluded.oom_kills) < 2
                THEN coalesce(kept.oom_kills, 0) + coalesce(excluded.oom_kills, 0) END,
            gpu_seconds = kept.gpu_seconds + excluded.gpu_seconds,
            gpu_pct_seconds = kept.gpu_pct_seconds + excluded.gpu_pct_seconds,
            gpu_peak_pct = greatest(kept.gpu_peak_pct, excluded.gpu_peak_pct),
            gpu_memory_peak_bytes =
                greatest(kept.gpu_memory_peak_bytes, excluded.gpu_memory_peak_bytes)
    )
    SELECT count(*) INTO taken FROM fresh;
    RETURN taken;
END
$$;

COMMENT ON FUNCTION add_session_samples IS
    'Adds samples to what is known of their sessions; gives how many were new.';

-- For samplers on nodes: they know pods and containers, not sessions. A container has no namespace;
-- sessions tell its name as pod_name. What two Hubs may both have started is nobody's.
CREATE FUNCTION record_pod_samples(samples jsonb) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    found session_sample[];
BEGIN
    WITH told AS (
        SELECT * FROM jsonb_to_recordset(samples) AS one (
            node_name text, namespace text, pod_name text, sampled_at double precision,
            interval_seconds double precision, memory_bytes double precision,
            cpu_cores double precision, oom_kills double precision, gpu_pct double precision,
            gpu_memory_bytes double precision)
    ), runs AS (
        -- a batch may be late: the database was away
        SELECT
            run.id, run.started_at, run.ended_at, servers.hub, node.word AS node,
            descriptions.namespace, requests.pod_name
        FROM (
            SELECT id, started_at, ended_at, server_id, node_id, description_id, request_id
            FROM open_sessions
            UNION ALL
            SELECT id, started_at, ended_at, server_id, node_id, description_id, request_id
            FROM ended_sessions
            WHERE ended_at > (SELECT to_timestamp(min(sampled_at)) FROM told)
        ) AS run
        JOIN requests ON requests.id = run.request_id
        JOIN descriptions ON descriptions.id = run.description_id
        JOIN servers ON servers.id = run.server_id
        LEFT JOIN words AS node ON node.id = run.node_id
        WHERE requests.pod_name = ANY (SELECT pod_name FROM told)
    )
    SELECT array_agg(ROW(
        id, sampled_at, interval_seconds, memory_bytes, cpu_cores, oom_kills, gpu_pct,
        gpu_memory_bytes)::session_sample)
    INTO found
    FROM (
        SELECT DISTINCT ON (told.node_name, told.namespace, told.pod_name, told.sampled_at)
            runs.id, told.*, min(runs.hub) OVER same = max(runs.hub) OVER same AS of_one_hub
        FROM told
        JOIN runs ON runs.pod_name = told.pod_name
            AND (runs.namespace IS NULL OR runs.namespace = told.namespace)
            AND (runs.node IS NULL OR told.node_name IS NULL OR runs.node = told.node_name)
            AND runs.started_at <= to_timestamp(told.sampled_at)
            AND (runs.ended_at IS NULL OR runs.ended_at >= to_timestamp(told.sampled_at))
        WINDOW same AS (
            PARTITION BY told.node_name, told.namespace, told.pod_name, told.sampled_at)
        ORDER BY
            told.node_name, told.namespace, told.pod_name, told.sampled_at, runs.started_at DESC
    ) AS matched
    WHERE of_one_hub;
    RETURN add_session_samples('node', coalesce(found, '{}'));
END
$$;

COMMENT ON FUNCTION record_pod_samples IS
    'Adds what pods and containers used, a JSON array, to the sessions that they run; gives how many '
    'were new.';

-- For the service, on the word of a user's own server.
CREATE FUNCTION record_server_samples(of_hub text, of_user text, of_server text, samples jsonb)
    RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    run uuid;
    since timestamptz;
BEGIN
    SELECT open_sessions.id, open_sessions.started_at INTO run, since
    FROM open_sessions
    JOIN servers ON servers.id = open_sessions.server_id
    WHERE servers.hub = of_hub AND servers.username = of_user AND servers.server_name = of_server
    ORDER BY open_sessions.started_at DESC
    LIMIT 1;
    IF run IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN add_session_samples('server', ARRAY(
        SELECT ROW(
            run, sampled_at, interval_seconds, memory_bytes, cpu_cores, oom_kills, gpu_pct,
            gpu_memory_bytes)::session_sample
        FROM jsonb_to_recordset(samples) AS one (
            sampled_at double precision, interval_seconds double precision,
            memory_bytes double precision, cpu_cores double precision, oom_kills double precision,
            gpu_pct double precision, gpu_memory_bytes double precision)
        WHERE to_timestamp(sampled_at) >= since));
END
$$;

COMMENT ON FUNCTION record_server_samples IS
    'Adds samples to the open session of a server; gives how many were new, NULL if none is open.';

CREATE VIEW samples_of_late AS
SELECT DISTINCT ON (session_id)
    session_id, source, last_at, memory_last_bytes, cpu_last_cores
FROM session_samples
WHERE last_at >= now() - interval '5 minutes'
ORDER BY session_id, source;

COMMENT ON VIEW samples_of_late IS
    'What sessions use now: their newest samples, if they are at most five minutes old.';

CREATE VIEW session_resources AS
SELECT
    sessions.id AS session_id,
    sessions.hub,
    sessions.username,
    sessions.server_name,
    sessions.started_at,
    sessions.ended_at,
    sessions.state,
    sessions.profile,
    sessions.image,
    sessions.image_name,
    sessions.node,
    sessions.simulated,
    sessions.gpus,
    CASE WHEN sessions.namespace IS NULL THEN sessions.memory_guarantee_bytes
        ELSE coalesce(sessions.memory_guarantee_bytes, sessions.memory_limit_bytes) END
        AS memory_requested_bytes,
    sessions.memory_limit_bytes,
    CASE WHEN sessions.namespace IS NULL THEN sessions.cpu_guarantee_cores
        ELSE coalesce(sessions.cpu_guarantee_cores, sessions.cpu_limit_cores) END
        AS cpu_requested_cores,
    sessions.cpu_limit_cores,
    measured.source,
    measured.first_at AS sampled_from,
    measured.last_at AS sampled_until,
    measured.sample_count,
    measured.memory_peak_bytes,
    measured.memory_byte_seconds / nullif(measured.memory_seconds, 0) AS memory_mean_bytes,
    measured.memory_last_bytes,
    measured.memory_seconds,
    measured.cpu_peak_cores,
    measured.cpu_core_seconds / nullif(measured.cpu_seconds, 0) AS cpu_mean_cores,
    measured.cpu_last_cores,
    measured.cpu_seconds,
    measured.oom_kills,
    measured.gpu_peak_pct,
    measured.gpu_pct_seconds / nullif(measured.gpu_seconds, 0) AS gpu_mean_pct,
    measured.gpu_memory_peak_bytes
FROM session_samples AS measured
JOIN sessions ON sessions.id = measured.session_id
-- what users cannot reach counts more than their own word
WHERE measured.source = 'node' OR NOT EXISTS (
    SELECT FROM session_samples AS other
    WHERE other.session_id = measured.session_id AND other.source = 'node');

COMMENT ON VIEW session_resources IS
    'What each session that was measured asked for, and what it used.';

-- Weighted by the time that was measured.
CREATE VIEW overasking AS
SELECT
    hub,
    profile,
    image_name,
    count(*) AS sessions,
    sum(memory_seconds) / 3600 AS hours,
    sum(memory_requested_bytes * memory_seconds)
        / nullif(sum(memory_seconds) FILTER (WHERE memory_requested_bytes IS NOT NULL), 0)
        AS memory_requested_bytes,
    sum(memory_mean_bytes * memory_seconds) / nullif(sum(memory_seconds), 0) AS memory_mean_bytes,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY memory_peak_bytes) AS memory_peak_p95_bytes,
    max(memory_peak_bytes) AS memory_peak_bytes,
    sum(greatest(memory_requested_bytes - memory_peak_bytes, 0) * memory_seconds) / 3600
        / (1024.0 * 1024 * 1024) AS memory_unused_gib_hours,
    sum(cpu_requested_cores * cpu_seconds)
        / nullif(sum(cpu_seconds) FILTER (WHERE cpu_requested_cores IS NOT NULL), 0)
        AS cpu_requested_cores,
    sum(cpu_mean_cores * cpu_seconds) / nullif(sum(cpu_seconds), 0) AS cpu_mean_cores,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY cpu_peak_cores) AS cpu_peak_p95_cores,
    max(cpu_peak_cores) AS cpu_peak_cores
FROM session_resources
WHERE NOT simulated
GROUP BY hub, profile, image_name;

COMMENT ON VIEW overasking IS
    'By Hub, profile and image: what sessions asked for and what they used of it.';
COMMENT ON COLUMN overasking.memory_unused_gib_hours IS
    'What no moment of a session ever touched of what it asked for, by the time it was measured.';
