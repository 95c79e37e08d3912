-- Usage as people read it: closed days as they are stored, the days since then cut from sessions.

-- As its owner: it tells numbers and no names, and who reads pseudonyms may not read sessions.
CREATE FUNCTION usage_of_open_days() RETURNS SETOF usage_days
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT live.*
    FROM usage_closed
    CROSS JOIN LATERAL usage_counted(ARRAY[
        ROW(NULL, usage_midnight(usage_closed.before), now())::usage_span]) AS live
    WHERE usage_midnight(usage_closed.before) < now()
$$;

COMMENT ON FUNCTION usage_of_open_days IS 'What usage_days will have of the days not closed yet.';

CREATE VIEW usage_of_all_days AS
SELECT * FROM usage_days
UNION ALL
SELECT * FROM usage_of_open_days();

COMMENT ON VIEW usage_of_all_days IS 'usage_days and the days that are not closed, until now.';

CREATE VIEW usage_resources AS
SELECT
    id,
    profile,
    image,
    coalesce(memory_guarantee_bytes, memory_limit_bytes) / 1073741824.0::double precision
        AS memory_gib,
    coalesce(cpu_guarantee_cores, cpu_limit_cores) AS cores,
    gpus
FROM descriptions;

COMMENT ON VIEW usage_resources IS
    'What was requested: the guarantee, or the limit where no other guarantee was given.';

CREATE VIEW usage_daily AS
SELECT
    usage.day,
    servers.hub,
    servers.username,
    servers.server_name,
    requested.profile,
    requested.image,
    node.word AS node,
    usage.running_microseconds / 1000000.0::double precision AS seconds,
    usage.waiting_microseconds / 1000000.0::double precision AS waiting_seconds,
    usage.active_microseconds / 1000000.0::double precision AS active_seconds,
    usage.running_microseconds / 3600000000.0::double precision * requested.memory_gib AS gib_hours,
    usage.running_microseconds / 3600000000.0::double precision * requested.cores AS core_hours,
    usage.running_microseconds / 3600000000.0::double precision * requested.gpus AS gpu_hours,
    usage.starts,
    usage.failures
FROM usage_of_all_days AS usage
JOIN servers ON servers.id = usage.server_id
JOIN usage_resources AS requested ON requested.id = usage.description_id
LEFT JOIN words AS node ON node.id = usage.node_id;

COMMENT ON VIEW usage_daily IS
    'Usage by UTC day, sessions that run counted until now. One row for each server and what it '
    'was: sum over what you do not ask for. Ask for a range of days.';

CREATE VIEW usage_hourly AS
SELECT
    usage_midnight(usage.day) + cell.hour * interval '1 hour' AS hour,
    usage.day,
    servers.hub,
    servers.username,
    servers.server_name,
    requested.profile,
    requested.image,
    node.word AS node,
    cell.running / 1000000.0::double precision AS seconds,
    cell.waiting / 1000000.0::double precision AS waiting_seconds,
    cell.active / 1000000.0::double precision AS active_seconds,
    cell.running / 3600000000.0::double precision * requested.memory_gib AS gib_hours,
    cell.running / 3600000000.0::double precision * requested.cores AS core_hours,
    cell.running / 3600000000.0::double precision * requested.gpus AS gpu_hours,
    cell.starts,
    cell.failures
FROM usage_of_all_days AS usage
CROSS JOIN LATERAL (
    SELECT
        (amount & 31)::integer AS hour,
        coalesce(sum(amount >> 8) FILTER (WHERE amount & 224 = 0), 0)::bigint AS running,
        coalesce(sum(amount >> 8) FILTER (WHERE amount & 224 = 32), 0)::bigint AS waiting,
        (sum(amount >> 8) FILTER (WHERE amount & 224 = 128))::bigint AS active,
        coalesce(sum(amount >> 8) FILTER (WHERE amount & 224 = 64), 0)::integer AS starts,
        coalesce(sum(amount >> 8) FILTER (WHERE amount & 224 = 96), 0)::integer AS failures
    FROM unnest(usage.hours) AS amount
    GROUP BY amount & 31
) AS cell
JOIN servers ON servers.id = usage.server_id
JOIN usage_resources AS requested ON requested.id = usage.description_id
LEFT JOIN words AS node ON node.id = usage.node_id;

