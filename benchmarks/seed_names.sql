-- The tables that sampling every five minutes would have filled, of the same sessions.

-- name: make_runs
CREATE SCHEMA sampled;
CREATE TABLE sampled.runs (
    user_email text, user_name text, node_name text, container_image text, container_base text,
    container_version text, pod_name text, started_at timestamptz, ready_at timestamptz,
    ended_at timestamptz, session_id uuid);

-- name: fill_runs
INSERT INTO sampled.runs SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::uuid[]);

-- name: fill_observations
-- As record_poll would have, poll by poll: blocks of half a day, in each a span for each session.
INSERT INTO words (word) SELECT DISTINCT node_name FROM sampled.runs ON CONFLICT DO NOTHING;
INSERT INTO words (word) VALUES ($hub$) ON CONFLICT DO NOTHING;
INSERT INTO observed_users (digest, namespace, pod_name, user_email, user_name)
SELECT DISTINCT content_digest(pod_name), 'jhub', pod_name, user_email, user_name
FROM sampled.runs;
INSERT INTO observed_images (digest, container_image, container_base, container_version)
SELECT DISTINCT
    content_digest(container_image), container_image, container_base, container_version
FROM sampled.runs;
INSERT INTO polls (id, block, hub_id, at)
SELECT
    number, number - (number - 1) % 144, (SELECT id FROM words WHERE word = $hub$),
    $since$::timestamptz + (number - 1) * interval '5 minutes'
FROM generate_series(
    1, 1 + floor(extract(epoch FROM $until$::timestamptz - $since$::timestamptz) / 300)::integer
) AS number;
INSERT INTO observation_spans (
    block, first_poll, last_poll, user_id, image_id, node_id, began_at, session_id)
SELECT
    block,
    greatest(first_poll, block),
    CASE WHEN last_poll >= newest AND block + 143 >= newest THEN 2147483647
        ELSE least(last_poll, block + 143) END,
    observed_users.id,
    observed_images.id,
    words.id,
    date_trunc('milliseconds', started_at),
    session_id
FROM (
    SELECT
        *,
        greatest(
            1 + ceil(extract(epoch FROM ready_at - $since$::timestamptz) / 300)::integer, 1
        ) AS first_poll,
        ceil(extract(epoch FROM ended_at - $since$::timestamptz) / 300)::integer AS last_poll,
        (SELECT max(id) FROM polls) AS newest
    FROM sampled.runs
) AS seen
JOIN observed_users USING (pod_name, user_email)
JOIN observed_images USING (container_image)
JOIN words ON word = node_name
CROSS JOIN LATERAL generate_series(
    first_poll - (first_poll - 1) % 144, least(last_poll, newest), 144) AS block
WHERE first_poll <= last_poll AND first_poll <= newest
ORDER BY block, 3;
WITH open AS (DELETE FROM observation_spans WHERE last_poll = 2147483647 RETURNING *)
INSERT INTO open_spans SELECT * FROM open;

-- name: make_tables
CREATE TABLE sampled.container_observations (
    timestamp timestamptz NOT NULL,
    user_email text NOT NULL,
    user_name text,
    node_name text NOT NULL,
    container_image text NOT NULL,
    container_base text NOT NULL,
    container_version text,
    age_seconds integer,
    pod_name text);

-- name: make_chunks_timescale
SELECT public.create_hypertable(
    'sampled.container_observations', 'timestamp', chunk_time_interval => interval '1 day',
    create_default_indexes => false);

-- name: fill_tables
INSERT INTO sampled.container_observations
SELECT
    poll, user_email, user_name, node_name, container_image, container_base, container_version,
    extract(epoch FROM poll - started_at)::integer, pod_name
FROM sampled.runs
CROSS JOIN LATERAL generate_series(
    $since$::timestamptz + 300 * interval '1 second' * greatest(
        ceil(extract(epoch FROM ready_at - $since$::timestamptz) / 300)::integer, 0),
    least(ended_at - interval '1 microsecond', $until$), interval '300 seconds') AS poll
ORDER BY poll;
ALTER TABLE sampled.container_observations ADD PRIMARY KEY (user_email, pod_name, timestamp);
CREATE INDEX ON sampled.container_observations (timestamp DESC);
CREATE INDEX ON sampled.container_observations (node_name, timestamp DESC);
CREATE INDEX ON sampled.container_observations (container_base, timestamp DESC);

CREATE MATERIALIZED VIEW sampled.user_sessions AS
SELECT
    user_email, pod_name, node_name, session_id,
    min(timestamp) AS session_start,
    max(timestamp) AS session_end,
    extract(epoch FROM max(timestamp) - min(timestamp)) / 3600.0 AS runtime_hours,
    mode() WITHIN GROUP (ORDER BY container_base) AS container_base,
    mode() WITHIN GROUP (ORDER BY container_version) AS container_version
