-- What the reader of a pseudonymised database sees. A pseudonym is the HMAC-SHA-256 of the Hub's
-- and the user's name; it is computed here and not in a function, which the reader could ask for
-- the pseudonym of a name. Dropped: ids, which are derived from names, and the names of servers,
-- pods and namespaces, user options, and who started or ended a server.

CREATE SCHEMA IF NOT EXISTS pseudonymised;

DROP VIEW IF EXISTS
    pseudonymised.sessions, pseudonymised.container_observations, pseudonymised.users,
    pseudonymised.user_history, pseudonymised.group_memberships, pseudonymised.usage_daily,
    pseudonymised.usage_hourly;

CREATE VIEW pseudonymised.sessions AS
SELECT
    hub,
    left(encode(sha256(outer_pad || sha256(
        inner_pad || convert_to(hub || E'\x1f' || username, 'UTF8'))), 'hex'), 32) AS username,
    started_at, state, ready_at, ended_at, ended_after, ended_before, end_reason, end_source,
    exit_status, groups, spawner_class, profile, image, image_name, image_tag, image_digest, node,
    cpu_guarantee_cores, cpu_limit_cores, memory_guarantee_bytes, memory_limit_bytes, gpus,
    simulated, inferred, active_seconds, last_activity_at, resolution_seconds
FROM sessions_with_activity
CROSS JOIN pseudonym_key;

CREATE VIEW pseudonymised.container_observations AS
SELECT
    "timestamp",
    hub,
    left(encode(sha256(outer_pad || sha256(inner_pad || convert_to(
        hub || E'\x1f' || coalesce(owners.username, user_email), 'UTF8'))), 'hex'), 32)
        AS user_email,
    NULL::text AS user_name,
    node_name, container_image, container_base, container_version, age_seconds
FROM container_observations
LEFT JOIN (SELECT id AS session_id, username FROM sessions) AS owners USING (session_id)
CROSS JOIN pseudonym_key;

CREATE VIEW pseudonymised.users AS
SELECT
    NULL::text AS email,
    pseudonym AS user_id,
    NULL::text AS full_name,
    department, job_title, first_seen, last_seen, hub,
    pseudonym AS username,
    pseudonym AS user_email
FROM (
    SELECT
        users.*,
        left(encode(sha256(outer_pad || sha256(
            inner_pad || convert_to(hub || E'\x1f' || username, 'UTF8'))), 'hex'), 32) AS pseudonym
    FROM users
    CROSS JOIN pseudonym_key
) AS named;

CREATE VIEW pseudonymised.user_history AS
SELECT
    hub,
    left(encode(sha256(outer_pad || sha256(
        inner_pad || convert_to(hub || E'\x1f' || username, 'UTF8'))), 'hex'), 32) AS username,
    NULL::text AS email,
    NULL::text AS full_name,
    department, job_title, valid_from, valid_to
FROM user_history
CROSS JOIN pseudonym_key;

CREATE VIEW pseudonymised.group_memberships AS
SELECT
    hub,
    group_name,
    left(encode(sha256(outer_pad || sha256(
        inner_pad || convert_to(hub || E'\x1f' || username, 'UTF8'))), 'hex'), 32) AS username,
    valid_from, valid_to
FROM group_memberships
CROSS JOIN pseudonym_key;

CREATE VIEW pseudonymised.usage_daily AS
SELECT
    day, hub,
    left(encode(sha256(outer_pad || sha256(
        inner_pad || convert_to(hub || E'\x1f' || username, 'UTF8'))), 'hex'), 32) AS username,
    profile, image, node, seconds, waiting_seconds, active_seconds, gib_hours, core_hours,
    gpu_hours, starts, failures
FROM usage_daily
CROSS JOIN pseudonym_key;

CREATE VIEW pseudonymised.usage_hourly AS
SELECT
    hour, day, hub,
    left(encode(sha256(outer_pad || sha256(
        inner_pad || convert_to(hub || E'\x1f' || username, 'UTF8'))), 'hex'), 32) AS username,
    profile, image, node, seconds, waiting_seconds, active_seconds, gib_hours, core_hours,
    gpu_hours, starts, failures
FROM usage_hourly
CROSS JOIN pseudonym_key;