COMMENT ON VIEW usage_hourly IS
    'Usage by UTC hour, like usage_daily. Ask for a range of days as well as of hours: days are '
    'what it is found by.';

CREATE FUNCTION usage_bucket(step interval, moment timestamptz, zone text) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN step > interval '1 hour' THEN time_bucket(step, moment, zone)
        -- the hour that a clock that is put back shows twice is two hours
        ELSE moment - (
            (moment AT TIME ZONE zone)
            - date_bin(step, moment AT TIME ZONE zone, timestamp '2000-01-03')) END
$$;

COMMENT ON FUNCTION usage_bucket IS 'When the bucket begins that a moment lies in, in any zone.';

-- A day or an hour that lies within one bucket is taken as it is stored; what is left over at
-- edges of the window and of buckets, and what is not closed, is cut from sessions.
CREATE FUNCTION usage_parts(since timestamptz, until timestamptz, step interval, zone text)
    RETURNS TABLE (
        bucket timestamptz, server_id integer, description_id integer, node_id integer,
        running bigint, waiting bigint, active bigint, starts integer, failures integer)
    LANGUAGE sql STABLE AS $$
    WITH bounds AS MATERIALIZED (
        SELECT since, least(until, now()) AS until, usage_midnight(before) AS closed_before
        FROM usage_closed
    ),
    hours AS MATERIALIZED (
        SELECT
            usage_day(begins) AS day,
            extract(hour FROM begins AT TIME ZONE 'UTC')::integer AS hour,
            greatest(begins, bounds.since) AS since,
            least(begins + interval '1 hour', bounds.until) AS until,
            usage_bucket(step, greatest(begins, bounds.since), zone) AS bucket,
            usage_bucket(
                step, least(begins + interval '1 hour', bounds.until) - interval '1 microsecond',
                zone) AS last_bucket,
            begins >= bounds.since AND begins + interval '1 hour' <= bounds.until
                AND begins < closed_before AS stored
        FROM bounds
        CROSS JOIN LATERAL generate_series(
            date_trunc('hour', bounds.since, 'UTC'), bounds.until - interval '1 microsecond',
            interval '1 hour') AS begins
    ),
    days AS MATERIALIZED (
        SELECT
            day,
            min(bucket) AS bucket,
            count(*) = 24 AND bool_and(stored) AND min(bucket) = max(last_bucket) AS whole,
            min(hour) AS first_hour,
            array_agg(CASE WHEN stored AND bucket = last_bucket THEN bucket END ORDER BY hour)
                AS buckets
        FROM hours
        GROUP BY day
        HAVING bool_or(stored)
    ),
    pieces AS MATERIALIZED (
        SELECT bucket, unnest(range_agg(tstzrange(since, until))) AS piece
        FROM (
            SELECT bucket, since, CASE WHEN bucket = last_bucket THEN until ELSE last_bucket END
                AS until
            FROM hours
            WHERE NOT stored OR bucket <> last_bucket
            UNION ALL
            SELECT last_bucket, last_bucket, until FROM hours WHERE bucket <> last_bucket
        ) AS parts
        GROUP BY bucket
    )
    SELECT
        days.bucket, usage.server_id, usage.description_id, usage.node_id,
        usage.running_microseconds, usage.waiting_microseconds, usage.active_microseconds,
        usage.starts, usage.failures
    FROM days
    JOIN usage_days AS usage ON usage.day = days.day
    WHERE days.whole
    UNION ALL
    SELECT
        days.buckets[(amount & 31)::integer - days.first_hour + 1], usage.server_id, usage.description_id,
        usage.node_id,
        CASE WHEN amount & 224 = 0 THEN amount >> 8 ELSE 0 END,
        CASE WHEN amount & 224 = 32 THEN amount >> 8 ELSE 0 END,
        CASE WHEN amount & 224 = 128 THEN amount >> 8 END,
        CASE WHEN amount & 224 = 64 THEN (amount >> 8)::integer ELSE 0 END,
        CASE WHEN amount & 224 = 96 THEN (amount >> 8)::integer ELSE 0 END
    FROM days
    JOIN usage_days AS usage ON usage.day = days.day
    CROSS JOIN LATERAL unnest(usage.hours) AS amount
    WHERE NOT days.whole
        AND days.buckets[(amount & 31)::integer - days.first_hour + 1] IS NOT NULL
    UNION ALL
    SELECT
        pieces.bucket, session.server_id, session.description_id, session.node_id,
        cut.running, cut.waiting, cut.active, cut.starts, cut.failures
    FROM (
        -- always true: tells the planner that there are few
        SELECT bucket, piece FROM pieces WHERE piece && tstzrange(since, until)
    ) AS pieces
    CROSS JOIN LATERAL sessions_overlapping(lower(piece), upper(piece)) AS session
    CROSS JOIN LATERAL usage_cut(session, lower(piece), upper(piece)) AS cut
