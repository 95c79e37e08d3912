-- What a user's page asks, with as little as it shows.

-- The same rows and columns as before, with each session looked up once instead of twice.
CREATE OR REPLACE VIEW sessions_with_activity AS
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
    session_rows.inferred,
    session_rows.active_seconds,
    session_rows.last_activity_at,
    session_rows.resolution_seconds
FROM session_rows
LEFT JOIN servers ON servers.id = session_rows.server_id
LEFT JOIN descriptions ON descriptions.id = session_rows.description_id
LEFT JOIN requests ON requests.id = session_rows.request_id
LEFT JOIN circumstances AS ending ON ending.id = session_rows.ending_id
LEFT JOIN words AS node ON node.id = session_rows.node_id;

-- For a few sessions that are looked up by their ids.
CREATE VIEW sessions_as_measured AS
SELECT
    session.*,
    measured.source AS measured_source,
    measured.first_at AS sampled_from,
    measured.last_at AS sampled_until,
    measured.memory_peak_bytes,
    measured.memory_byte_seconds / nullif(measured.memory_seconds, 0) AS memory_mean_bytes,
    measured.memory_last_bytes,
    measured.cpu_peak_cores,
    measured.cpu_core_seconds / nullif(measured.cpu_seconds, 0) AS cpu_mean_cores,
    measured.cpu_last_cores
FROM sessions_with_activity AS session
LEFT JOIN LATERAL (
    SELECT *
    FROM session_samples
    WHERE session_samples.session_id = session.id
    ORDER BY session_samples.source
    LIMIT 1
) AS measured ON true;

COMMENT ON VIEW sessions_as_measured IS
    'Sessions with their activity and with what was measured of them, by samplers of nodes or else '
    'by their own servers; NULL where nobody measured. For the store itself.';

-- Days are most of what a page reads, and the calendar wants their seconds alone. Days that are
-- closed are read as they are stored where they are the zone's too. Planned once: planning takes
-- longer than what one user has to be counted.
CREATE FUNCTION usage_days_of_user(
    of_hub text, of_username text, since timestamptz, until timestamptz,
    resources_since timestamptz, zone text
) RETURNS TABLE (
    bucket timestamptz, seconds double precision, active_seconds double precision,
    gib_hours double precision, core_hours double precision, gpu_hours double precision,
    starts bigint, failures bigint)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    ends timestamptz := least(until, now());
    cut_from timestamptz := since;
BEGIN
    IF since >= ends THEN
        RETURN;
    END IF;
    IF zone = 'UTC' THEN
        SELECT greatest(since, usage_midnight(least(usage_day(ends), before)))
        INTO cut_from
        FROM usage_closed;
        RETURN QUERY
        SELECT
            usage_midnight(part.day),
            sum(part.running_microseconds::double precision) / 1000000,
            sum(part.active_microseconds::double precision) / 1000000,
            NULL::double precision,
            NULL::double precision,
            NULL::double precision,
            sum(part.starts),
            sum(part.failures)
        FROM servers
        JOIN usage_days AS part ON part.server_id = servers.id
        WHERE servers.hub = of_hub AND servers.username = of_username
            AND part.day >= usage_day(since)
            AND part.day < usage_day(least(cut_from, resources_since))
        GROUP BY part.day;
        RETURN QUERY
        SELECT
            usage_midnight(part.day),
            sum(part.running) / 1000000,
            sum(part.active) / 1000000,
            sum(part.running / 3600000000 * requested.memory_gib),
            sum(part.running / 3600000000 * requested.cores),
            sum(part.running / 3600000000 * requested.gpus),
            sum(part.starts),
            sum(part.failures)
        FROM (
            SELECT
                days.day, days.description_id, days.starts, days.failures,
                days.running_microseconds::double precision AS running,
                days.active_microseconds::double precision AS active
            FROM servers
            JOIN usage_days AS days ON days.server_id = servers.id
            WHERE servers.hub = of_hub AND servers.username = of_username
                AND days.day >= usage_day(greatest(since, resources_since))
                AND days.day < usage_day(cut_from)
            OFFSET 0
        ) AS part
        -- of the few, each is looked up by its id, whatever the planner believes
        CROSS JOIN LATERAL (
            SELECT * FROM usage_resources WHERE id = part.description_id LIMIT 1
        ) AS requested
        GROUP BY part.day;
    END IF;
    IF cut_from < ends THEN
        RETURN QUERY
        SELECT
            asked.bucket,
            sum(asked.running) / 1000000,
            sum(asked.active) / 1000000,
            sum(asked.running / 3600000000 * requested.memory_gib),
            sum(asked.running / 3600000000 * requested.cores),
            sum(asked.running / 3600000000 * requested.gpus),
            sum(asked.starts)::bigint,
            sum(asked.failures)::bigint
        FROM usage_asked(
            ARRAY[of_hub], of_username, NULL, cut_from, ends, '1 day', zone, 'hub') AS asked
        CROSS JOIN LATERAL (
            SELECT * FROM usage_resources WHERE id = asked.description_id LIMIT 1
        ) AS requested
        GROUP BY asked.bucket;
    END IF;
END
$$;

COMMENT ON FUNCTION usage_days_of_user IS
    'One user''s usage in [since, until), at most until now, by day of the zone, in no order. since '
    'and resources_since are midnights there; hours of resources may be NULL on days before '
    'resources_since.';