FROM (
    SELECT *, count(*) FILTER (WHERE first_of_session) OVER one_pod AS session_id
    FROM (
        SELECT
            *,
            coalesce(timestamp - lag(timestamp) OVER one_pod > interval '1 hour', true)
                AS first_of_session
        FROM sampled.container_observations
        WINDOW one_pod AS (PARTITION BY user_email, pod_name, node_name ORDER BY timestamp)
    ) AS marked
    WINDOW one_pod AS (PARTITION BY user_email, pod_name, node_name ORDER BY timestamp)
) AS numbered
GROUP BY user_email, pod_name, node_name, session_id;
CREATE UNIQUE INDEX ON sampled.user_sessions (user_email, pod_name, node_name, session_id);
CREATE INDEX ON sampled.user_sessions (user_email, session_start DESC, session_end DESC);
CREATE INDEX ON sampled.user_sessions (session_start DESC, session_end DESC);
CREATE INDEX ON sampled.user_sessions (node_name, session_start DESC);
CREATE INDEX ON sampled.user_sessions (container_base, session_start DESC);

CREATE VIEW sampled.user_session_stats AS
SELECT
    user_email,
    sum(runtime_hours) AS total_hours,
    sum(CASE WHEN node_name ILIKE '%gpu%' THEN runtime_hours ELSE 0 END) AS gpu_hours,
    sum(CASE WHEN node_name ILIKE '%gpu%' THEN 0 ELSE runtime_hours END) AS cpu_hours,
    count(*) AS total_sessions,
    count(DISTINCT container_base) AS applications_used,
    min(session_start) AS first_session,
    max(session_end) AS last_session
FROM sampled.user_sessions
GROUP BY user_email;

CREATE TABLE sampled.hourly_node_stats AS
SELECT
    public.time_bucket('1 hour', timestamp) AS hour,
    node_name,
    count(DISTINCT user_email) AS unique_users,
    count(DISTINCT pod_name) AS total_containers,
    avg(age_seconds) AS avg_age_seconds
FROM sampled.container_observations
GROUP BY 1, 2
ORDER BY 1, 2;
CREATE INDEX ON sampled.hourly_node_stats (hour DESC);
CREATE INDEX ON sampled.hourly_node_stats (node_name, hour DESC);

CREATE TABLE sampled.hourly_image_stats AS
SELECT
    public.time_bucket('1 hour', timestamp) AS hour,
    container_base,
    container_version,
    count(DISTINCT user_email) AS unique_users,
    count(DISTINCT pod_name) AS total_containers
FROM sampled.container_observations
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3;
CREATE INDEX ON sampled.hourly_image_stats (hour DESC);
CREATE INDEX ON sampled.hourly_image_stats (container_base, hour DESC);
CREATE INDEX ON sampled.hourly_image_stats (container_version, hour DESC);

CREATE TABLE sampled.users AS
SELECT
    users.email, users.user_id, users.full_name, users.department, users.job_title,
    seen.first_seen, seen.last_seen
FROM public.users
JOIN (
    SELECT user_email AS email, min(timestamp) AS first_seen, max(timestamp) AS last_seen
    FROM sampled.container_observations
    GROUP BY user_email
) AS seen USING (email);
ALTER TABLE sampled.users ADD PRIMARY KEY (email);
CREATE INDEX ON sampled.users (user_id);
DROP TABLE sampled.runs;

-- name: compress_timescale
ALTER TABLE sampled.container_observations SET (timescaledb.compress);
SELECT public.compress_chunk(chunk)
FROM public.show_chunks('sampled.container_observations', older_than => interval '7 days') AS chunk;

-- name: tables
SELECT oid::regclass::text
FROM pg_class
WHERE relkind IN ('r', 'm')
    AND relnamespace IN ('public'::regnamespace, 'sampled'::regnamespace);

-- name: sizes
SELECT relnamespace::regnamespace || '.' || relname AS name,
    pg_total_relation_size(oid) / 1048576.0 AS megabytes
FROM pg_class
WHERE relkind IN ('r', 'm')
    AND relnamespace IN ('public'::regnamespace, 'sampled'::regnamespace)
    AND pg_total_relation_size(oid) > 1048576
ORDER BY 2 DESC;

-- name: sizes_timescale
SELECT hypertable_schema || '.' || hypertable_name AS name,
    public.hypertable_size(
        format('%I.%I', hypertable_schema, hypertable_name)::regclass) / 1048576.0 AS megabytes
FROM timescaledb_information.hypertables
ORDER BY 2 DESC;