$$;

COMMENT ON FUNCTION usage_parts IS
    'Usage in [since, until), at most until now, by bucket of an hour or more, in parts to add up. '
    'A bucket has the moment at which it would begin if since did not cut it.';

CREATE FUNCTION usage_between(
    since timestamptz, until timestamptz, step interval, zone text DEFAULT 'UTC'
) RETURNS TABLE (
    bucket timestamptz, hub text, username text, profile text, image text, node text,
    seconds double precision, waiting_seconds double precision, active_seconds double precision,
    gib_hours double precision, core_hours double precision, gpu_hours double precision,
    starts bigint, failures bigint)
    LANGUAGE sql STABLE AS $$
    SELECT
        summed.bucket,
        servers.hub,
        servers.username,
        requested.profile,
        requested.image,
        node.word,
        (sum(running) / 1000000)::double precision,
        (sum(waiting) / 1000000)::double precision,
        (sum(active) / 1000000)::double precision,
        sum(running / 3600000000 * requested.memory_gib),
        sum(running / 3600000000 * requested.cores),
        sum(running / 3600000000 * requested.gpus),
        sum(summed.starts)::bigint,
        sum(summed.failures)::bigint
    FROM (
        SELECT
            part.bucket, server_id, description_id, node_id, sum(running) AS running,
            sum(waiting) AS waiting, sum(active) AS active, sum(part.starts) AS starts,
            sum(part.failures) AS failures
        FROM usage_parts(since, until, step, zone) AS part
        GROUP BY part.bucket, server_id, description_id, node_id
    ) AS summed
    JOIN servers ON servers.id = summed.server_id
    JOIN usage_resources AS requested ON requested.id = summed.description_id
    LEFT JOIN words AS node ON node.id = summed.node_id
    GROUP BY
        summed.bucket, servers.hub, servers.username, requested.profile, requested.image, node.word
$$;

COMMENT ON FUNCTION usage_between IS
    'Usage in [since, until), at most until now: one row for each bucket, user, profile, image and '
    'node. step is an hour or more: days, weeks and months are those of the time zone.';

CREATE FUNCTION usage_bounds(
    since timestamptz, until timestamptz, step interval, zone text
) RETURNS timestamptz[] LANGUAGE sql STABLE AS $$
    SELECT array_agg(DISTINCT begins ORDER BY begins)
    FROM (
        SELECT CASE WHEN step > interval '1 hour'
            THEN usage_bucket(step, local AT TIME ZONE zone, zone) END AS begins
        FROM generate_series(
            usage_bucket(step, since, zone) AT TIME ZONE zone, until AT TIME ZONE zone, step
        ) AS local
        WHERE step > interval '1 hour'
        UNION ALL
        SELECT usage_bucket(step, moment, zone)
        FROM generate_series(usage_bucket(step, since, zone), until, step) AS moment
        WHERE step <= interval '1 hour'
    ) AS candidates
    WHERE begins < until
$$;

COMMENT ON FUNCTION usage_bounds IS 'When the buckets begin that overlap [since, until).';

-- Who was a member all the time has the usage that is stored; of others, sessions are cut where the
-- membership begins and ends.
CREATE FUNCTION usage_by_group(
    since timestamptz, until timestamptz, step interval, zone text DEFAULT 'UTC'
) RETURNS TABLE (
    bucket timestamptz, hub text, group_name text, users bigint, seconds double precision,
    waiting_seconds double precision, active_seconds double precision,
    gib_hours double precision, core_hours double precision, gpu_hours double precision,
    starts bigint, failures bigint)
    LANGUAGE sql STABLE AS $$
    WITH bounds AS MATERIALIZED (
        SELECT least(until, now()) AS until, usage_bounds(since, least(until, now()), step, zone)
            AS moments
    ),
    member AS MATERIALIZED (
        SELECT
            membership.hub,
            membership.group_name,
            membership.username,
            greatest(membership.valid_from, since) AS since,
            least(membership.valid_to, bounds.until) AS until,
            membership.valid_from <= since
                AND coalesce(membership.valid_to >= bounds.until, true) AS always
        FROM bounds
        JOIN group_memberships AS membership ON membership.valid_from < bounds.until
            AND (membership.valid_to IS NULL OR membership.valid_to > since)
    ),
    part AS (
        SELECT
            usage.bucket, member.hub, member.group_name, member.username, usage.description_id,
            usage.running, usage.waiting, usage.active, usage.starts, usage.failures
        FROM (
            SELECT
                stored.bucket, server_id, description_id, sum(running) AS running,
                sum(waiting) AS waiting, sum(active) AS active, sum(stored.starts) AS starts,
                sum(stored.failures) AS failures
            FROM usage_parts(since, until, step, zone) AS stored
            GROUP BY stored.bucket, server_id, description_id
        ) AS usage
        JOIN servers ON servers.id = usage.server_id
        JOIN member ON member.hub = servers.hub AND member.username = servers.username
        WHERE member.always
        UNION ALL
        SELECT
            bounds.moments[place], member.hub, member.group_name, member.username,
            session.description_id, cut.running, cut.waiting, cut.active, cut.starts, cut.failures
        FROM member
        CROSS JOIN bounds
        JOIN servers ON servers.hub = member.hub AND servers.username = member.username
        CROSS JOIN LATERAL sessions_of_span(
            ROW(servers.id, member.since, member.until)::usage_span) AS session
        CROSS JOIN LATERAL generate_series(
            width_bucket(greatest(session.started_at, member.since), bounds.moments),
            width_bucket(
                greatest(
                    session.started_at, member.since,
                    least(session.ended_at, member.until) - interval '1 microsecond'),
                bounds.moments)
        ) AS place
        CROSS JOIN LATERAL usage_cut(
            session, greatest(member.since, bounds.moments[place]),
            least(member.until, bounds.moments[place + 1])) AS cut
        WHERE NOT member.always
    )
    SELECT
        part.bucket,
        part.hub,
        part.group_name,
        count(DISTINCT part.username) FILTER (WHERE running > 0),
        (sum(running) / 1000000)::double precision,
        (sum(waiting) / 1000000)::double precision,
        (sum(active) / 1000000)::double precision,
        sum(running / 3600000000.0::double precision * requested.memory_gib),
        sum(running / 3600000000.0::double precision * requested.cores),
        sum(running / 3600000000.0::double precision * requested.gpus),
        sum(part.starts)::bigint,
        sum(part.failures)::bigint
    FROM part
    JOIN usage_resources AS requested ON requested.id = part.description_id
    GROUP BY part.bucket, part.hub, part.group_name
    HAVING sum(running) > 0 OR sum(part.starts) > 0
$$;

COMMENT ON FUNCTION usage_by_group IS
    'Usage in [since, until), at most until now, of those who were in each group while they were '
    'in it; who was in several counts in each.';
